"""``register_rule``: a rule is added whole or not at all.

``binary``: rules of two operands; twins of one's own.
"""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

import fxscope
from fxscope.emit.layout import batch_major
from fxscope.emit.pipeline import program_of
from fxscope.linop.local.reach import reaches
from fxscope.rules import registry
from fxscope.rules.declare import binary, mask
from fxscope.testing import check_rule
from fxscope.twins import Gate, Twin

D = torch.float64


pytestmark = pytest.mark.usefixtures("rules_as_before")


@torch.library.custom_op("registered::smooth_maximum", mutates_args=())
def smooth_maximum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return ((a + b) + torch.sqrt((a - b) ** 2 + 1)) / 2


@smooth_maximum.register_fake
def _(a, b):
    return torch.empty_like(a + b)


def tripled(x):
    return 3 * x


torch.fx.wrap("tripled")


def _weights(a, b):
    d = a - b
    root = torch.sqrt(d * d + 1)
    return (1 + d / root) / 2, (1 - d / root) / 2, 1 / (2 * root)


def _taylor_of_a(a, b, *, y):
    """Weights that are not the Jacobian, with the constant that keeps y1 = y0."""
    return torch.ones_like(y), torch.zeros_like(y), y - a


def _tripled(name="tripled", **fields):
    return mask(name, tripled, lambda x: Gate(torch.full_like(x, 3.0)), **fields)


@pytest.mark.full
def test_a_rule_of_two_operands():
    rule = fxscope.register_rule(
        binary("smooth_maximum", torch.ops.registered.smooth_maximum.default, _weights, formula="", source="")
    )
    assert rule.carries == ("a", "b")
    assert rule.presets["taylor"] == "freeze"
    assert {"1", "2", "3", "4", "5", "6", "8", "9"} <= check_rule(rule).keys()
    assert rule.file == __file__


def test_a_wrong_weight_is_told():
    rule = binary(
        "smooth_maximum",
        torch.ops.registered.smooth_maximum.default,
        _weights,
        taylor=_taylor_of_a,
        formula="",
        source="",
    )
    fxscope.register_rule(rule)
    with pytest.raises(AssertionError, match="law 6 is broken"):
        check_rule(rule)


def test_a_clash_registers_nothing():
    before = [
        dict(t) for t in (registry().rules, registry().functions, registry().methods, registry().modules)
    ]
    rule = _tripled(functions=(torch.relu,), methods=("tripled",), modules=(nn.ReLU6,))
    with pytest.raises(ValueError, match=r"'tripled'.*'relu' has the function .*relu") as error:
        fxscope.register_rule(rule)
    assert "Rule(" not in str(error.value)
    assert len(str(error.value)) < 200
    assert before == [registry().rules, registry().functions, registry().methods, registry().modules]


@pytest.mark.parametrize(
    ("fields", "spelling"),
    [
        ({"name": "relu"}, "that name"),
        ({"methods": ("relu",)}, "the method Tensor.relu"),
        ({"modules": (nn.ReLU,)}, "the module torch.nn.modules.activation.ReLU"),
    ],
)
def test_an_error_names_the_spelling_and_both_rules(fields, spelling):
    with pytest.raises(ValueError, match=f"'{fields.get('name', 'tripled')}'.*'relu' has {spelling}"):
        fxscope.register_rule(_tripled(**fields))


def test_replace_removes_a_rule_of_the_same_name():
    fxscope.register_rule(_tripled(methods=("tripled",)))
    fxscope.register_rule(new := _tripled(source="new"), replace=True)
    assert registry().rules["tripled"] is registry().of_function(tripled) is new
    assert "tripled" not in registry().methods


def test_replace_takes_a_spelling_over():
    relu = registry().rules["relu"]
    straight = dataclasses.replace(
        relu, name="straight", target=torch.relu, functions=(), methods=(), modules={}
    )
    fxscope.register_rule(straight, replace=True)
    assert registry().of_function(torch.relu) is straight
    assert registry().rules["relu"] is registry().modules[nn.ReLU][0] is relu


def test_the_same_rule_again_is_no_clash():
    rule = fxscope.register_rule(_tripled())
    assert fxscope.register_rule(rule) is rule


def test_an_operand_that_is_a_number_of_the_probe_alone():
    x0 = torch.randn(2, 5, dtype=D)

    class Network(nn.Module):
        def forward(self, x):
            return torch.logaddexp(x, x) + torch.hypot(x.sum(1, keepdim=True), x)

    assert fxscope.verify(Network(), x0).ok


@dataclasses.dataclass(frozen=True)
class Silent(Twin):
    """y1 = 3 x1 + 1, and not a word on how it reads x1."""

    offset: float | None = 1.0
    additive = ("offset",)

    def apply(self, k, x):
        return 3 * x if self.offset is None else 3 * x + self.offset

    def adjoint(self, k, y, x):
        return 3 * y

    def constant(self, k, x):
        return self.offset


@dataclasses.dataclass(frozen=True)
class Told(Silent):
    """The same, which says that it is elementwise."""

    elementwise = True


class Tripled(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)

    def forward(self, x):
        return self.last(torch.ops.registered.tripled.default(self.first(x)))


@torch.library.custom_op("registered::tripled", mutates_args=())
def tripled_and_one(x: torch.Tensor) -> torch.Tensor:
    return 3 * x + 1


@tripled_and_one.register_fake
def _(x):
    return torch.empty_like(x)


@pytest.mark.parametrize("twin", [Silent, Told])
def test_a_twin_of_ones_own_is_right_everywhere(twin):
    """What it does not say is taken to be everything: right, if slower."""
    rule = mask("own_twin", torch.ops.registered.tripled.default, lambda x: twin(), formula="", source="")
    fxscope.register_rule(rule)
    model, x0 = Tripled().double(), torch.randn(2, 2, 8, 8, dtype=D)
    program = program_of(model, example_inputs=(x0,))
    [affine] = program.affine.values()
    assert batch_major(program) == (twin is Told)
    assert reaches(program)[affine].keys() == ({0, 2, 3} if twin is Told else set())
    assert fxscope.verify(model, x0).ok


def squashed(x):
    return x * torch.tanh(x) ** 2


torch.fx.wrap("squashed")


class Squashing(nn.Module):
    """A wrapped function; ``branches``: and code that symbolic tracing does not take."""

    def __init__(self, branches: bool):
        super().__init__()
        self.layer, self.branches = nn.Conv2d(2, 3, 3), branches

    def forward(self, x):
        if self.branches and x.sum() > 1e9:
            return x
        return squashed(self.layer(x))


def test_export_refuses_a_python_function_that_has_a_rule():
    """torch.export looks inside: the rule would not be used, and F would be another than the rule says."""
    fxscope.register_rule(
        mask("squashed", squashed, lambda x: Gate(2 * torch.tanh(x) ** 2, -x * torch.tanh(x) ** 2), "")
    )
    x0 = torch.randn(2, 2, 6, 6, dtype=D)
    model = Squashing(False).double()
    y = model.layer(x0).detach()
    lin = fxscope.interpret(model, x0)
    v = torch.randn_like(x0)
    exact = 2 * torch.tanh(y) ** 2 * nn.functional.conv2d(v, model.layer.weight)
    assert (lin.F @ v - exact).abs().max() < 1e-12
    with pytest.raises(fxscope.FxscopeError, match="squashed.*custom_op"):
        fxscope.interpret(model, x0, frontend="export")
    with pytest.raises(fxscope.FxscopeError, match="(?s)control flow.*squashed.*custom_op"):
        fxscope.interpret(Squashing(True).double(), x0)
