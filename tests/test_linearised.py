"""Operators that stand as their derivative: where it is said, and rules that have no variant "taylor"."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import UnsupportedOperator
from fxscope.rules.declare import Sample, constant, mask, normalize
from fxscope.testing import check_rule
from fxscope.twins import Gate

D = torch.float64
pytestmark = pytest.mark.usefixtures("rules_as_before")

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)
    def forward(self, x):
        return torch.lgamma(self.conv(x) ** 2 + 1)

def net(): return Net()
"""


@pytest.fixture(scope="module")
def special():
    """(model, x0, its interpreter)"""
    torch.manual_seed(0)
    scope: dict = {}
    exec(NET, scope)
    model, x0 = scope["net"]().double().eval(), torch.randn(1, 3, 5, 5, dtype=D)
    return model, x0, fxscope.interpret(model, x0, unknown="taylor")


def test_verify_takes_unknown_and_says_it(special):
    model, x0, _ = special
    with pytest.raises(UnsupportedOperator, match="lgamma"):
        fxscope.verify(model, x0)
    report = fxscope.verify(model, x0, unknown="taylor", thorough=False)
    assert report.ok, str(report)
    assert len(report.linearised) == 1 and report.linearised[0].startswith("lgamma")
    assert "linearised lgamma" in str(report) and "linearised lgamma" in report._repr_html_()
    assert json.loads(report.to_json())["linearised"] == list(report.linearised)
    law_6 = next(law for law in report.laws if law.name == "law 6")
    assert not law_6.skipped and law_6.error < 1e-9


