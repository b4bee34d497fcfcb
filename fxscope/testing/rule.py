"""The laws on one rule: what fxscope's own tests run on every rule of its table, for a rule of yours."""

from __future__ import annotations

from typing import Any, Callable

import torch
from torch import nn

from ..example import Example
from ..rules import Rule
from ..rules.declare import Sample
from ..transform import program_of
from .subject import Subject

BOUND = 1e-9


class _Call(nn.Module):
    """The operator on a sample's input; one whose value is a frozen constant gets a path around it."""

    def __init__(self, rule: Rule, sample: Sample, rng: torch.Generator):
        super().__init__()
        self.rule, self.sample = rule, sample
        for name, shape in sample.tensors.items():
            value = shape(rng) if callable(shape) else torch.rand(shape, generator=rng, dtype=torch.float64) * 0.8 + 0.3
            self.register_buffer(name, value)

    def forward(self, x):
        given = {**self.sample.kwargs, **{name: getattr(self, name) for name in self.sample.tensors}}
        target = _one_operator(self.rule.target)
        y = self.sample.call(target, x, **given) if self.sample.call else target(x, **given)
        return y + x if self.rule.verb == "constant" else y


def _one_operator(target: Callable | str) -> Callable:
    """The rule's target as one node of a traced graph, whether or not torch.fx would look inside."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(target, str):
            return getattr(x, target)(*args, **kwargs)
        proxies = [a for a in (x, *args, *kwargs.values()) if isinstance(a, torch.fx.Proxy)]
        return proxies[0].tracer.create_proxy("call_function", target, (x, *args), kwargs) if proxies else target(x, *args, **kwargs)

    return call


def check_rule(rule: Rule, bound: float = BOUND) -> dict[str, float]:
    """{law: largest relative error} of a registered rule over all its samples, in float64.

    Laws 1 to 6, 8 and 11 (law 6 under policy "taylor"). Raises ``AssertionError`` naming the sample and the law that is
    broken, and where the rule has no samples.
    """
    assert rule.samples, f"{rule.name} has no samples: say how the operator is called, Sample((2, 3, 6, 7), {{...}})"
    worst: dict[str, float] = {}
    for number, sample in enumerate(rule.samples):
        rng = torch.Generator().manual_seed(0)
        model = _Call(rule, sample, rng).double().eval()
        x0 = torch.randn(sample.shape, generator=rng, dtype=torch.float64)
        example = Example((x0.abs() + 0.2 if sample.positive else x0,))
        with torch.no_grad():
            for law, measured in Subject(model, program_of(model, example_inputs=example), example).laws().items():
                error = measured()
                worst[law] = max(worst.get(law, 0.0), error)
                assert error <= bound, f"{rule.name}, sample {number}: law {law} is broken by {error:.2e}"
    return worst
