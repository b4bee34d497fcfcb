"""Passes that change how a graph computes, never what.

Masks in place, channels side by side, norms inside convolutions.
"""

import operator

import pytest
import torch
import torch.fx as fx
import torch.nn.functional as F
import torchvision
from torch import nn

import fxscope
from fxscope.testing import laws
from fxscope.testing.randomize import randomize

CONVOLUTIONS = (F.conv2d, F.conv_transpose2d, torch.conv2d)


class Pooled(nn.Module):
    """Convolutions, and a pool with overlapping windows behind a norm and a ReLU.

    A skip connection, a shared in-place ReLU.
    """

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.relu = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(inplace=True),
        )
        self.pool, self.second, self.last = (
            nn.MaxPool2d(3, 2, 1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(8, 5, 3),
        )

    def forward(self, x):
        x = self.pool(self.relu(self.norm(self.first(x))))
        return self.last(self.relu(self.second(x) + x))


@pytest.fixture(params=["contiguous", "channels last"])
def pooled(request):
    x = torch.randn(2, 3, 12, 12, dtype=torch.float64)
    model = randomize(Pooled().double().eval(), x)
    return (
        (model, x)
        if request.param == "contiguous"
        else (model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last))
    )


def graphs(model, **options):
    return {
        form: fxscope.transform(model, form, **options)
        for form in ("pair", "filter", "residual", "adjoint", "row")
    }


def arguments(form, model, x):
    probes, index = torch.randn(6, 3, 12, 12, dtype=x.dtype), torch.tensor([0, 3, 7, 5])
    return {
        "pair": (x, probes),
        "filter": (x, probes),
        "residual": (x,),
        "adjoint": (x, torch.randn(4, *model(x).shape[1:], dtype=x.dtype)),
        "row": (x, index),
    }[form]


def flat(result):
    return [result] if isinstance(result, torch.Tensor) else [t for part in result for t in flat(part)]


def test_writing_in_place_changes_no_bit_and_no_input(pooled):
    model, x = pooled
    for form, graph in graphs(model).items():
        given = arguments(form, model, x)
        kept = [t.clone() for t in given]
        plain = fxscope.transform(model, form, in_place=False)
        assert "mul_(" in graph.code or (form == "row" and "scatter_add_(" in graph.code)
        assert "mul_(" not in plain.code and "scatter_add_(" not in plain.code
        for a, b in zip(flat(graph(*given)), flat(plain(*given)), strict=True):
            assert torch.equal(a, b), form
        assert all(torch.equal(a, b) for a, b in zip(given, kept)), form


def test_nothing_is_written_that_somebody_reads():
    class Reads(nn.Module):
        def forward(self, x):
            y = x * 2
            return torch.relu(y) + y + torch.relu(x)

    model = Reads()
    scope = fxscope.transform(model)
    assert "mul_(" not in scope.code
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    y0, y1 = scope(x, x)
    assert torch.equal(y0, model(x)) and laws.distance(y1, y0) < 1e-15


def test_a_value_added_to_itself():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3)

        def forward(self, x):
            y = self.conv(x)
            return torch.relu(self.conv(x * 0.5)) + (y + y)

    model, x = Twice().double(), torch.randn(1, 2, 6, 6, dtype=torch.float64)
    y2 = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    for form, given in (("adjoint", y2), ("filter", torch.randn(2, 2, 6, 6, dtype=torch.float64))):
        assert torch.equal(
            fxscope.transform(model, form)(x, given), fxscope.transform(model, form, in_place=False)(x, given)
        )


def test_gradients_through_masks_in_place(pooled):
    model, x = pooled
    scope, probe = fxscope.transform(model), torch.randn(2, 3, 12, 12, dtype=torch.float64).requires_grad_()
    weight = model.first.weight
    grads = [
        torch.autograd.grad(g(x, probe)[1].square().sum(), (probe, weight))
        for g in (scope, fxscope.transform(model, in_place=False))
    ]
    assert all(laws.distance(a, b) < 1e-14 for a, b in zip(*grads))


