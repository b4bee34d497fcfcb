"""Lower precision, on the same recorded state.

float32 errs as the model itself does, and half precision keeps statistics in single.
"""

from __future__ import annotations

import copy
import functools

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import fxscope
from fxscope import models
from fxscope.testing import Widened, laws, randomize

# how many times the model's own error a law may err: a law compares two sums, and where r is most of y
# (densenet121) F x0 is large beside it
FACTOR = 8.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_scipy_gets_half_precision_as_single(dtype):
    pytest.importorskip("scipy")
    lin = fxscope.interpret(
        models.pixelshuffle4x().to(dtype),
        torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0)).to(dtype),
    )
    sparse, dense = lin.F.to_sparse(progress=False), lin.F.to_dense(progress=False).float()
    assert sparse.dtype == np.float32 and torch.allclose(torch.from_numpy(sparse.toarray()), dense, atol=2e-2)
    v = np.ones(81, dtype=np.float32)
    assert np.allclose(lin.F.to_scipy() @ v, (lin.F.flat @ torch.ones(81, dtype=dtype)).float().numpy())


class Mixed(nn.Module):
    """Every norm with statistics of x0, a max-pool and smooth units.

    Squares go beyond half precision's largest number.
    """

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = (
            nn.Conv2d(3, 8, 3, padding=1),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Conv2d(8, 3, 3, padding=1),
        )
        self.instance, self.group = nn.InstanceNorm2d(8, affine=True), nn.GroupNorm(2, 8)
        self.layer, self.rms = nn.LayerNorm(16), nn.RMSNorm(16)

    def forward(self, x):
        h = torch.relu(self.instance(self.first(x) * 300))  # squares beyond 65504
        h = torch.nn.functional.silu(self.group(self.second(h) * 200))
        h = torch.nn.functional.gelu(self.layer(torch.nn.functional.max_pool2d(h, 3, 1, 1)))
        return self.last(self.rms(h) * torch.sigmoid(h.mean((2, 3), keepdim=True)))


NETWORKS = {
    "mixed": (Mixed, (3, 16, 16)),
    "edsr": (lambda: models.EDSR(scale=2, blocks=2, features=16), (3, 16, 16)),
    "resnet18": (lambda: torchvision.models.resnet18(weights=None), (3, 64, 64)),
    "densenet121": (lambda: torchvision.models.densenet121(weights=None), (3, 64, 64)),
    "efficientnet_b0": (lambda: torchvision.models.efficientnet_b0(weights=None), (3, 64, 64)),
    "cyclegan": (lambda: models.cyclegan(blocks=6), (3, 32, 32)),
}
NAMES = [pytest.param(n, marks=[] if n in ("mixed", "edsr") else [pytest.mark.full]) for n in NETWORKS]


