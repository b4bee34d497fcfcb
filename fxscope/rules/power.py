"""Powers, squares and roots: the factor x0^(p - 1) where it is finite at 0, Taylor (eq. 4) otherwise."""

import math
import operator

import torch

from ..twins import Gate
from ._homogeneous import is_norm
from ._ranks import Broadcast
from ._stable import expm1c
from .declare import Sample, composite, mask


def _finite_at_zero(slope, y):
    """A slope that is infinite where y0 = h(0) = 0 is taken as 0 there.

    Then y1 = y0 = 0, and no probe is scaled by infinity.
    """
    return torch.where(y == 0, torch.zeros_like(slope), slope)


def freeze(x, exponent, *, y, call):
    if call.value("exponent") is not None:
        return _exponential(x, exponent, call)
    lift = call.lift("x", "exponent")
    if not isinstance(exponent, (int, float)):
        ratio = exponent >= 1
        slope = _finite_at_zero(torch.pow(x, exponent - 1) * exponent, y)
        return Gate(
            factor=torch.where(ratio, torch.pow(x, exponent - 1), slope),
            offset=torch.where(ratio, torch.zeros_like(y), y * (1 - exponent)),
            lift=lift,
            grows=_spreads(call, "exponent"),
        )
    if exponent == 0:
        return Gate(factor=torch.zeros_like(x), offset=y)
    if exponent >= 1:
        return Gate(factor=torch.ones_like(x) if exponent == 1 else torch.pow(x, exponent - 1))
    if is_norm(call.arguments["x"], exponent):
        return _ratio(x, y)
    slope = torch.pow(x, exponent - 1) * exponent
    return Gate(factor=_finite_at_zero(slope, y), offset=y * (1 - exponent))


def _base(x, call):
    if call.value("x") is not None:
        raise TypeError("base and exponent both depend on the probe; write it as exp(exponent * log(base))")
    return math.log(x) if isinstance(x, (int, float)) else torch.log(x)


def _exponential(x, exponent, call):
    """b^e1 with a frozen base: (b^e0 - 1)/e0 e1 + 1, as the exponential it is."""
    log = _base(x, call)
    factor = expm1c(exponent * log) * log
    lift, grows = call.lift("exponent", "x"), _spreads(call, "x")
    return Gate(factor, torch.ones_like(factor), lift, grows), [call.value("exponent")]


def _spreads(call, other):
    """Whether the other operand may be larger, so that this one is broadcast."""
    return call.rank(other) != 0


def taylor(x, exponent, *, y, call):
    if call.value("exponent") is not None:
        slope = y * _base(x, call)
        lift, grows = call.lift("exponent", "x"), _spreads(call, "x")
        return Gate(slope, y - slope * exponent, lift, grows), [call.value("exponent")]
    if isinstance(exponent, (int, float)) and exponent in (0, 1):
        return freeze(x, exponent, y=y, call=call)
    slope = torch.pow(x, exponent - 1) * exponent
    lift, grows = call.lift("x", "exponent"), _spreads(call, "exponent")
    return Gate(_finite_at_zero(slope, y), y * (1 - exponent), lift, grows)


def square(x):
    return Gate(factor=x)


def square_taylor(x, *, y):
    return Gate(factor=x * 2, offset=-y)


def _ratio(x, y):
    """h(x0)/x0, 0 at 0: the root of a sum of powers has no slope there either."""
    zero = x == 0
    return Gate(factor=torch.where(zero, torch.zeros_like(y), y / torch.where(zero, torch.ones_like(x), x)))


def frozen_root(x, *, y, call):
    return _ratio(x, y) if is_norm(call.arguments["x"], 0.5) else root(x, y=y)


def root(x, *, y):
    return Gate(factor=_finite_at_zero(torch.reciprocal(y * 2), y), offset=y * 0.5)


def inverse_root(x, *, y):
    return Gate(factor=y / x * -0.5, offset=y * 1.5)


