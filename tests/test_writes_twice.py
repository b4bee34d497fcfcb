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


def at_one_place_twice(x):
    h = x * 1
    h[:, [0, 2, 2]] = x.flip(1) * 3
    return h


def test_of_two_writes_to_one_place_the_one_that_the_memory_holds_is_kept():
    model = Written(at_one_place_twice).eval()
    lin = fxscope.interpret(model, X, policy="taylor", frontend="symbolic")
    y, matrix = model(X), lin.F.to_dense().reshape(2, 3, 4, 2, 3, 4)
    assert distance(lin.y0, y) < 1e-12
    assert distance(lin(X), y) < 1e-12
    # entry 2 is written from entries 1 and 0 of x, and holds one of them
    read = matrix[0, 2, 0, 0, :, 0]
    assert sorted(read.tolist()) == [0, 0, 3]
    assert float(read @ X[0, :, 0]) == pytest.approx(float(y[0, 2, 0]), abs=1e-12)


def under_no_grad(x):
    with torch.no_grad():
        factor = x.mean(1, keepdim=True)
    return x + factor


def test_no_grad_is_read_through_and_detach_is_a_constant():
    u = torch.randn(X.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    through = fxscope.interpret(Written(under_no_grad), X, policy="taylor")
    assert distance(through.F.T @ u, pulled(lambda x: x + x.mean(1, keepdim=True), u)) < 1e-12
    constant = fxscope.interpret(Written(lambda x: x + x.detach().mean(1, keepdim=True)), X, policy="taylor")
    assert distance(constant.F.T @ u, u) < 1e-12