@functools.cache
def network(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    model, x0 = make().double().eval(), normal(1, *shape)
    return randomize(model, x0), x0


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def worst_law(graphs: dict, x0, u, v) -> float:
    """The largest error of y1 = y0, superposition, F x0 + r = y0, and of the dot test.

    The dot test's is over |F u| |v|. The errors are taken in double precision.
    """
    pair, filter, residual, adjoint = (graphs[n] for n in ("pair", "filter", "residual", "adjoint"))
    y0, y1 = pair(x0, x0)
    fu, fv, fx, r = filter(x0, u), filter(x0, v), filter(x0, x0), residual(x0)
    w = torch.randn(y0.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(y0.dtype)
    dot = ((fu.double() * w.double()).sum() - (u.double() * adjoint(x0, w).double()).sum()).abs() / (
        fu.double().norm() * w.double().norm()
    )
    sums = laws.distance(filter(x0, 0.5 * u + 0.25 * v).double(), 0.5 * fu.double() + 0.25 * fv.double())
    return max(
        laws.distance(y1.double(), y0.double()),
        sums,
        laws.distance(fx.double() + r.double(), y0.double()),
        dot.item(),
    )


def graphs_of(model):
    return {form: fxscope.transform(model, form) for form in ("pair", "filter", "residual", "adjoint")}


@pytest.mark.parametrize("name", NAMES)
def test_single_precision_on_the_same_state(name):
    """The state is recorded in double precision, so that no decision flips.

    F and F^T then err as the model does.
    """
    model, x0 = network(name)
    single = copy.deepcopy(model).float()
    own = laws.distance(single(x0.float()).double(), model(x0))
    forms = {
        form: (
            fxscope.transform(model, form, probes="stacked"),
            fxscope.transform(single, form, probes="stacked"),
        )
        for form in ("replay", "pullback")
    }
    y0, state = fxscope.transform(model, "record", probes="stacked")(x0)
    lowered = [s.float() if s.is_floating_point() else s for s in state]
    for form, probe in (("replay", normal(2, *x0.shape, seed=1)), ("pullback", normal(2, *y0.shape, seed=2))):
        exact, got = forms[form][0](list(state), probe), forms[form][1](lowered, probe.float())
        assert laws.distance(got.double(), exact) <= FACTOR * max(own, 2**-22), form


@pytest.mark.turns(2)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_obeys_the_laws_within_it(name, dtype):
    model, x0 = network(name)
    half = copy.deepcopy(model).to(dtype)
    x0, u, v = x0.to(dtype), normal(*x0.shape, seed=1).to(dtype), normal(*x0.shape, seed=2).to(dtype)
    with torch.no_grad():
        y0 = half(x0)
        own = laws.distance(y0.double(), copy.deepcopy(half).double()(x0.double()))
        graphs = graphs_of(half)
        assert torch.isfinite(y0).all() and graphs["pair"](x0, x0)[1].dtype == y0.dtype
        assert worst_law(graphs, x0, u, v) <= FACTOR * max(own, torch.finfo(dtype).eps)


@pytest.mark.parametrize("name", NAMES)
# of torch's own RMSNorm under autocast
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
def test_autocast_obeys_the_laws_within_bfloat16(name):
    model, x0 = network(name)
    single = copy.deepcopy(model).float()
    x0, u, v = x0.float(), normal(*x0.shape, seed=1).float(), normal(*x0.shape, seed=2).float()
    with torch.no_grad():
        exact = single(x0)
        graphs = graphs_of(single)
        with torch.autocast("cpu", torch.bfloat16):
            own = laws.distance(single(x0).double(), exact.double())
            assert worst_law(graphs, x0, u, v) <= FACTOR * max(own, torch.finfo(torch.bfloat16).eps)


def test_statistics_of_half_precision_are_those_of_single():
    """Squares of values beyond 256 are infinite in half precision."""
    torch.manual_seed(0)
    x0 = (torch.randn(1, 4, 8, 8) * 2000 + 500).half()
    for norm in (nn.InstanceNorm2d(4), nn.GroupNorm(2, 4), nn.LayerNorm(8), nn.RMSNorm(8)):
        model = nn.Sequential(norm, nn.Identity()).half().eval()
        y0, y1 = fxscope.transform(model, example_inputs=(x0,))(x0, x0)
        assert laws.distance(y1.double(), y0.double()) < 4 * torch.finfo(torch.float16).eps, type(
            norm
        ).__name__


class OwnMean(nn.Module):
    """A plain tensor in float32 that is a view, and a size that only torch.export can decide on."""

    def __init__(self):
        super().__init__()
        self.mean, self.layer = torch.rand(3).view(1, 3, 1, 1), nn.Conv2d(3, 2, 3)

    def forward(self, x):
        if x.shape[-1] % 2:
            x = nn.functional.pad(x, (0, 1))
        return torch.relu(self.layer(x - self.mean.type_as(x)))


def test_widened_arithmetic_goes_through_export():
    model, x0 = OwnMean().double(), normal(2, 3, 7, 7)
    with Widened():
        lin = fxscope.interpret(model, x0, frontend="export")
    assert laws.distance(lin.F @ x0 + lin.residual, lin.y0) < 1e-12