def _even(bound, a):
    low, high = bound(a["x"])
    if a["exponent"] != 2:
        return (0.0, math.inf) if low >= 0 else (-math.inf, math.inf)
    return (0.0 if low <= 0 <= high else min(low * low, high * high), max(low * low, high * high))


_ATEN = torch.ops.aten
_POSITIVE = (Sample(positive=True),)
POW = mask(
    "pow",
    operator.pow,
    freeze,
    taylor=taylor,
    functions=(torch.pow, _ATEN.pow.Tensor_Scalar, _ATEN.pow.Tensor_Tensor, _ATEN.pow.Scalar),
    methods=("pow", "__pow__"),
    interval=_even,
    carries=("x", "exponent"),
    rank=Broadcast(("x", "exponent")),
    samples=(
        Sample(kwargs={"exponent": 2}),
        Sample(kwargs={"exponent": 3}),
        Sample(kwargs={"exponent": 1}),
        Sample(kwargs={"exponent": 0}),
        Sample(kwargs={"exponent": 1.5}, positive=True),
        Sample(kwargs={"exponent": 0.5}, positive=True),
        Sample(kwargs={"exponent": -0.5}, positive=True),
        Sample(kwargs={"exponent": -1}, positive=True),
        Sample(call=lambda f, x: f(2.0, x), spellings=("pow", "pow.Scalar")),
        Sample(
            tensors={"base": (3, 1, 1)},
            call=lambda f, x, base: f(base, x),
            spellings=("pow", "pow.Tensor_Tensor"),
        ),
        Sample(tensors={"exponent": (1,)}, positive=True),
        Sample(tensors={"exponent": lambda rng: torch.full((3, 1, 1), 3.0, dtype=torch.float64)}),
    ),
    formula=(
        "h(x) = x^p;  p >= 1: y1 = x0^(p-1) x1;  p < 1: eq. 4, with slope 0 at 0, or y1 = x1 h0/x0 for the"
        " root of a sum of powers"
    ),
    source="the paper, eq. 2 with c = 0, eq. 4",
)
RPOW = composite(
    "rpow",
    "__rpow__",
    lambda exponent, x: x**exponent,
    "",
    samples=(Sample(call=lambda f, x: 2**x),),
    formula="h(x) = b^x;  y1 = (b^x0 - 1)/x0 x1 + 1",
    source="the paper, eq. 2 with c = h(0)",
)
SQUARE = mask(
    "square",
    torch.square,
    square,
    taylor=square_taylor,
    functions=(_ATEN.square.default,),
    methods=("square",),
    samples=(Sample(),),
    interval=lambda bound, a: _even(bound, {**a, "exponent": 2}),
    formula="h(x) = x^2;  y1 = x0 x1;  taylor: 2 x0 x1 - x0^2",
    source="the paper, eq. 2 with c = 0",
)
SQRT = mask(
    "sqrt",
    torch.sqrt,
    frozen_root,
    taylor=root,
    functions=(_ATEN.sqrt.default,),
    methods=("sqrt",),
    samples=_POSITIVE,
    interval=lambda bound, a: (0.0, math.sqrt(max(0.0, bound(a["x"])[1]))),
    formula=(
        "h(x) = sqrt(x): slope 1/(2 sqrt x0), 0 at 0; constant sqrt(x0)/2;  of a sum of squares, a norm: y1 ="
        " x1/sqrt x0"
    ),
    source="the paper, eq. 4",
)
RSQRT = mask(
    "rsqrt",
    torch.rsqrt,
    inverse_root,
    taylor=inverse_root,
    functions=(_ATEN.rsqrt.default,),
    methods=("rsqrt",),
    samples=_POSITIVE,
    interval=lambda bound, a: (0.0, math.inf),
    formula="h(x) = 1/sqrt(x): slope -1/(2 x0 sqrt x0), constant 3/(2 sqrt x0)",
    source="the paper, eq. 4",
)