def test_verify_of_the_command_line(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    call = ["verify", f"{tmp_path}/net.py:net", "--size", "6"]
    refused = CliRunner().invoke(cli, call)
    assert refused.exit_code == 1 and "lgamma" in refused.stderr
    done = CliRunner().invoke(cli, [*call, "--unknown", "taylor"])
    assert done.exit_code == 0 and "linearised lgamma at net.py:10" in done.stdout, done.output


@pytest.mark.parametrize("form", ["pair", "filter", "adjoint", "row", "replay"])
def test_summary_and_picture_of_every_form(form, special):
    model, x0, _ = special
    scope = fxscope.transform(model, form, unknown="taylor", example_inputs=(x0,))
    found = fxscope.summary(scope)
    assert found.linearised == special[2].linearised
    assert "linearised by their derivative: lgamma" in str(found) and "lgamma" in found._repr_html_()
    assert json.loads(found.to_json())["linearised"]
    assert "linearised by their derivative: lgamma" in fxscope.draw(scope).svg


def test_records_and_their_captions(special, tmp_path):
    _, _, lin = special
    assert "linearised lgamma" in repr(lin)
    rows = lin.F.filters(rows=[0], progress=False)
    assert rows.origin["linearised"] == list(lin.linearised)
    rows.save(str(tmp_path / "rows.safetensors"))
    assert type(rows).load(str(tmp_path / "rows.safetensors")).origin["linearised"] == list(lin.linearised)
    assert lin.contributions(0).origin["linearised"] == list(lin.linearised)
    assert lin.F.svd(1).origin["linearised"] == list(lin.linearised)
    from fxscope.results.provenance import caption
    from fxscope.viewer.interpreter import _policy

    assert "linearised lgamma" in caption(rows.origin) and "linearised lgamma" in _policy(lin)


def test_nothing_is_said_where_nothing_was_linearised():
    lin = fxscope.interpret(nn.Sequential(nn.Linear(3, 2), nn.ReLU()).double(), torch.randn(1, 3, dtype=D))
    assert lin.linearised == () and "linearised" not in repr(lin)
    assert "linearised" not in lin.F.filters(rows=[0], progress=False).origin


@torch.library.custom_op("linearised::half_square", mutates_args=())
def half_square(x: torch.Tensor) -> torch.Tensor:
    """Its derivative multiplies the cotangent by x itself, with no operator of x0 between."""
    return x * x / 2


@half_square.register_fake
def _(x):
    return torch.empty_like(x)


half_square.register_autograd(
    lambda ctx, g: g * ctx.saved_tensors[0],
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)


class Squares(nn.Module):
    """The operator twice, the second time of its own output."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        y = torch.ops.linearised.half_square.default(self.linear(x))
        return torch.ops.linearised.half_square.default(y + 1)


def _is_the_jacobian(model, x0, **options):
    lin = fxscope.interpret(model, x0, policy="taylor", **options)
    x = x0.clone().requires_grad_()
    y0 = model(x)
    u = torch.randn_like(y0)
    (gradient,) = torch.autograd.grad(y0, x, u)
    torch.testing.assert_close(lin.F.T @ u, gradient, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(lin.F @ x0 + lin.residual, y0, rtol=1e-10, atol=1e-10)
    return lin


def _squares():
    torch.manual_seed(0)
    return Squares().double(), torch.randn(3, 4, dtype=D)


def test_a_derivative_that_reads_the_input_itself():
    _is_the_jacobian(*_squares(), unknown="taylor")


def _mask(**more):
    return mask(
        "half_square",
        torch.ops.linearised.half_square.default,
        lambda x: Gate(x / 2),
        samples=(Sample((2, 5)),),
        formula="y1 = x0 x1/2",
        source="a test",
        **more,
    )


def _normalize():
    """Frozen as a normalisation is; what counts is that it has no variant taylor."""
    return normalize(
        "half_square",
        torch.ops.linearised.half_square.default,
        lambda x: Gate(x / 2),
        None,
        None,
        samples=(Sample((2, 5)),),
        formula="y1 = x0 x1/2",
        source="a test",
    )


@pytest.mark.parametrize("rule", [_mask, _normalize])
def test_a_rule_without_taylor_gets_the_derivative(rule):
    assert fxscope.register_rule(rule()).under_taylor == "autograd"
    model, x0 = _squares()
    assert fxscope.interpret(model, x0).linearised == ()
    lin = _is_the_jacobian(model, x0)  # no unknown=: the operator has a rule
    assert len(lin.linearised) == 2
    part = fxscope.interpret(model, x0, policy={"default": "freeze", "half_square": "taylor"})
    v = torch.randn_like(x0)
    torch.testing.assert_close(part.F @ v, lin.F @ v, rtol=1e-10, atol=1e-10)


def test_a_rule_without_taylor_under_the_laws():
    found = check_rule(fxscope.register_rule(_mask()))
    assert found["6"] < 1e-9 and max(found.values()) < 1e-9


def test_without_an_example_the_error_says_why():
    fxscope.register_rule(_mask())
    model, _ = _squares()
    fxscope.transform(model)
    with pytest.raises(
        UnsupportedOperator, match="half_square has no variant that is its derivative"
    ) as error:
        fxscope.transform(model, policy="taylor")
    assert "piecewise=True" in str(error.value) and "example_inputs" in str(error.value)


@torch.library.custom_op("linearised::without_backward", mutates_args=())
def without_backward(x: torch.Tensor) -> torch.Tensor:
    return x * x


@without_backward.register_fake
def _(x):
    return torch.empty_like(x)


class NoBackward(nn.Module):
    def forward(self, x):
        return torch.ops.linearised.without_backward.default(2 * x)


def test_a_rule_without_taylor_whose_operator_has_no_derivative():
    operator = torch.ops.linearised.without_backward.default
    fxscope.register_rule(mask("without_backward", operator, lambda x: Gate(x), formula="", source=""))
    x0 = torch.randn(2, 3, dtype=D)
    fxscope.interpret(NoBackward(), x0)
    with pytest.raises(UnsupportedOperator, match="without_backward has no variant that is its derivative"):
        fxscope.interpret(NoBackward(), x0, policy="taylor")


def stretched(x):
    """A function of a user, which torch.export looks into."""
    return torch.sinh(x) + x


torch.fx.wrap("stretched")


class Stretched(nn.Module):
    def forward(self, x):
        return stretched(2 * x)


def test_a_function_of_a_user_without_taylor():
    fxscope.register_rule(
        mask("stretched", stretched, lambda x: Gate(torch.ones_like(x)), formula="", source="")
    )
    x0 = torch.randn(2, 3, dtype=D)
    with pytest.raises(UnsupportedOperator, match="stretched has no variant"):
        fxscope.transform(Stretched(), policy="taylor")
    _is_the_jacobian(Stretched(), x0)


def test_piecewise_says_that_what_is_frozen_is_the_slope():
    rule = fxscope.register_rule(_mask(piecewise=True))
    assert rule.presets["taylor"] == "freeze"


def test_a_constant_stays_one():
    """Its author says that no output depends on x1, and the error of the ending path says so."""
    fxscope.register_rule(
        constant(
            "half_square", torch.ops.linearised.half_square.default, lambda x: None, carries=("x",), source=""
        )
    )
    model, x0 = _squares()
    with pytest.raises(fxscope.errors.NoLinearPath, match="half_square"):
        fxscope.interpret(model, x0, policy="taylor")


class Table(nn.Module):
    """Rows of a table that is computed from the image."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 6)
        self.register_buffer("numbers", torch.tensor([[2, 0], [2, 1]]))

    def forward(self, x):
        y = self.linear(x)
        return nn.functional.embedding(self.numbers, y).flatten(1) + y.sum()


@pytest.mark.parametrize("frontend", ["symbolic", "export"])
def test_an_embedding_in_a_table_of_the_image(frontend):
    torch.manual_seed(0)
    _is_the_jacobian(Table().double(), torch.randn(3, 4, dtype=D), frontend=frontend)
