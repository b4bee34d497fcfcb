"""How a rule is declared: one ``Rule`` a nonlinearity, with everything about that operator in it.

The verbs name the mathematics: ``mask``, ``binary``, ``select``, ``normalize``, ``constant``, ``linear``,
``product``, ``composite``. A rule file holds

    RULE = mask("silu", torch.nn.functional.silu, freeze, taylor=taylor, modules=(nn.SiLU,), ...)

where ``freeze(x, ...)`` is ordinary PyTorch code over the values of x0. It has the operator's own signature
(arguments are bound to it by name, so a module's attributes and a function's keywords need no table), is
traced into the original branch, and returns the twin that goes into the interpreter branch. Two keyword-only
parameters are filled in where a function asks for them: ``y``, the operator's output on x0, and ``call``, the
``Call`` itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from ..graph.ir import stands_for_sizes
from ..twins import Gate, TangentProduct
from . import _reduced
from ._local import elementwise, over_dims
from ._ranks import Broadcast

DERIVATIVE = "derivative"  # stands in presets for the derivative by autograd, where no variant is one
UNDER_TAYLOR = {
    "exact": "What the other policies freeze is the derivative already.",
    "own": "A variant of its own is the derivative.",
    "parts": "It is written out, and each of its parts is treated as it is by itself.",
    "zero": "The derivative is 0 almost everywhere: the value is a constant, as under other policies.",
    "autograd": "Autograd's derivative stands for it; without an example of the inputs it is an error.",
}
Interval = tuple[float, float]
UNBOUNDED: Interval = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class Sample:
    """One way to call the operator in tests.

    Parameters
    ----------
    shape
        Of x, with the batch B first.
    kwargs
        Keywords of the function.
    module
        Keywords of the constructor of the module; None: the same as ``kwargs``.
    tensors
        {argument: shape, or function of a generator} of further tensor arguments. The tensors of a module are
        set to them.
    positive
        Draw x from (0, inf).
    modules
        The module classes that this sample builds; None: all.
    spellings
        The names of the functions and methods that this sample fits; None: all.
    call
        (function, x, **arguments) -> tensors, for an operator whose first argument is not x, or that returns
        several tensors.
    independent_batch
        Whether the images of a batch are independent in this call, and their number is free.
    draws
        Whether the operator draws random numbers.
    """

    shape: tuple[int, ...] = (2, 3, 6, 7)
    kwargs: dict = field(default_factory=dict)
    module: dict | None = None
    tensors: dict = field(default_factory=dict)
    positive: bool = False
    modules: tuple[type, ...] | None = None
    spellings: tuple[str, ...] | None = None
    call: Callable | None = None
    independent_batch: bool = True
    draws: bool = False


@dataclass(frozen=True)
class Rule:
    """One operator: its spellings, what it freezes, its variants, and how it is tested and shown.

    Parameters
    ----------
    name
        The name of the operator in policies, summaries and pictures.
    verb
        mask, select, normalize, constant, linear, product or composite.
    target
        The canonical function, or the name of a method where PyTorch has no function. The original branch
        computes y0 with it.
    arguments
        A function with the canonical signature (usually the first variant).
    variants
        {name: function of the arguments of the operator that returns a twin}; None is a frozen constant.
    presets
        Which variant each policy preset uses; "derivative" under "taylor" where none of them is one: then the
        derivative by autograd stands for the operator.
    functions, methods, modules
        Every other spelling; ``modules`` may map a class to a function module -> arguments.
    carries
        The arguments that may depend on the probe.
    ignores
        Arguments of which only the size or the dtype is read.
    frozen
        Arguments whose values are constants of x0 in every variant but "taylor". There they may not depend on
        the probe.
    rank
        The number of dimensions of the output from those of the arguments; None: that of the first carried
        argument.
    input_rank
        The number of dimensions of the first carried argument, where the operator fixes it.
    asks
        What else a call tells of the ranks of its arguments: a function of the arguments that yields
        (argument, least, most), see ``rules/_ranks.py``.
    interval
        Bounds of the output from those of the arguments; None: unbounded.
    reduced
        Along which dimensions the output is constant because an operator reduced them (see
        ``rules/_reduced.py``); None: along none.
    bits
        Whether its values are truth values.
    integers
        Whether its values are integers, or a function of the arguments that tells it.
    piecewise
        Whether it is piecewise linear: F must equal the Jacobian away from kinks.
    by_output
        Whether what it freezes is told by its output too: freeze(h(x)) = freeze(x).
    expand
        Rewrites the call into simpler operators before classification, or returns None to leave it.
    local
        Which places of an operand one place of the output reads (``rules/_local.py``); None: all of them.
    variadic
        Whether the last argument may be spelled as several: x.view(a, b) for x.view((a, b)).
    yields
        "tensor"; "tensors" (chunk: a tuple of affine tensors); "values" (topk: values, then constant
        indices).
    samples
        How the operator is called in tests.
    rounding
        Why y0 may differ from the output of the operator by rounding; "" where they are the same bit for bit.
    unsampled
        Why the rule has no samples; "" where it has some.
    derivative
        For an operator whose derivative in torch is not exact: the largest error, and its reason.
    breaks
        {variant: (law, reason)} of a law that the variant breaks by its definition.
    formula, source
        What the card of the rule shows: the formula, and the equation or paper that it is from.
    file
        The file of the rule.
    """

    name: str
    verb: str
    target: Callable | str
    arguments: Callable
    variants: dict[str, Callable | None]
    presets: dict[str, str]
    functions: tuple = ()
    methods: tuple[str, ...] = ()
    modules: dict[type, Callable | None] = field(default_factory=dict)
    carries: tuple[str, ...] = ("x",)
    ignores: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    rank: Callable | None = None
    input_rank: int | None = None
    asks: Callable | None = None
    interval: Callable | None = None
    reduced: Callable | None = None
    bits: bool = False
    integers: bool | Callable = False
    piecewise: bool = False
    by_output: bool = False
    expand: Callable | None = None
    local: Callable | None = None
    variadic: bool = False
    yields: str = "tensor"
    samples: tuple[Sample, ...] = ()
    rounding: str = ""
    unsampled: str = ""
    derivative: tuple[float, str] | None = None
    breaks: dict[str, tuple[str, str]] = field(default_factory=dict)
    formula: str = ""
    source: str = ""
    file: str = ""

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The canonical signature, without what fxscope fills in."""
        return _signature(self.arguments)

    @property
    def under_taylor(self) -> str:
        """What policy "taylor" does with the operator; the keys of ``UNDER_TAYLOR`` are all that there is."""
        chosen = self.presets["taylor"]
        if self.verb == "composite":
            return "parts"
        if chosen == DERIVATIVE:
            return "autograd"
        if self.variants[chosen] is None:
            return "zero"
        return "exact" if chosen == self.presets["freeze"] else "own"

    def bind(self, args: tuple, kwargs: dict) -> dict[str, Any]:
        """{argument: value} of a call, defaults filled in; raises TypeError where the call does not fit."""
        bound = self._bound(args, kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    def _bound(self, args: tuple, kwargs: dict) -> inspect.BoundArguments:
        if (
            self.variadic
            and len(args) > 1
            and not isinstance(args[1], (list, tuple))
            and not stands_for_sizes(args[1])
        ):
            args = (args[0], list(args[1:]))
        named = {
            self._parameter(k): v
            for k, v in kwargs.items()
            if k != "inplace" and not (k == "out" and v is None)
        }
        return self.signature.bind(*args, **named)

    def _parameter(self, name: str) -> str:
        """The argument that a keyword means.

        torch calls the first one ``input`` (``self`` in ATen), takes numpy's names of dimensions, and calls
        what is written ``source`` or ``src``.
        """
        names = tuple(self.signature.parameters)
        if name in names:
            return name
        known = {"input": names[0], "self": names[0], "axis": "dim", "keepdims": "keepdim", "source": "src"}
        return known.get(name, name)

    def given(self, args: tuple, kwargs: dict) -> dict[str, Any]:
        """{argument: value} of a call, only what differs from the defaults."""
        defaults = {n: p.default for n, p in self.signature.parameters.items()}
        bound = self._bound(args, kwargs)
        return {n: v for n, v in bound.arguments.items() if not _same(v, defaults[n])}


def _same(value, default) -> bool:
    return value is default or (
        type(value) is type(default) and isinstance(value, (bool, int, float, str)) and value == default
    )


def _signature(function: Callable) -> inspect.Signature:
    signature = inspect.signature(function)
    return signature.replace(
        parameters=[p for p in signature.parameters.values() if p.kind != p.KEYWORD_ONLY]
    )


def _rule(
    verb: str,
    name: str,
    target: Callable | str,
    arguments: Callable,
    variants: dict,
    presets: dict,
    modules=(),
    **fields,
) -> Rule:
    if not isinstance(modules, dict):
        modules = dict.fromkeys(modules)
    fields.setdefault("carries", (next(iter(inspect.signature(arguments).parameters)),))
    return Rule(
        name,
        verb,
        target,
        arguments,
        variants,
        presets,
        modules=modules,
        file=inspect.getsourcefile(inspect.unwrap(arguments)) or "",
        **fields,
    )


def mask(
    name: str,
    target: Callable | str,
    freeze: Callable,
    taylor: Callable | None = None,
    variants: dict | None = None,
    **fields,
) -> Rule:
    """An elementwise unit that freezes a factor per element: y1 = A(x0) x1 + c(x0) (paper, eq. 2)."""
    table = {"freeze": freeze, **({"taylor": taylor} if taylor else {}), **(variants or {})}
    exact = "freeze" if fields.get("piecewise") else DERIVATIVE
    presets = {"freeze": "freeze", "detach": "freeze", "taylor": "taylor" if "taylor" in table else exact}
    fields.setdefault("local", over_dims if "dim" in inspect.signature(freeze).parameters else elementwise)
    return _rule("mask", name, target, freeze, table, presets, **{"reduced": _reduced.elementwise, **fields})


def binary(
    name: str,
    target: Callable | str,
    weights: Callable,
    taylor: Callable | None = None,
    **fields,
) -> Rule:
    """An elementwise unit of two operands that freezes a weight for each: y1 = A(x0) a1 + B(x0) b1 + c(x0).

    The samples are those of ``two_operands`` unless others are given.

    Parameters
    ----------
    name, target
        As for every rule.
    weights
        ``weights(x, other)`` returns (A, B, c) on the values of x0, of the shape of the output; c is None
        where it is 0. A keyword-only parameter ``y`` asks for the output on x0. An operand that does not
        depend on the probe is a constant: B b0 becomes part of c.
    taylor
        The same for the policy "taylor"; None where ``weights`` are the derivatives.
    **fields
        Further fields of ``Rule``.
    """
    operands = tuple(inspect.signature(weights).parameters)[:2]
    table = {"freeze": _weighted(weights, *operands)}
    if taylor is not None:
        table["taylor"] = _weighted(taylor, *operands)
    fields = {
        "carries": operands,
        "rank": Broadcast(operands),
        "samples": two_operands(operands[1]),
        **fields,
    }
    rule = mask(name, target, table["freeze"], taylor=table.get("taylor"), **fields)
    return rule if taylor is not None else replace(rule, presets={**rule.presets, "taylor": "freeze"})


def two_operands(second: str) -> tuple[Sample, ...]:
    """The ways to call an operator of two tensors.

    Equal shapes, broadcasts of either operand, and both operands computed from x.
    """
    return (
        Sample(tensors={second: (2, 3, 6, 7)}),
        Sample(tensors={second: (7,)}),
        Sample((6, 7), tensors={second: (2, 3, 1, 1)}, independent_batch=False),
        Sample(tensors={second: (3, 6, 7)}, call=lambda f, x, **constant: f(*constant.values(), x)),
        Sample(call=lambda f, x: f(x, x * -0.5 + 0.1)),
        Sample(call=lambda f, x: f(x * 2, x)),
        Sample(call=lambda f, x: f(x, x.mean((2, 3)).unsqueeze(-1).unsqueeze(-1))),
    )


def _weighted(weights: Callable, first: str, second: str) -> Callable:
    """The twin of two operands, from the function that gives their weights and the constant."""
    given = inspect.signature(weights)
    call_parameter = inspect.Parameter("call", inspect.Parameter.KEYWORD_ONLY)

    @functools.wraps(weights)
    def twin(*, call, **arguments):
        a, b, c = weights(**arguments)
        if call.value(second) is None:
            return _one_weighted(call, (first, second), a, _plus(_times(b, arguments[second]), c))
        if call.value(first) is None:
            return _one_weighted(call, (second, first), b, _plus(_times(a, arguments[first]), c))
        lifts = (call.lift(first, second), call.lift(second, first))
        offset = None if c is None else -c
        return TangentProduct(b, a, offset, lifts), [call.value(first), call.value(second)]

    signed: Any = twin
    signed.__signature__ = given.replace(parameters=[*given.parameters.values(), call_parameter])
    return signed


def _times(weight, constant):
    """Their product; 0 where the weight is, also if the constant operand is infinite there."""
    return torch.where(weight == 0, torch.zeros_like(weight), weight * constant)


def _plus(x, c):
    return x if c is None else x + c


def _one_weighted(call, names: tuple[str, str], weight, offset):
    """The twin of the first of two operands, where the other one is a constant."""
    lift, grows = call.lift(*names), call.rank(names[1]) != 0
    return Gate(weight, offset, lift, grows), [call.value(names[0])]


def select(name: str, target: Callable | str, freeze: Callable, **fields) -> Rule:
    """A unit that freezes which entries it chose: y1 = x1 at the indices of x0 (paper, Fig. 2)."""
    return _rule(
        "select",
        name,
        target,
        freeze,
        {"freeze": freeze},
        dict.fromkeys(("freeze", "detach", "taylor"), "freeze"),
        piecewise=True,
        **fields,
    )


def normalize(
    name: str,
    target: Callable | str,
    stats: Callable,
    scale: Callable | None,
    taylor: Callable | None,
    **fields,
) -> Rule:
    """A normalisation that freezes mean and standard deviation (paper, Fig. 2).

    ``scale`` keeps the mean linear.
    """
    table = {"stats": stats, **({"scale": scale} if scale else {}), **({"taylor": taylor} if taylor else {})}
    presets = {
        "freeze": "stats",
        "detach": "scale" if scale else "stats",
        "taylor": "taylor" if taylor else DERIVATIVE,
    }
    return _rule("normalize", name, target, stats, table, presets, **{"reduced": _reduced.kept, **fields})


def constant(
    name: str,
    target: Callable | str,
    arguments: Callable,
    variants: dict | None = None,
    default: str = "constant",
    **fields,
) -> Rule:
    """A unit whose output is frozen as a value: sign, round, comparisons, whatever only feeds a gate."""
    presets = {
        "freeze": default,
        "detach": default,
        "taylor": "taylor" if "taylor" in (variants or {}) else "constant",
    }
    return _rule(
        "constant", name, target, arguments, {"constant": None, **(variants or {})}, presets, **fields
    )


def linear(name: str, target: Callable | str, twin: Callable, **fields) -> Rule:
    """An operator that is linear already; ``twin`` is the same under every policy."""
    return _rule(
        "linear",
        name,
        target,
        twin,
        {"linear": twin},
        dict.fromkeys(("freeze", "detach", "taylor"), "linear"),
        **{"piecewise": True, **fields},
    )


def differentiated(rule: Rule, taylor: Callable) -> Rule:
    """The rule with a variant for "taylor", in which the arguments that others freeze are no constants."""
    variants = {**rule.variants, "taylor": taylor}
    return replace(rule, variants=variants, presets={**rule.presets, "taylor": "taylor"})


def product(
    name: str,
    target: Callable | str,
    build: Callable,
    arguments: Callable,
    variants: tuple[str, ...],
    **fields,
) -> Rule:
    """A product of two tensors; which operand is the gate is decided per edge (``fxscope.rules.product``)."""
    table = dict.fromkeys(("auto", *variants), build)
    presets = {
        "freeze": "auto",
        "detach": "gate" if "gate" in variants else "auto",
        "taylor": "taylor" if "taylor" in variants else DERIVATIVE,
    }
    return _rule("product", name, target, arguments, table, presets, **fields)


def composite(name: str, target: Callable | str, expand: Callable, rounding: str, **fields) -> Rule:
    """An operator that is written out in simpler ones before anything is frozen; its policy is theirs."""
    presets = dict.fromkeys(("freeze", "detach", "taylor"), "parts")
    return _rule(
        "composite",
        name,
        target,
        expand,
        {"parts": _written_out},
        presets,
        expand=expand,
        rounding=rounding,
        **fields,
    )


def _written_out(*, call):
    raise TypeError("this form is not known")


def like(x, value: float):
    """A tensor of x's shape and dtype filled with a value (a Python float in ``where`` would be float32)."""
    return torch.full_like(x, value)
