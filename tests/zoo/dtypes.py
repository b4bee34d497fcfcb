"""Inputs of integers and booleans, and where they become floating.

Models that change the precision on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from fxscope.errors import NotFloating

from .case import case


def pixels(generator: torch.Generator) -> tuple:
    return (torch.randint(0, 256, (2, 3, 6, 6), generator=generator, dtype=torch.uint8),)


def tokens(generator: torch.Generator) -> tuple:
    return (torch.randint(0, 7, (2, 5), generator=generator),)


def cast(model: Any, args: tuple) -> tuple[Callable, torch.Tensor]:
    """The model at a first input that is cast before it is called."""
    return lambda x: model(x, *args[1:]), args[0].double()


def body(model: Any, args: tuple) -> tuple[Callable, torch.Tensor]:
    """What the model computes from its first floating value, which its method ``enter`` gives."""
    return model.leave, model.enter(args[0])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))


@case(inputs=pixels, place=cast)
class PixelsOver255(Net):
    def forward(self, u8):
        return self.net(u8.double() / 255)


@case(inputs=pixels, place=body)
class PixelsCastByName(Net):
    """Turned before they are cast, by ``to`` with a dtype that a parameter tells."""

    def enter(self, u8):
        return u8.flip(-1).to(self.net[0].weight.dtype)

    def leave(self, x):
        return self.net(x.sub(127.5).div(64))

    def forward(self, u8):
        return self.leave(self.enter(u8))


@case(inputs=pixels, place=cast)
class PixelsCastTwice(Net):
    """The same cast, written twice: one value."""

    def forward(self, u8):
        y = self.net(u8.type_as(self.net[0].bias) / 255)
        return y + u8.type_as(self.net[0].bias)[:, :2, 1:-1, 1:-1].sigmoid()


@case(inputs=pixels, place=cast)
class PixelsAndADecision(Net):
    """A mask of the integers beside their cast: a decision, which is frozen."""

    def forward(self, u8):
        dark = u8 < 60
        return self.net(u8.double().mul(1 / 255)) * dark[:, :1, 1:-1, 1:-1].double()


@case(
    inputs=pixels,
    refused=NotFloating,
    why="two different floating values are computed from the integers, and both would have to be probed",
)
class PixelsCastInTwoWays(Net):
    def forward(self, u8):
        return self.net(u8.double() / 255) + self.net((u8 // 2).double() / 255)


@case(inputs=lambda g: (torch.rand(2, 3, 6, 6, generator=g) > 0.5,), place=cast)
class BooleanMask(Net):
    def forward(self, mask):
        return self.net(mask.to(torch.float64))


@case(inputs=tokens, place=body)
class TokensLookedUp(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.a = nn.Embedding(7, 4), nn.Linear(4, 3)

    def enter(self, x):
        return self.table(x)

    def leave(self, x):
        return F.gelu(self.a(x)).mean(1)

    def forward(self, x):
        return self.leave(self.enter(x))


@case(inputs=tokens, place=body)
class TokensOneHot(nn.Module):
    """Unit vectors instead of a table: what a decision makes floating, where nothing else does."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(7, 4), nn.Linear(4, 3)

    def enter(self, x):
        return F.one_hot(x, 7).double()

    def leave(self, x):
        return self.b(F.silu(self.a(x)))

    def forward(self, x):
        return self.leave(self.enter(x))


@case(
    inputs=lambda g: (torch.randn(2, 4, generator=g, dtype=torch.complex128),),
    refused=NotFloating,
    why="F is real",
)
class ComplexInput(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 3)

    def forward(self, x):
        return self.a(torch.view_as_real(x).flatten(1))


@case((2, 4))
class IntegersWithin(nn.Module):
    """Positions made and cast on the way, an index that a value decides: no inputs, and so no probes."""

    def __init__(self):
        super().__init__()
        self.a, self.scale = nn.Linear(4, 4), nn.Parameter(torch.rand(4))

    def forward(self, x):
        places = torch.arange(x.shape[1], device=x.device).to(x.dtype)
        z = self.a(x) + 0.1 * places
        return torch.relu(z) * self.scale[z.argmax(1, keepdim=True)]
