"""Operators without a rule are written out in others, or by their derivative; PyTorch's samples judge."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

import fxscope
from fxscope.errors import UnsupportedOperator
from fxscope.testing.opinfo.judge import database, judge

D = torch.float64
# one of each way: a rule, a decomposition, a derivative, complex values, a solve, writes at places
SOME = (
    "cumsum",
    "inner",
    "erfinv",
    "fft.irfft",
    "linalg.solve_triangular",
    "index_put",
    "nn.functional.huber_loss",
)
REST = sorted(set(database()) - set(SOME))


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(n, marks=pytest.mark.full) for n in REST)])
def test_right_refused_or_constant(name):
    line = judge(name, database()[name], 1, "taylor")
    assert line["status"] in (("right",) if name in SOME else ("right", "constant", "refused", "unjudged")), (
        line
    )


class Physics(nn.Module):
    """A solve with a matrix of the image, and a special function without a rule."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        a = x.unsqueeze(-1) * x.unsqueeze(-2) + 3 * torch.eye(4, dtype=x.dtype)
        return torch.lgamma(self.linear(torch.linalg.solve(a, x.unsqueeze(-1)).squeeze(-1)) ** 2 + 1.0)


def _physics():
    torch.manual_seed(0)
    return Physics().double(), torch.randn(2, 4, dtype=D)


def test_refused_by_name_with_the_way_out():
    model, x0 = _physics()
    with pytest.raises(UnsupportedOperator) as error:
        fxscope.interpret(model, x0)
    assert "lgamma" in str(error.value) and 'unknown="taylor"' in str(error.value)
    assert any("linalg" in name for name in error.value.operators) and "lgamma" in error.value.operators


@pytest.mark.parametrize("batch", [1, 3])
def test_derivative_in_every_form(batch):
    """Made on two images; read on one and on three, with K > 1, in every form."""
    model, x0 = _physics()
    made = {"policy": "taylor", "unknown": "taylor", "example_inputs": (x0,)}
    x = torch.randn(batch, 4, dtype=D)
    jacobian = torch.autograd.functional.jacobian(lambda x: model(x).sum(0), x).permute(1, 0, 2)
    v, u = torch.randn(3, batch, 4, dtype=D), torch.randn(3, batch, 4, dtype=D)
    forward = torch.einsum("bij,kbj->kbi", jacobian, v)
    back = torch.einsum("bij,kbi->kbj", jacobian, u)

    def graph(form):
        return fxscope.transform(model, form, probes="stacked", **made)

    def same(a, b):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)

    same(graph("filter")(x, v), forward)
    same(graph("adjoint")(x, u), back)
    y0, state = graph("record")(x)
    assert torch.equal(y0, model(x))
    same(graph("replay")(state, v), forward)
    same(graph("pullback")(state, u), back)
    y0, row, r = graph("row")(x, torch.full((1, batch), 2))
    same(row[0], jacobian[:, 2])
    same((row[0] * x).sum(1) + r[0], y0[:, 2])
    y0, y1 = graph("pair")(x, x[None])
    same(y1[0], y0)
    same(graph("residual")(x) + graph("filter")(x, x[None])[0], y0)


def test_interpreter_of_another_batch():
    model, x0 = _physics()
    reader = fxscope.prepare(model, x0, policy="taylor", unknown="taylor")
    one = torch.cat([(reader(x[None]).F @ x[None, None])[0] for x in x0])
    torch.testing.assert_close((reader(x0).F @ x0[None])[0], one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("ending", ["pt2", "ts"])
def test_saved_and_run_at_other_inputs(ending, tmp_path):
    model, x0 = _physics()
    scope = fxscope.transform(
        model, "filter", policy="taylor", unknown="taylor", example_inputs=(x0,), probes="stacked"
    )
    file = tmp_path / f"physics.{ending}"
    fxscope.save(scope, str(file), (x0, x0[None]))
    loaded = torch.export.load(file).module() if ending == "pt2" else torch.jit.load(file)
    x, v = torch.randn(3, 4, dtype=D), torch.randn(2, 3, 4, dtype=D)
    torch.testing.assert_close(loaded(x, v), scope(x, v), rtol=1e-9, atol=1e-9)


def test_summary_shows_what_was_linearised():
    model, x0 = _physics()
    scope = fxscope.transform(model, unknown="taylor", example_inputs=(x0,))
    assert "derivative" in str(fxscope.summary(scope))


# the networks of docs/benchmarks.md: nodes of the pair and of the adjoint
NODES = {
    "vgg16": (240, 401),
    "resnet50": (971, 1261),
    "edsr_baseline": (406, 542),
    "cyclegan": (695, 1126),
}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.full] if n in ("vgg16", "resnet50") else []) for n in NODES]
)
def test_networks_that_have_rules_stay_as_they_are(name):
    make = getattr(fxscope.models, name, None) or getattr(torchvision.models, name)
    with torch.device("meta"):
        model = make().eval()
    assert tuple(len(fxscope.transform(model, e).graph.nodes) for e in ("pair", "adjoint")) == NODES[name]


@torch.library.custom_op("fxscope_tests::cubed", mutates_args=())
def cubed(x: torch.Tensor) -> torch.Tensor:
    """An operator whose inside nothing can trace; its derivative is what its author registered."""
    return x**3


@cubed.register_fake
def _(x):
    return torch.empty_like(x)


def _kept(ctx, inputs, output):
    ctx.save_for_backward(inputs[0])


cubed.register_autograd(lambda ctx, g: 3 * g * ctx.saved_tensors[0] ** 2, setup_context=_kept)


class Cubed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return cubed(self.conv(x)).tanh()


class SinTimes(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin() * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * (x.cos() * x + x.sin())


class WithFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return SinTimes.apply(self.conv(x))


@pytest.mark.parametrize("kind", [Cubed, WithFunction])
def test_operators_of_users_with_their_own_backward(kind):
    torch.manual_seed(0)
    model, x0 = kind().double().eval(), torch.randn(2, 3, 6, 6, dtype=torch.float64)
    if kind is Cubed:
        with pytest.raises(UnsupportedOperator, match='unknown="taylor"'):
            fxscope.interpret(model, x0)
    lin = fxscope.interpret(model, x0, policy="taylor", unknown="taylor")
    v, u = torch.randn(3, *x0.shape, dtype=torch.float64), torch.randn_like(model(x0))
    x = x0.clone().requires_grad_()
    y0 = model(x)
    (gradient,) = torch.autograd.grad(y0, x, u)
    assert (lin.F.T @ u - gradient).abs().max() <= 1e-10
    assert (lin.F @ lin.x0 + lin.residual - y0).abs().max() <= 1e-10
    assert (((lin.F @ v) * u).sum() - (v * gradient).sum()).abs() <= 1e-9
