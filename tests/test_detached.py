"""Law 7, under a policy that freezes.

F is the Jacobian of the same network with its factors detached by hand.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.testing import laws

D = torch.float64
EPS = 1e-5


def squeeze(x):
    return torch.sigmoid(F.adaptive_avg_pool2d(x, 1) * 2 - 0.1)


def phi(x):
    return 0.5 * torch.erfc(-x / 2**0.5)


def tanh_phi(x):
    return 0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3)))


def normalized(dims, linear_mean, groups=None):
    """(x - mu)/sigma with the statistics detached; the mean stays linear where asked."""

    def forward(x):
        g = x if groups is None else x.reshape(x.shape[0], groups, -1)
        mean, var = g.mean(dims, keepdim=True), g.var(dims, unbiased=False, keepdim=True)
        mean = mean if linear_mean else mean.detach()
        return ((g - mean) * torch.rsqrt(var + EPS).detach()).reshape(x.shape)

    return forward


# {name: (the unit as a user writes it, the same with its factors detached)}
UNITS = {
    "se": (lambda x: x * squeeze(x), lambda x: x * squeeze(x).detach()),
    "silu": (F.silu, lambda x: x * torch.sigmoid(x).detach()),
    "gelu": (F.gelu, lambda x: x * phi(x).detach()),
    "gelu tanh": (lambda x: F.gelu(x, approximate="tanh"), lambda x: x * tanh_phi(x).detach()),
    "hardswish": (F.hardswish, lambda x: x * (F.relu6(x + 3) / 6).detach()),
    "mish": (F.mish, lambda x: x * torch.tanh(F.softplus(x)).detach()),
}
NORMS = {
    "instance": (lambda x: F.instance_norm(x), (2, 3), None),
    "group": (lambda x: F.group_norm(x, 2), (-1,), 2),
    "layer": (lambda x: F.layer_norm(x, (4, 6, 7)), (-1,), 1),
}


class Around(nn.Module):
    """The unit between two convolutions with biases."""

    def __init__(self, unit):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.unit, self.last = nn.Conv2d(3, 4, 3), unit, nn.Conv2d(4, 2, 3, stride=2)
        self.double()

    def forward(self, x):
        return self.last(self.unit(self.first(x)))


def check(unit, detached, policy):
    rng = torch.Generator().manual_seed(1)
    x0, v = torch.randn(2, 3, 8, 9, generator=rng, dtype=D), torch.randn(2, 3, 8, 9, generator=rng, dtype=D)
    plain, model = Around(detached), Around(unit)
    assert laws.distance(plain(x0), model(x0)) < 1e-12, "the detached network is not the same function"
    filter = fxscope.transform(model, "filter", policy=policy)
    expected = laws.twice_transposed(lambda x: (plain(x),), x0, v)
    assert laws.distance(filter(x0, v), expected[0]) < 1e-9
    full = torch.func.jvp(model, (x0,), (v,))[1]
    assert laws.distance(expected[0], full) > 1e-3, "nothing was detached"


@pytest.mark.parametrize("name", UNITS)
def test_units(name):
    check(*UNITS[name], "freeze")


@pytest.mark.parametrize("policy", ["freeze", "detach"])
@pytest.mark.parametrize("name", NORMS)
def test_norms(name, policy):
    unit, dims, groups = NORMS[name]
    check(unit, normalized(dims, policy == "detach", groups), policy)
