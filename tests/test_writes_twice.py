"""A view that is written, a base that is written after it, and both again.

Every name shows what the memory holds.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.testing.laws import distance

X = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def twice_through_a_view(x):
    h = x.permute(0, 2, 1)
    h.add_(0.3)
    h.mul_(2)
    return x


def view_then_base(x):
    h = x.permute(0, 2, 1)
    h.add_(0.3)
    x.neg_()
    return h


def in_turns(x):
    h = x.transpose(1, 2)
    h += 0.3
    x *= 2
    y = h * x.mT
    h -= y
    return x + h.mT


def a_view_of_a_view(x):
    h = x[:, 1:]
    flat = h.flatten(1)
    h.add_(0.3)
    x.neg_()
    first = x[:, 0]
    h[:, :1] = 0.5
    first.mul_(3)
    return torch.cat([x.flatten(1), h.flatten(1), first], 1) + flat.sum()


def parts(x):
    u, v = x.chunk(2, 2)
    u.add_(1)
    x.neg_()
    v.mul_(2)
    u.relu_()
    return x + torch.cat([v, u], 2)


def one_of_the_parts(x):
    p = x.unbind(1)[0]
    p.add_(1)
    x.mul_(2)
    p.neg_()
    return x + p[:, None]


def assigned(x):
    h = x.view(x.shape[0], -1)
    h.add_(0.3)
    x[:, 0] = 0.1
    h.neg_()
    x += 1
    return x + h.sum(1)[:, None, None]


def all_of_it(x):
    h = x.unsqueeze(1)
    h[:] = 0.5 * x.flip(1).unsqueeze(1)
    x.neg_()
    return h[:, 0] + x


CASES = (
    twice_through_a_view,
    view_then_base,
    in_turns,
    a_view_of_a_view,
    parts,
    one_of_the_parts,
    assigned,
    all_of_it,
)


class Written(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x * 1)


def pulled(function, u):
    """J^T u by autograd, or by autograd of the functionalized model.

    The first refuses writes to parts; the second has no derivative of a whole copy.
    """
    x = X.clone().requires_grad_()
    try:
        return torch.autograd.grad((function(x) * u).sum(), x)[0]
    except RuntimeError:
        return torch.autograd.grad((torch.func.functionalize(function)(x) * u).sum(), x)[0]


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_every_name_shows_what_the_memory_holds(function):
    model = Written(function).eval()
    lin = fxscope.interpret(model, X, policy="taylor", frontend="symbolic")
    y = model(X)
    u = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = pulled(model, u)
    assert distance(lin(X), y) < 1e-12
    assert distance(lin.F.T @ u, expected) < 1e-12


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
def test_the_same_without_an_example(function):
    model = Written(function).eval()
    try:
        pair = fxscope.transform(model)
    except (fxscope.errors.UnknownRank, fxscope.errors.AliasingWrite):
        return
    y0, y1 = pair(X, X)
    assert distance(y0, model(X)) < 1e-12
    assert distance(y1, y0) < 1e-12
