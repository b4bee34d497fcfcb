"""Reductions at frozen places, dynamic convolution in several spellings, and networks made of them."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from chosen import chosen
from torch import nn
from torchvision import ops

import fxscope
from fxscope.errors import UnsupportedOperator
from fxscope.testing.conformance import measure, members

D = torch.float64


def F_of(model, x0, **options):
    return fxscope.interpret(model.double().eval(), x0, **options).F.to_dense()


class Reduced(nn.Module):
    def __init__(self, reduce, include_self, spelling):
        super().__init__()
        self.reduce, self.include_self, self.spelling = reduce, include_self, spelling
        self.register_buffer("index", torch.tensor([0, 2, 2, 0, 2]))

    def forward(self, x):
        base, source = x[0, :4] * 0.5, x[0, 1:]
        index = self.index[:, None].expand(5, 3)
        if self.spelling == "method":
            y = base.scatter_reduce(0, index, source, self.reduce, include_self=self.include_self)
        elif self.spelling == "in place":
            y = base.clone()
            y.scatter_reduce_(0, index, source, self.reduce, include_self=self.include_self)
        else:
            y = torch.index_reduce(base, 0, self.index, source, self.reduce, include_self=self.include_self)
        return y[None]


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["amax", "prod"])
def test_spellings_ties_and_empty_places(reduce, include_self):
    """One winner a place, the first; a place without entries keeps what it had."""
    x0 = torch.tensor([[3.0, 0, 1], [2, 5, 1], [4, 0, 1], [4, 0, 1], [2, 1, 1], [4, -1, 1]], dtype=D)[None]
    found = [F_of(Reduced(reduce, include_self, s), x0) for s in ("method", "in place", "index_reduce")]
    assert torch.equal(found[0], found[1])
    assert torch.allclose(found[0], found[2], atol=1e-14)
    assert torch.allclose(found[0] @ x0.flatten(), Reduced(reduce, include_self, "method")(x0).flatten())
    rows = found[0].view(4, 3, 6, 3)
    for empty in (1, 3):
        assert rows[empty, 0, empty, 0] == 0.5
        assert rows[empty].count_nonzero() == 3
    if reduce == "amax":  # entries 1, 2, 4 of the source, rows 2, 3, 5 of x, go to place 2: a tie of all
        assert rows[2, 0].count_nonzero() == 1
        assert rows[2, 0, 2, 0] == 1


class Dynamic(nn.Module):
    """One kernel an image, in three spellings."""

    def __init__(self, spelling):
        super().__init__()
        torch.manual_seed(0)
        self.spelling, self.make = spelling, nn.Linear(3, 4 * 3 * 9)

    def forward(self, x):
        b, (h, w) = x.shape[0], x.shape[2:]
        kernel = self.make(x.mean((2, 3)))
        if self.spelling == "groups":
            y = F.conv2d(x.reshape(1, -1, h, w), kernel.view(-1, 3, 3, 3), padding=1, groups=b)
            return y.view(b, 4, h, w)
        patches = F.unfold(x, 3, padding=1)
        if self.spelling == "einsum":
            return torch.einsum("bok,bkl->bol", kernel.view(b, 4, 27), patches).view(b, 4, h, w)
        return (kernel.view(b, 4, 27) @ patches).view(b, 4, h, w)


@pytest.mark.parametrize("policy", ["freeze", "taylor"])
def test_dynamic_convolution_in_three_spellings(policy):
    x0 = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1), dtype=D)
    found = [F_of(Dynamic(s), x0[:1], policy=policy) for s in ("groups", "einsum", "matmul")]
    assert torch.allclose(found[0], found[1], atol=1e-13)
    assert torch.allclose(found[0], found[2], atol=1e-13)
    model = Dynamic("groups").double()
    jacobian = torch.func.jacrev(model)(x0[:1]).reshape(found[0].shape)
    assert torch.allclose(found[0], jacobian, atol=1e-12) == (policy == "taylor")


class OfBoxes(nn.Module):
    def __init__(self, pool):
        super().__init__()
        self.pool = pool
        self.register_buffer("box", torch.tensor([[1.2, 0.3, 5.0, 6.1]]))

    def forward(self, x):
        return self.pool(x, [self.box])


class OfItsOwnPlaces(nn.Module):
    def __init__(self):
        super().__init__()
        self.offset, self.layer = nn.Conv2d(4, 18, 3, padding=1), ops.DeformConv2d(4, 3, 3, padding=1)

    def forward(self, x):
        return self.layer(x, self.offset(x))


@pytest.mark.parametrize("kind", ["RoIAlign", "RoIPool"])
def test_pooling_of_regions_as_a_module(kind):
    pool = ops.RoIAlign(2, 0.9, -1) if kind == "RoIAlign" else ops.RoIPool(2, 0.9)
    model, x0 = OfBoxes(pool), torch.randn(1, 2, 6, 7, dtype=D, requires_grad=True)
    found = F_of(model, x0.detach())
    u = torch.randn(1, 2, 2, 2, dtype=D)
    (expected,) = torch.autograd.grad(model(x0), x0, u)
    assert torch.allclose(u.flatten() @ found, expected.flatten(), atol=1e-13)


class BoxOfItself(OfBoxes):
    def forward(self, x):
        return self.pool(x, [self.box + x.mean().tanh()])


@pytest.mark.parametrize("pool", [ops.RoIAlign(2, 0.9, 2), ops.RoIPool(2, 0.9), ops.PSRoIAlign(1, 0.9, 2)])
def test_boxes_of_x_are_frozen_and_an_error_under_taylor(pool):
    """Nobody has their derivative."""
    model, x0 = BoxOfItself(pool), torch.randn(1, 2, 6, 7, dtype=D)
    fixed = OfBoxes(pool).double()
    fixed.box += x0.mean().tanh()
    assert torch.equal(F_of(model, x0), F_of(fixed, x0))
    with pytest.raises(UnsupportedOperator, match='rois depends on the probe; only .* may under "taylor"'):
        F_of(model, x0, policy="taylor")


EXPORTED = {
    "RoIAlign": OfBoxes(ops.RoIAlign(2, 0.9, 2)),
    "RoIPool": OfBoxes(ops.RoIPool(2, 0.9)),
    "PSRoIAlign": OfBoxes(ops.PSRoIAlign(2, 0.9, 2)),
    "PSRoIPool": OfBoxes(ops.PSRoIPool(2, 0.9)),
    "DeformConv2d": OfItsOwnPlaces(),
}


@pytest.mark.parametrize("name", list(EXPORTED))
def test_torchscript_takes_the_operators_that_torch_export_sees(name):
    """torch.export calls overloads, which TorchScript does not know by their names."""
    model = EXPORTED[name]
    x0, x = torch.randn(2, 1, 4, 6, 7, dtype=D)
    pair = fxscope.transform(model.double().eval(), example_inputs=(x0,))
    for found, expected in zip(torch.jit.script(pair)(x0, x), pair(x0, x), strict=True):
        assert torch.equal(found, expected)
        assert found.abs().max() > 0


NETWORKS = [(s, n) for s in ("torch_geometric", "places") for n in members(s)]
QUICK = chosen(("GraphSAGE, max", "kernel prediction"), [n for _, n in NETWORKS])


@pytest.mark.parametrize(
    ("suite", "name"),
    [pytest.param(s, n, id=n, marks=() if n in QUICK else pytest.mark.full) for s, n in NETWORKS],
)
def test_networks(suite, name):
    line = measure(members(suite)[name])
    assert line["status"] == "ok", line
    assert max(line["laws"].values()) < 1e-9
    assert line["twins"] > 5


class Quantiles(nn.Module):
    def forward(self, x):
        return torch.quantile(x, 0.3, dim=1) + x.nanquantile(0.6, -1)


def test_quantiles_where_pytorch_geometric_has_its_own_select():
    import torch_geometric  # noqa: F401  # which may put a function of Python in torch.select

    x0 = torch.randn(2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y0, y1 = fxscope.transform(Quantiles())(x0, 2 * x0)
    assert torch.allclose(y0, Quantiles()(x0), rtol=0, atol=1e-12)
    assert torch.allclose(y1, 2 * y0, rtol=0, atol=1e-12)
