"""One sample of a rule as networks: the operator in every spelling that the sample fits, and its inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ..rules import Rule
from ..rules.declare import Sample

D = torch.float64
SPECIAL = (0.0, 0.5, -0.5, 1.0, -1.0, 3.0, -3.0, 6.0, 2.0, -2.0, 25.0, -25.0)  # a zero, kinks, large values


class Network(nn.Module):
    """One operator in one spelling, after ``before``; a frozen constant gets a skip connection around it."""

    def __init__(
        self, case: RuleCase, function: Callable, before: nn.Module | None = None, by_keyword: bool = True
    ):
        super().__init__()
        self.function, self.sample, self.rule, self.by_keyword = function, case.sample, case.rule, by_keyword
        self.around = is_constant(case.rule)
        self.before = before if before is not None else nn.Identity()
        for name, tensor in case.tensors.items():
            self.register_buffer(name, tensor)
        self.names = list(case.tensors)
        self.double().eval()

    def forward(self, x):
        """Run the operator."""
        x = self.before(x)
        given = {**self.sample.kwargs, **{n: getattr(self, n) for n in self.names}}
        call = self.sample.call or (lambda f, x, **given: _called(f, self.rule, x, given, self.by_keyword))
        y = call(self.function, x, **given)
        return y + x if self.around else y


def _called(function: Callable, rule: Rule, x: Any, given: dict, by_keyword: bool) -> Any:
    """Call a function with x as its carried argument.

    Required arguments go by position; the others by keyword, or by position up to the first that is missing.
    """
    parameters = rule.signature.parameters
    positional: list[Any] = []
    keywords, gap = {}, False
    for name, parameter in parameters.items():
        carried = name not in given and name in rule.carries and not any(p is x for p in positional)
        value = x if carried else given.get(name, parameter.empty)
        gap = gap or value is parameter.empty or (by_keyword and parameter.default is not parameter.empty)
        if value is not parameter.empty:
            positional.append(value) if not gap else keywords.update({name: value})
    return function(*positional, **keywords)


def is_constant(rule: Rule) -> bool:
    """Whether F is 0 by definition: the operator is frozen as a constant, or is another spelling of one."""
    return rule.verb == "constant" or rule.formula.startswith("softmax")


class Module(nn.Module):
    """A module of torch.nn, whose forward may take constants besides x."""

    def __init__(self, case: RuleCase, module: nn.Module):
        super().__init__()
        self.module, self.around = module, is_constant(case.rule)
        self.extra = [n for n in inspect.signature(module.forward).parameters if n in case.tensors]
        for name in self.extra:
            self.register_buffer(name, case.tensors[name])
        self.double().eval()

    def forward(self, x):
        """Run the operator."""
        y = self.module(x, *[getattr(self, n) for n in self.extra])
        return y + x if self.around else y


def variants(rule: Rule) -> tuple[str, ...]:
    """The variants of a rule; those of a composite rule are the presets, which choose its parts' variants."""
    return ("freeze", "detach", "taylor") if rule.verb == "composite" else tuple(rule.variants)


def gives_jacobian(rule: Rule, variant: str) -> bool:
    """Whether F of this variant is the Jacobian."""
    return variant == ("taylor" if rule.verb == "composite" else rule.presets["taylor"])


def policy_of(rule: Rule, variant: str) -> str | dict[str, str]:
    """The policy of a variant; "taylor" for the whole network where F is the Jacobian."""
    if gives_jacobian(rule, variant):
        return "taylor"
    return variant if rule.verb == "composite" else {"default": "freeze", rule.name: variant}


