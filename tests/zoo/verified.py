"""Operators of whose derivative torch knows nothing, or something else: verification may not take torch's
word for them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.rules.declare import composite

from .case import case

REFLECTED = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


@torch.library.custom_op("zoo::scaled", mutates_args=())
def scaled(x: torch.Tensor) -> torch.Tensor:
    return x * REFLECTED[:, None, None]


@scaled.register_fake
def _(x):
    return torch.empty_like(x)


@torch.library.custom_op("zoo::blurred", mutates_args=())
def blurred(x: torch.Tensor) -> torch.Tensor:
    return F.avg_pool2d(x, 3, 1, 1)


@blurred.register_fake
def _(x):
    return torch.empty_like(x)


blurred.register_autograd(lambda ctx, gradient: F.avg_pool2d(gradient, 3, 1, 1))


class Reversed(torch.autograd.Function):
    """The identity, whose backward turns the gradient around, as in domain-adversarial training."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def reversed_gradient(x):
    return Reversed.apply(x)


torch.fx.wrap("reversed_gradient")

RULES = (
    composite(
        "zoo_scaled",
        torch.ops.zoo.scaled.default,
        lambda x: torch.stack([x[:, 0], -2 * x[:, 1], 0.5 * x[:, 2]], 1),
        "",
        unsampled="of the zoo",
    ),
    composite(
        "zoo_blurred",
        torch.ops.zoo.blurred.default,
        lambda x: F.avg_pool2d(x, 3, 1, 1),
        "",
        unsampled="of the zoo",
    ),
    composite("zoo_reversed", reversed_gradient, lambda x: x * 1.0, "", unsampled="of the zoo"),
)
for _rule in RULES:
    fxscope.register_rule(_rule)


@case(
    (2, 3, 6, 6),
    derivative=False,
    why="a linear custom operator without a derivative: torch.func gives zeros",
)
class WithoutDerivative(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return torch.relu(self.conv(torch.ops.zoo.scaled.default(x)))


@case((2, 3, 6, 6), derivative=False, why="a linear custom operator with a backward alone")
class WithBackward(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.conv(torch.relu(torch.ops.zoo.blurred.default(x)))


@case(
    (2, 3, 6, 6),
    derivative=False,
    why="an autograd.Function whose backward is not the derivative of its forward",
)
class GradientReversal(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.head(reversed_gradient(torch.relu(self.conv(x))))
