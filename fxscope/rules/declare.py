"""How a rule is declared: one ``Rule`` a nonlinearity, with everything about that operator in it.

The verbs name the mathematics: ``mask``, ``select``, ``normalize``, ``constant``, ``linear``, ``product``, ``composite``. A rule file
holds

    RULE = mask("silu", torch.nn.functional.silu, freeze, taylor=taylor, modules=(nn.SiLU,), ...)

where ``freeze(x, ...)`` is ordinary PyTorch code over the values of x0. It has the operator's own signature (arguments
are bound to it by name, so a module's attributes and a function's keywords need no table), is traced into the original
branch, and returns the twin that goes into the interpreter branch. Two keyword-only parameters are filled in where a
function asks for them: ``y``, the operator's output on x0, and ``call``, the ``Call`` itself.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from ..graph.ir import stands_for_sizes
from . import _reduced
from ._local import elementwise, over_dims

Interval = tuple[float, float]
UNBOUNDED: Interval = (float("-inf"), float("inf"))


@dataclass(frozen=True)
class Sample:
    """One way to call the operator in tests: input shape, keywords of the function, and of the module where they differ.

    shape      of x, B first; positive: draw x from (0, inf)
    kwargs     of the function; module: of the module's constructor (None: the same as kwargs)
    tensors    {argument: shape, or function of a generator} of further tensor arguments; a module's own are set to them
    modules    the module classes that this sample builds (None: all)
    spellings  the spellings that this sample fits (names of functions and methods; None: all)
    call       (function, x, **arguments) -> tensors, where x is not the first argument or the result not one tensor
    images     whether the images of a batch are independent in this call, and their number free
    draws      whether the operator draws random numbers
    """

    shape: tuple[int, ...] = (2, 3, 6, 7)
    kwargs: dict = field(default_factory=dict)
    module: dict | None = None
    tensors: dict = field(default_factory=dict)
    positive: bool = False
    modules: tuple[type, ...] | None = None
    spellings: tuple[str, ...] | None = None
    call: Callable | None = None
    images: bool = True
    draws: bool = False


@dataclass(frozen=True)
class Rule:
    """One operator: its spellings, what it freezes, its variants, and how it is tested and shown.

    name       the operator's name in policies, summaries and pictures
    verb       mask | select | normalize | constant | linear | product | composite
    target     the canonical function, or the name of a method where PyTorch has no function; its y0 is the one the original branch computes
    arguments  a function with the canonical signature (usually the first variant)
    variants   {name: function of the operator's arguments that returns a twin}; None is a frozen constant
    presets    which variant each policy preset uses
    functions, methods, modules   every other spelling; modules may map a class to a function module -> arguments
    carries    the arguments that may depend on the probe
    ignores    arguments that are read for their size or dtype alone
    frozen     arguments whose values are constants of x0 in every variant but "taylor", where they may not depend on the probe
    rank       number of dimensions of the output from those of the arguments; None: that of the first carried argument
    interval   bounds of the output from those of the arguments (None: unbounded)
    reduced    along which dimensions the output is constant because an operator reduced them (``rules/_reduced.py``); None: along none
    expand     rewrites the call into simpler operators before classification, or returns None to leave it
    local      which places of an operand one place of the output reads (``fxscope.rules._local``); None: all of them
    variadic   the last argument may be spelled as several (x.view(a, b) for x.view((a, b)))
    yields     "tensor"; "tensors" (chunk: a tuple of affine tensors); "values" (topk: values, then constant indices)
    bits       its values are truth values
    piecewise  piecewise linear: F must equal the Jacobian away from kinks
    rounding   why y0 may differ from the operator's own output by rounding; "" where it is the same, bit for bit
    unsampled  why the rule has no samples; "" where it has
    derivative  where torch's own derivative is not exact: how near it is, and why
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
    interval: Callable | None = None
    reduced: Callable | None = None
    bits: bool = False
    piecewise: bool = False
    expand: Callable | None = None
    local: Callable | None = None
    variadic: bool = False
    yields: str = "tensor"
    samples: tuple[Sample, ...] = ()
    rounding: str = ""
    unsampled: str = ""
    derivative: tuple[float, str] | None = None
    formula: str = ""
    source: str = ""
    file: str = ""

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        """The canonical signature, without what fxscope fills in."""
        return _signature(self.arguments)

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
        """The argument that a keyword means: torch calls the first one ``input`` (``self`` in ATen), and takes numpy's names of dimensions."""
        names = tuple(self.signature.parameters)
        if name in names:
            return name
        return {"input": names[0], "self": names[0], "axis": "dim", "keepdims": "keepdim"}.get(name, name)

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
    target: Callable,
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
        file=inspect.getsourcefile(arguments) or "",
        **fields,
    )


def mask(
    name: str,
    target: Callable,
    freeze: Callable,
    taylor: Callable | None = None,
    variants: dict | None = None,
    **fields,
) -> Rule:
    """An elementwise unit that freezes a factor per element: y1 = A(x0) x1 + c(x0) (paper, eq. 2)."""
    table = {"freeze": freeze, **({"taylor": taylor} if taylor else {}), **(variants or {})}
    presets = {"freeze": "freeze", "detach": "freeze", "taylor": "taylor" if taylor else "freeze"}
    fields.setdefault("local", over_dims if "dim" in inspect.signature(freeze).parameters else elementwise)
    return _rule("mask", name, target, freeze, table, presets, **{"reduced": _reduced.elementwise, **fields})


def select(name: str, target: Callable, freeze: Callable, **fields) -> Rule:
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
    name: str, target: Callable, stats: Callable, scale: Callable | None, taylor: Callable | None, **fields
) -> Rule:
    """A normalisation that freezes mean and standard deviation (paper, Fig. 2); ``scale`` keeps the mean linear."""
    table = {"stats": stats, **({"scale": scale} if scale else {}), **({"taylor": taylor} if taylor else {})}
    presets = {
        "freeze": "stats",
        "detach": "scale" if scale else "stats",
        "taylor": "taylor" if taylor else "stats",
    }
    return _rule("normalize", name, target, stats, table, presets, **{"reduced": _reduced.kept, **fields})


def constant(
    name: str,
    target: Callable,
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


def linear(name: str, target: Callable, twin: Callable, **fields) -> Rule:
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


def product(
    name: str, target: Callable, build: Callable, arguments: Callable, variants: tuple[str, ...], **fields
) -> Rule:
    """A product of two tensors; which operand is the gate is decided per edge (``fxscope.rules.product``)."""
    table = dict.fromkeys(("auto", *variants), build)
    presets = {"freeze": "auto", "detach": "gate" if "gate" in variants else "auto", "taylor": "taylor"}
    return _rule("product", name, target, arguments, table, presets, **fields)


def composite(name: str, target: Callable, expand: Callable, rounding: str, **fields) -> Rule:
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