def test_a_graph_without_writes_maps_over_x0_alone(pooled):
    model, x = pooled
    scope, probe = fxscope.transform(model, in_place=False), torch.randn(2, 3, 12, 12, dtype=torch.float64)
    images = torch.randn(3, *x.shape, dtype=torch.float64)
    mapped = torch.func.vmap(lambda x0: scope(x0, probe)[1])(images)
    assert laws.distance(mapped, torch.stack([scope(x0, probe)[1] for x0 in images])) < 1e-12


class Layouts(fx.Interpreter):
    """Runs a graph and notes which convolutions get activations in another layout than channels last."""

    def run(self, *args):
        self.copied = []
        return super().run(*args)

    def call_function(self, target, args, kwargs):
        if target in CONVOLUTIONS and not args[0].is_contiguous(memory_format=torch.channels_last):
            self.copied.append(tuple(args[0].shape))
        return super().call_function(target, args, kwargs)


@pytest.mark.parametrize(
    "pool", [nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(5)], ids=["2", "3 by 2", "adaptive"]
)
def test_channels_last_survives_a_pool(pool):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.ReLU(),
        pool,
        nn.Conv2d(8, 6, 3, padding=1),
        nn.ReLU(),
        pool if isinstance(pool, nn.AdaptiveMaxPool2d) else nn.Identity(),
        nn.Conv2d(6, 4, 1),
    )
    x, probes = torch.randn(1, 3, 16, 14, dtype=torch.float64), torch.randn(3, 3, 16, 14, dtype=torch.float64)
    plain = randomize(model.double().eval(), x)
    expected = {form: fxscope.transform(plain, form) for form in ("pair", "filter")}
    y1, fx1 = expected["pair"](x, probes)[1], expected["filter"](x, probes)
    y2 = torch.randn_like(y1)
    x2 = fxscope.transform(plain, "adjoint")(x, y2)
    last = plain.to(memory_format=torch.channels_last)
    x, probes, given = (t.contiguous(memory_format=torch.channels_last) for t in (x, probes, y2))
    for form, args, want in (
        ("pair", (x, probes), y1),
        ("filter", (x, probes), fx1),
        ("adjoint", (x, given), x2),
    ):
        runs = Layouts(fxscope.transform(last, form))
        got = runs.run(*args)
        assert laws.distance(got[1] if form == "pair" else got, want) < 1e-13
        assert runs.copied == [], form


class Scaled(nn.Module):
    """A residual block's scale, as a number."""

    def __init__(self, scale):
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 3, 3, padding=1), scale

    def forward(self, x):
        return torch.relu(x + torch.mul(self.conv(x), self.scale))


@pytest.mark.parametrize(("scale", "left"), [(1.0, 0), (1, 0), (0.1, 1)])
def test_a_residual_scale_of_one_leaves_the_linear_forms(scale, left):
    x, probe = (torch.randn(2, 3, 8, 8, dtype=torch.float64) for _ in range(2))
    model = Scaled(scale).double()
    for form in ("filter", "adjoint"):
        graph, plain = (fxscope.transform(model, form, in_place=free) for free in (True, False))
        products = [n.target for n in graph.graph.nodes if n.meta["fxscope"].twin == "gate"]
        assert products == ["mul_" if form == "filter" else operator.mul] * left, (
            "the adjoint's cotangent is the skip connection's too"
        )
        assert torch.equal(graph(x, probe), plain(x, probe))
    y1 = fxscope.transform(model)(x, probe)[1]
    assert (
        laws.distance(
            fxscope.transform(model, "filter")(x, probe) + fxscope.transform(model, "residual")(x), y1
        )
        < 1e-14
    )


@pytest.mark.full
def test_a_dense_network_has_no_norms_and_masks_its_concatenations_in_place():
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    model = randomize(torchvision.models.densenet121(weights=None).double().eval(), x)
    filter = fxscope.transform(model, "filter")
    assert not [
        n for n in filter.graph.nodes if n.target is operator.mul and n.meta["fxscope"].twin == "mask"
    ]
    left = [
        n
        for n in filter.graph.nodes
        if n.target is F.batch_norm and n.meta["fxscope"].branch == "interpreter"
    ]
    # read by a mean, not by a convolution
    assert [n.meta["fxscope"].module for n in left] == ["features.norm5"]
    y1 = fxscope.transform(model)(x, x)[1]
    r = fxscope.transform(model, "residual")(x)
    assert laws.distance(filter(x, x) + r, y1) < 1e-9
