"""The laws on one rule: fxscope's own tests run them on every rule, and ``check_rule`` on a rule of yours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..errors import UnsupportedOperator
from ..frontend.example import Example
from ..graph.arguments import checked
from ..results.display import Measured
from ..rules import Rule
from ..rules.declare import DERIVATIVE
from .case import LawCase
from .laws import Law, distance
from .samples import Network, RuleCase, function_of
from .table import CHECKS

AT_POINTS = ("law 1", "law 2", "law 3", "law 4", "law 5")  # measured at zeros, kinks and large values too
# measured under the first policy alone: policies differ in their twins, not in how a network is traced
RETRACED = ("law 13 size", "law 13 frontend")
ABOUT_F = {"2", "3", "4", "5", "8"}


@checked
def check_rule(rule: Rule, bound: float | None = None) -> dict[str, float]:
    """Measure the laws on a registered rule, over all its samples and policy presets, in float64.

    Laws 1 to 6, 8, 9, 11 and 13 are measured on random inputs (law 6 under policy "taylor"), and law 12 over
    the rule's spellings. Laws 1 to 5 are also measured at zeros of either sign, kinks, equal values and large
    values: where the operator is finite, its interpreter must be too. Policy "taylor" is left out if neither
    the rule nor torch has a derivative of the operator.

    Parameters
    ----------
    rule
        The rule; its samples say how the operator is called.
    bound
        Largest relative error allowed, instead of each law's own bound.

    Returns
    -------
    dict
        ``{law: largest relative error}``, with the laws named "1", "2", "8 row", ...

    Raises
    ------
    AssertionError
        If a law is broken (the message names the sample and the law), if the rule has no samples, or if no
        law about F applies.
    """
    assert rule.samples, (
        f"{rule.name} has no samples: say how the operator is called, Sample((2, 3, 6, 7), {{...}})"
    )
    worst: dict[str, float] = {}
    for number, sample in enumerate(rule.samples):
        case = RuleCase(rule, sample)
        found = [_said(law, label) for label, laws in laws_of_spellings(case) for law in laws]
        if sample.spellings != ():
            model = _network(case)
            for i, policy in enumerate(_policies(rule)):
                found += _of_policy(case, model, policy, i == 0) if _is_known(case, model, policy) else []
        for law in found:
            _hold(worst, law, bound, f"{rule.name}, sample {number}")
    assert worst.keys() >= ABOUT_F, (
        f"{rule.name}: no sample lets laws {', '.join(sorted(ABOUT_F - worst.keys()))} be checked"
    )
    return Measured(worst, f"largest errors of the laws on {rule.name}")


def _hold(worst: dict[str, float], law: Law, bound: float | None, where: str) -> None:
    if law.skipped:
        return
    name, most = law.name.removeprefix("law "), law.bound if bound is None else bound
    assert law.error <= most, f"{where}: law {name} is broken by {law.error:.2e} ({law.statement})"
    worst[name] = max(worst.get(name, 0.0), law.error)


def _policies(rule: Rule) -> list[str]:
    """The presets that differ for this rule; all of them if it, or a sample, calls other rules."""
    if rule.verb == "composite" or any(sample.call is not None for sample in rule.samples):
        return list(rule.presets)
    return [
        preset
        for i, (preset, variant) in enumerate(rule.presets.items())
        if variant not in list(rule.presets.values())[:i]
    ]


def _is_known(case: RuleCase, model: nn.Module, policy: str) -> bool:
    """Whether F is known under a policy: not the derivative of what neither rule nor torch differentiates."""
    if case.rule.presets[policy] != DERIVATIVE:
        return True
    try:
        LawCase.of(model, (case.x0,), policy=policy)
        return True
    except UnsupportedOperator:
        return False


def _of_policy(case: RuleCase, model: nn.Module, policy: str, first: bool) -> list[Law]:
    """All laws at the random input, and laws 1 to 5 at the points where units are likely to fail."""
    s = LawCase.of(model, (case.x0,), policy=policy, thorough=first)
    names = tuple(check.name for check in CHECKS if first or check.name not in RETRACED)
    found = [_said(law, f"policy {policy}") for law in s.measured(names)]
    for name, x0 in case.points().items():
        point = s.but(Example((x0,)), probes=s.probes)
        if _finite(point):
            found += [_said(law, f"policy {policy}, x0: {name}") for law in point.measured(AT_POINTS)]
    return found


def _said(law: Law, where: str) -> Law:
    return Law(law.name, f"{law.statement}; {where}", law.error, law.bound, law.skipped)


def _finite(s: LawCase) -> bool:
    """Whether the operator itself is finite at a point; one that refuses it is not."""
    try:
        return all(bool(torch.isfinite(t).all()) for t in s.expected)
    except Exception:  # the operator's own checks of its arguments
        return False


def laws_of_spellings(
    case: RuleCase, wanted: Callable[[str], bool] = lambda label: True
) -> Iterator[tuple[str, list[Law]]]:
    """(spelling, laws 1 and 2, and law 12 against the first) of the first spelling and the wanted ones."""
    first: Any = None
    spellings = list(case.spellings())
    if not any(wanted(label) for label, *_ in spellings):
        return
    for i, (label, network, _) in enumerate(spellings):
        if i and not wanted(label):
            continue
        s = LawCase.of(network, (case.x0,))
        first = s.together if first is None else first  # y1 of the probes: F and r
        law_12 = Law("law 12", "every spelling gives the same F", distance(s.together, first), s.bound)
        yield label, [*s.measured(("law 1", "law 2")), law_12]


def _network(case: RuleCase) -> nn.Module:
    """The operator in its canonical spelling; a user's Python function becomes one node of the graph."""
    target = case.rule.target
    if isinstance(target, FunctionType) and not target.__module__.startswith("torch."):
        return Network(case, _one_operator(target))
    return Network(case, function_of(target))


def _one_operator(target: Callable) -> Callable:
    """A function as one node of a traced graph, whether or not torch.fx would look inside."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        proxies = [a for a in (x, *args, *kwargs.values()) if isinstance(a, fx.Proxy)]
        if not proxies:
            return target(x, *args, **kwargs)
        return proxies[0].tracer.create_proxy("call_function", target, (x, *args), kwargs)

    return call
