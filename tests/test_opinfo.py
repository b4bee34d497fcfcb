"""Operators without a rule are written out in others, or by their derivative; PyTorch's samples judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, UnsupportedOperator
from fxscope.rules import registry
from fxscope.testing.opinfo import core
from fxscope.testing.opinfo.files import drawn_names, filed
from fxscope.testing.opinfo.judge import database, judge
from fxscope.testing.opinfo.page import page
from fxscope.testing.samples import RuleCase, is_constant

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


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", [*SOME, *(pytest.param(n, marks=pytest.mark.full) for n in REST)])
def test_right_refused_or_constant(name):
    line = judge(name, database()[name], 1, "taylor")
    assert line["status"] in (("right",) if name in SOME else ("right", "constant", "refused", "unjudged")), (
        line
    )


@pytest.mark.full
@pytest.mark.parametrize("name", ["cumsum", "erfinv", "linalg.solve", "nn.functional.huber_loss"])
def test_right_in_float32(name):
    line = judge(name, database(torch.float32)[name], 2, "taylor", torch.float32)
    assert line["status"] == "right", line


@pytest.mark.parametrize(
    ("name", "batch"),
    [("digamma", "free"), pytest.param("linalg.cholesky", "specialised", marks=pytest.mark.full)],
)
def test_batches_that_the_graph_was_not_made_on(name, batch):
    line = judge(name, database()[name], 1, "taylor")
    assert (line["status"], line["batch"]) == ("right", batch), line


DOCS = Path(__file__).parent.parent / "docs"


def _lines_of(name):
    return [json.loads(line) for line in (DOCS / "operators" / f"{name}.jsonl").read_text().splitlines()]


def test_what_the_documentation_has():
    """Made by the command from its lines, of which none is wrong, and enough are right."""
    assert page(DOCS) == (DOCS / "operators.md").read_text(), "python -m fxscope.testing.opinfo --page"
    for name, least in (("refuse", 320), ("taylor", 430)):
        lines = _lines_of(name)
        assert not [line["name"] for line in lines if line["status"] in ("wrong", "crash")]
        assert sum(line["status"] == "right" for line in lines) >= least
        assert all(line["reasons"] for line in lines if line["status"] == "refused")


def test_operators_that_are_frozen_whole_say_so():
    """Where the default policy ends the linear path though the derivative is not 0, a rule says so."""
    rules = registry().rules
    ends = {end for line in _lines_of("refuse") for end in line.get("frozen", ())}
    assert "softmax" in ends
    # an error names all that the path ends at: comparisons, whose derivative is 0, and what reads an end, too
    for end in ends - {"eq", "select"}:
        assert rules[end].variants[rules[end].presets["freeze"]] is None, end
        assert rules[end].variants.get("taylor") is not None, end


SAMPLED = sorted(name for name, rule in registry().rules.items() if RuleCase.first(rule) is not None)


def _no_frozen_constant(name):
    """F under the default policy is 0 only where the derivative is, or where the rule freezes it whole."""
    rule = registry().rules[name]
    case = RuleCase.first(rule)
    model = case.target()
    model.around = False
    x = case.x0.clone().requires_grad_()
    torch.manual_seed(0)
    ys = [y for y in _tensors(model(x)) if y.requires_grad]
    us = [torch.randn_like(y) for y in ys]
    try:
        found = torch.autograd.grad(ys, x, us, allow_unused=True)[0] if ys else None
    except RuntimeError as error:  # torch's own backward fails where the source is larger than the index
        assert "returned an invalid gradient" in str(error)
        found = torch.ones(())
    if found is None or not found.any():
        return
    try:
        torch.manual_seed(0)
        lin = fxscope.interpret(model, case.x0)
        rows = lin.F @ case.probes
    except fxscope.errors.NoLinearPath as error:
        assert is_constant(rule) and name.partition("_")[0] in str(error), error
        taylor = fxscope.interpret(model, case.x0, policy="taylor")
        assert any(t.any() for t in _tensors(taylor.F @ case.probes))
        return
    assert any(t.any() for t in _tensors(rows)), f"F of {name} is 0, and its derivative is not"


def _tensors(value):
    return [t for t in torch.utils._pytree.tree_leaves(value) if isinstance(t, torch.Tensor)]


@pytest.mark.parametrize("name", SAMPLED[::12])
def test_no_rule_answers_with_a_frozen_constant(name):
    _no_frozen_constant(name)


@pytest.mark.full
def test_no_rule_at_all_answers_with_a_frozen_constant():
    for name in SAMPLED:
        _no_frozen_constant(name)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in ("_softmax", "prod") else pytest.mark.full) for n in core.CALLS],
)
def test_core_operators_are_what_the_table_says(name):
    if core.has_rule(core.core_operators()[name]):
        pytest.skip("a rule spells it by now")
    kind, error = core.measured(name)
    assert kind == core.kind_of(name, core.core_operators()[name]) and error < 1e-9, (kind, error)


@pytest.mark.full
def test_files_of_drawn_operators():
    """In a fresh process, at another x0 and another number of probes."""
    among = [line["name"] for line in _lines_of("taylor") if line["status"] == "right"]
    assert drawn_names(100, among) == drawn_names(100, sorted(among, reverse=True))
    (line,) = filed(["erfinv"], ("ts", "pt2"))
    assert (line["ts"], line["pt2"]) == ("right", "right"), line


@pytest.mark.full
def test_a_file_that_onnx_has_no_form_for():
    (line,) = filed(["erfinv"], ("onnx",))
    assert line["onnx"].startswith("refused") and "erf_inv" in line["onnx"], line


@pytest.mark.full
def test_files_of_more_drawn_operators():
    among = [line["name"] for line in _lines_of("taylor") if line["status"] == "right"]
    for line in filed(drawn_names(20, among)):
        assert not [said for said in line.values() if said.startswith("wrong")], line


class LogGamma(nn.Module):
    def forward(self, x):
        return torch.lgamma(1 + x * x)


def test_an_operator_that_onnx_has_no_form_for_is_named(tmp_path):
    x0 = torch.rand(2, 3)
    scope = fxscope.transform(LogGamma(), "filter", unknown="taylor", example_inputs=(x0,), probes="stacked")
    with pytest.raises(FxscopeError, match=r"onnx.*gamma"):
        fxscope.save(scope, str(tmp_path / "special.onnx"), (x0, x0[None]))
    assert not list(tmp_path.iterdir())


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


@pytest.mark.turns(2)
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


@pytest.mark.turns(2, 1)
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