class RuleCase:
    """One rule on one sample: inputs, and the operator as a network in every spelling."""

    def __init__(self, rule: Rule, sample: Sample):
        self.rule, self.sample = rule, sample
        rng = torch.Generator().manual_seed(0)
        self.tensors = {n: _drawn(t, rng) for n, t in sample.tensors.items()}
        self.special = _special_values(sample.shape, rng, sample.positive)
        self.x0 = self._plain(rng)
        self.probes = torch.randn(3, *sample.shape, generator=rng, dtype=D)

    @classmethod
    def every(cls, rule: Rule) -> Iterator[tuple[int, RuleCase]]:
        """(number, case) of every sample that fits the canonical spelling."""
        for number, sample in enumerate(rule.samples):
            if sample.spellings != ():
                yield number, cls(rule, sample)

    @classmethod
    def first(cls, rule: Rule) -> RuleCase | None:
        """The first sample that fits the canonical spelling."""
        return next((case for _, case in cls.every(rule)), None)

    def _plain(self, rng):
        x = torch.randn(self.sample.shape, generator=rng, dtype=D)
        return x.abs() + 0.2 if self.sample.positive else x

    def points(self) -> dict[str, torch.Tensor]:
        """Inputs at which units are likely to fail: both zeros, kinks, equal values, large values."""
        zeros, sign = torch.zeros_like(self.x0), (self.x0 >= 0).to(D) * 2 - 1
        found = {
            "zero": zeros,
            "minus zero": -zeros,
            "kinks": self.special,
            "equal values": sign * 0.5,
            "large values": self.x0 * 1e3,
        }
        return {name: x.abs() + 0.2 if self.sample.positive else x for name, x in found.items()}

    def target(self, before: nn.Module | None = None) -> nn.Module:
        """The canonical spelling, after another module."""
        return Network(self, function_of(self.rule.target), before)

    def functions(self) -> Iterator[tuple[str, Callable, bool]]:
        """(name, function, whether by keyword) of every function and method that the sample fits."""
        table = {name_of(f): f for f in (self.rule.target, *self.rule.functions) if not isinstance(f, str)}
        target = [self.rule.target] if isinstance(self.rule.target, str) else []
        table |= {f"Tensor.{m}": function_of(m) for m in (*self.rule.methods, *target)}
        for name, function in table.items():
            if self.sample.spellings is None or name.removeprefix("Tensor.") in self.sample.spellings:
                yield from (
                    (f"{name}, {'keywords' if k else 'positions'}", function, k) for k in (True, False)
                )

    def modules(self) -> Iterator[tuple[type, nn.Module]]:
        """Every module class that the sample builds, with the sample's tensors as its own."""
        for kind in self.rule.modules if self.sample.modules is None else self.sample.modules:
            arguments = self.sample.kwargs if self.sample.module is None else self.sample.module
            try:
                module = kind(**arguments)
            except TypeError:
                if self.sample.module is not None:
                    raise
                continue  # the function's keywords are not the module's
            module.double()
            missing = [n for n in self.tensors if not self._set(module, n)]
            if not missing:
                yield kind, Module(self, module)

    def _set(self, module: nn.Module, name: str) -> bool:
        """Give the module's tensor the sample's value; True if the module, or its forward, has that name."""
        own = getattr(module, name, None)
        if isinstance(own, torch.Tensor) and own.shape == self.tensors[name].shape:
            own.data.copy_(self.tensors[name])
            return True
        return name in inspect.signature(module.forward).parameters or (
            name in module._buffers and own is None
        )

    def spellings(self) -> Iterator[tuple[str, nn.Module, Any]]:
        """(label, network, key) of every spelling that runs; the key is its function or class."""
        for label, function, by_keyword in self.functions():
            network = Network(self, function, by_keyword=by_keyword)
            if _runs(network, self.x0):
                yield label, network, function
        for kind, module in self.modules():
            yield kind.__name__, module, kind


def _drawn(shape: Any, rng: torch.Generator) -> torch.Tensor:
    return shape(rng) if callable(shape) else torch.rand(shape, generator=rng, dtype=D) * 0.8 + 0.3


def _runs(network: nn.Module, x) -> bool:
    try:
        network(x.clone())
    except (TypeError, RuntimeError, AttributeError):
        return False
    return True


def function_of(target: Callable | str) -> Callable:
    """The rule's target; a method by its name."""
    if isinstance(target, str):
        return lambda x, *args, **kwargs: getattr(x, target)(*args, **kwargs)
    return target


def name_of(function: Any) -> str:
    """The name of a spelling in ``Sample.spellings``."""
    if isinstance(function, torch._ops.OpOverload):
        return str(function).removeprefix("aten.")
    return function.__name__


def _special_values(shape, rng, positive: bool) -> torch.Tensor:
    """Inputs with exact zeros, kinks and large values; positive if the operator needs that."""
    x = torch.randn(shape, generator=rng, dtype=D) * 2
    special = torch.tensor(SPECIAL, dtype=D)
    flat, count = x.flatten(), min(len(special), x.numel() // 3)
    places = torch.randperm(len(flat), generator=rng)[:count]
    flat[places] = special[:count]
    return flat.view(shape).abs() + 0.2 if positive else flat.view(shape)
