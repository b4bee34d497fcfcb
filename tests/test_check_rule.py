"""``check_rule``: every law on every rule of the table, and on rules that are wrong; ``verify``: what it says
of itself."""

from __future__ import annotations

import json
import math

import pytest
import torch
import torch.nn.functional as F
import zoo.verified
from torch import nn

import fxscope
from fxscope.rules import registry
from fxscope.rules.declare import Sample, mask
from fxscope.testing import check_rule, laws, randomize
from fxscope.testing.network import Report
from fxscope.twins import Gate

SAMPLED = [rule for rule in list(registry().rules.values()) if rule.samples]
SOME = set(sorted(rule.name for rule in SAMPLED)[::30]) | {"matmul", "div"}
D = torch.float64


def _marked(rule):
    """Every thirtieth rule and two products are held by default, the others where ``full`` is asked for."""
    return pytest.param(rule, id=rule.name, marks=[] if rule.name in SOME else pytest.mark.full)


@pytest.mark.turns(4)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("rule", [_marked(rule) for rule in SAMPLED])
def test_every_law_of_every_rule(rule):
    found = check_rule(rule)
    assert {"1", "2", "3", "4", "5", "8", "9"} <= found.keys()


def _quotient(x, *, y):
    return Gate(factor=y / x)


def _tangent(x, *, y):
    return Gate(factor=1 - y * y, offset=y - x * (1 - y * y))


@pytest.fixture
def own(request):
    """A rule registered for the test alone."""

    def register(name, function, freeze, **fields):
        rule = mask(name, function, freeze, formula="", source="", **{"samples": (Sample(),), **fields})
        request.addfinalizer(lambda: _forget(rule) if rule.name in registry().rules else None)
        return fxscope.register_rule(rule)

    return register


def _forget(rule) -> None:
    registry().rules.pop(rule.name)
    for table in (registry().functions, registry().methods, registry().modules):
        for key in [k for k, r in table.items() if r is rule]:
            table.pop(key)


def tanh_like(x):
    return torch.tanh(x)


torch.fx.wrap("tanh_like")


def test_a_rule_that_is_no_number_at_zero_fails(own):
    rule = own("tanh_by_quotient", tanh_like, _quotient, taylor=_tangent)
    with pytest.raises(AssertionError, match="law 2 is broken.*x0: (minus )?zero"):
        check_rule(rule)


def _square(x, *, y):
    return Gate(factor=x * x, offset=torch.zeros_like(x))


def _slope_of_one(x, *, y):
    return Gate(factor=torch.ones_like(x), offset=y - x)


@pytest.mark.parametrize(
    ("freeze", "law"),
    [(_slope_of_one, 6), (lambda x, *, y: Gate(factor=torch.zeros_like(x), offset=y + 1), 2)],
)
def test_other_mistakes_of_a_rule_fail(own, freeze, law):
    with pytest.raises(AssertionError, match=f"law {law} is broken"):
        check_rule(own("tanh_by_mistake", tanh_like, freeze, taylor=freeze))


def test_a_factor_that_is_said_to_be_the_derivative_fails(own):
    """Piecewise linear units have no variant taylor: their factor is the derivative, or a mistake."""
    with pytest.raises(AssertionError, match="law 6 is broken"):
        check_rule(own("tanh_in_pieces", tanh_like, _slope_of_one, piecewise=True))


def test_without_a_variant_taylor_the_derivative_is_autograds(own):
    """A factor that does not claim to be the derivative is none under "freeze", and is not used for it."""
    check_rule(own("tanh_as_frozen", tanh_like, _slope_of_one))


@pytest.mark.parametrize(
    "case", [c for c in zoo.CASES if c.name.startswith("verified.")], ids=lambda c: c.name
)
def test_operators_without_a_derivative_of_torch_are_not_called_broken(case):
    model, args = case.build(), case.inputs(torch.Generator().manual_seed(0))
    report = fxscope.verify(randomize(model, *args), *args)
    law = next(law for law in report.laws if law.name == "law 6")
    assert report.ok and not law.skipped, report


@torch.library.custom_op("checks::cubed", mutates_args=())
def cubed(x: torch.Tensor) -> torch.Tensor:
    return x * x * x


@torch.library.custom_op("checks::rough", mutates_args=())
def rough(x: torch.Tensor) -> torch.Tensor:
    return x + 0.1 * torch.sin(x * 1e13)


for _operator in (cubed, rough):
    _operator.register_fake(torch.empty_like)


