"""The laws on one rule: what fxscope's own tests run on every rule of its table, for a rule of yours."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ..emit.pipeline import program_of
from ..frontend.example import Example
from ..rules import Rule
from .checks import CHECKS
from .laws import Law, distance
from .samples import Case, Network, function_of
from .subject import Subject

AT_POINTS = ("law 1", "law 2", "law 3", "law 4", "law 5")  # what is held at zeros, kinks and large values
RETRACED = (
    "law 13 size",
    "law 13 frontend",
)  # of the first policy alone: policies differ in their twins, not in how a network is traced
ABOUT_F = {"2", "3", "4", "5", "8"}


def check_rule(rule: Rule, bound: float | None = None) -> dict[str, float]:
    """{law: largest relative error} of a registered rule over all its samples and every preset of policies,
    in float64.

    Laws 1 to 6, 8, 9, 11 and 13 on random inputs (law 6 under policy "taylor"), 12 over the rule's spellings;
    and 1 to 5 at zeros of either
    sign, kinks, equal values and large ones: where the operator is finite, so is its interpreter.

    bound   instead of each law's own

    Raises ``AssertionError`` naming the sample and the law that is broken, and where the rule has no samples
    or no law about F applies.
    """
    assert rule.samples, (
        f"{rule.name} has no samples: say how the operator is called, Sample((2, 3, 6, 7), {{...}})"
    )
    worst: dict[str, float] = {}
    for number, sample in enumerate(rule.samples):
        case = Case(rule, sample)
        found = _of_spellings(case)
        if sample.spellings != ():
            model = _network(case)
            for i, policy in enumerate(_policies(rule)):
                found += _of_policy(case, model, policy, i == 0)
        for law in found:
            _hold(worst, law, bound, f"{rule.name}, sample {number}")
    assert worst.keys() >= ABOUT_F, (
        f"{rule.name}: no sample lets laws {', '.join(sorted(ABOUT_F - worst.keys()))} be checked"
    )
    return worst


def _hold(worst: dict[str, float], law: Law, bound: float | None, where: str) -> None:
    if law.skipped:
        return
    name, most = law.name.removeprefix("law "), law.bound if bound is None else bound
    assert law.error <= most, f"{where}: law {name} is broken by {law.error:.2e} ({law.statement})"
    worst[name] = max(worst.get(name, 0.0), law.error)


def _policies(rule: Rule) -> list[str]:
    """The presets that read this rule differently; all of them where it is written out in others, or a sample
    calls others.
    """
    if rule.verb == "composite" or any(sample.call is not None for sample in rule.samples):
        return list(rule.presets)
    return [
        preset
        for i, (preset, variant) in enumerate(rule.presets.items())
        if variant not in list(rule.presets.values())[:i]
    ]


def _of_policy(case: Case, model: nn.Module, policy: str, first: bool) -> list[Law]:
    """All laws at the plain input, and those of single values at the points where units are apt to fail."""
    example = Example((case.x0,))
    with torch.no_grad():
        program = program_of(model, policy=policy, example_inputs=example)
        subject = Subject(model, program, example, policy=policy, thorough=first)
        names = tuple(check.name for check in CHECKS if first or check.name not in RETRACED)
        found = [_said(law, f"policy {policy}") for law in subject.measured(names)]
        for name, x0 in case.points().items():
            if _finite(subject, x0):
                found += [
                    _said(law, f"policy {policy}, x0: {name}") for law in subject.at(x0).measured(AT_POINTS)
                ]
    return found


def _said(law: Law, where: str) -> Law:
    return Law(law.name, f"{law.statement}; {where}", law.error, law.bound, law.skipped)


def _finite(subject: Subject, x0: torch.Tensor) -> bool:
    """Whether the operator itself is finite at a point; one that refuses it is not."""
    try:
        values = subject.runs(Example((x0,)), "there")
    except Exception:  # the operator's own checks of its arguments
        return False
    return all(bool(torch.isfinite(t).all()) for t in values)


def _of_spellings(case: Case) -> list[Law]:
    """Law 12: every spelling that runs gives the F of the first one, and laws 1 and 2 of each."""
    found: list[Law] = []
    first: Any = None
    example = Example((case.x0,))
    for label, network, _ in case.spellings():
        with torch.no_grad():
            subject = Subject(network, program_of(network, example_inputs=example), example)
            found += [_said(law, label) for law in subject.measured(("law 1", "law 2"))]
            first = subject.linear if first is None else first
            found.append(
                Law(
                    "law 12",
                    f"every spelling gives the same F; {label}",
                    distance(subject.linear, first),
                    subject.bound,
                )
            )
    return found


def _network(case: Case) -> nn.Module:
    """The operator in its canonical spelling: a Python function of one's own is one node of the graph."""
    target = case.rule.target
    own = isinstance(target, FunctionType) and not target.__module__.startswith("torch.")
    return Network(case, _one_operator(target) if own else function_of(target))


def _one_operator(target: Callable) -> Callable:
    """A function as one node of a traced graph, whether or not torch.fx would look inside."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        proxies = [a for a in (x, *args, *kwargs.values()) if isinstance(a, fx.Proxy)]
        return (
            proxies[0].tracer.create_proxy("call_function", target, (x, *args), kwargs)
            if proxies
            else target(x, *args, **kwargs)
        )

    return call