class Called(nn.Module):
    def __init__(self, operator):
        super().__init__()
        self.operator, self.out = operator, nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.operator(x))


def _law_6(rule, operator):
    x0 = torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=D)
    report = fxscope.verify(randomize(Called(operator).double(), x0), x0)
    return report, next(law for law in report.laws if law.name == "law 6")


def test_differences_of_values_tell_a_wrong_derivative(own):
    """The operator has no derivative of torch; eq. 3 and the transpose hold, and the slope is wrong."""
    wrong = own(
        "cubed",
        torch.ops.checks.cubed.default,
        _square,
        taylor=_square,
    )
    report, law = _law_6(wrong, torch.ops.checks.cubed.default)
    assert report.broken == ("law 6",) and "limit of differences" in law.statement
    _forget(wrong)
    tangent = lambda x, *, y: Gate(factor=3 * x * x, offset=-2 * y)  # noqa: E731
    right = own("cubed", torch.ops.checks.cubed.default, tangent, taylor=tangent)
    report, law = _law_6(right, torch.ops.checks.cubed.default)
    assert report.ok and 0 < law.error < 1e-6


def test_what_cannot_be_checked_says_why(own):
    rule = own("rough", torch.ops.checks.rough.default, _slope_of_one, taylor=_slope_of_one)
    report, law = _law_6(rule, torch.ops.checks.rough.default)
    assert (
        "do not settle" in law.skipped
        and report.ok
        and "not checked" in str(report)
        and "not checked" in report._repr_html_()
    )
    assert all(math.isnan(law.error) for law in report.laws if law.skipped)
    assert all(law["error"] is None for law in json.loads(report.to_json())["laws"] if law["skipped"])


class Trained(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(3), nn.Dropout(p)
        self.out = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.out(self.drop(torch.relu(self.norm(x))))


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_train_mode_and_draws_are_verified_as_they_are(p):
    """A draw of its own in every product of memory="recompute" is told by law 13, and by no other."""
    model, x0 = (
        Trained(p).double().train(),
        torch.randn(3, 3, 6, 6, dtype=D, generator=torch.Generator().manual_seed(0)),
    )
    state, before = torch.random.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    report = fxscope.verify(model, x0)
    assert report.ok or (p and report.broken == ("law 13 memory",)), report
    assert torch.equal(torch.random.get_rng_state(), state) and model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


class Heads(nn.Module):
    """Logits and their softmax: an affine output beside a frozen one."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(6, 4)

    def forward(self, x):
        y = self.out(torch.relu(x))
        return {"logits": y, "scores": F.softmax(y, 1)}


def test_a_constant_output_beside_others():
    report = fxscope.verify(
        Heads().double(), torch.randn(2, 6, dtype=D, generator=torch.Generator().manual_seed(0))
    )
    assert report.ok, report


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3)

    def forward(self, x, *, other):
        return self.b(torch.relu(self.a(x)) + other)


def test_several_arguments_and_taps():
    rng = torch.Generator().manual_seed(0)
    x0, other = (
        torch.randn(2, 3, 6, 6, generator=rng, dtype=D),
        torch.randn(2, 4, 6, 6, generator=rng, dtype=D),
    )
    model = randomize(Two().double(), x0, other=other)
    for options in (
        {},
        {"inputs": "a"},
        {"inputs": ["x", "other"]},
        {"outputs": "a"},
        {"inputs": "a", "outputs": "b"},
    ):
        report = fxscope.verify(model, x0, other=other, **options)
        assert report.ok, report


def test_no_number_is_an_error():
    nan = float("nan")
    assert laws.largest([1.0, nan]) == laws.largest([nan, 1.0]) == math.inf and laws.largest([]) == 0.0
    assert laws.distance(torch.tensor([nan, 1.0]), torch.tensor([0.0, 1.0])) == math.inf
    assert laws.distance(torch.tensor([math.inf, 1.0]), torch.tensor([-math.inf, 1.0])) == math.inf
    assert laws.distance(torch.tensor([nan]), torch.tensor([math.inf])) == math.inf
    assert not laws.Law("law 2", "", nan, 1e-9).ok and laws.Law("law 2", "", nan, 1e-9, "why").ok


def test_a_report_of_nothing_is_not_ok():
    said = tuple(
        laws.Law(f"law {n}", "", nan, 1e-9, "does not apply") for n, nan in ((2, math.nan), (3, math.nan))
    )
    report = Report("Net", (1, 3), "float64", "freeze", 0.0, said)
    assert not report.ok and "no law about F" in str(report)
