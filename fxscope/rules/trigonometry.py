"""Sine, cosine and tangent, their inverses and their hyperbolic forms: the ratio h(x0)/x0.

Cosines are given by their distance from 1.
"""

import math

import torch

from ..twins import Gate
from ._stable import series, sinc, sinhc
from .declare import Sample, like, mask


def sin(x):
    return Gate(factor=sinc(x))


def cos(x):
    # (cos x - 1)/x = -x/2 sinc(x/2)^2
    half = sinc(x * 0.5)
    return Gate(factor=x * half * half * -0.5, offset=like(x, 1.0))


def tan(x):
    return Gate(factor=sinc(x) / torch.cos(x))


def atan(x):
    return Gate(factor=series(x, torch.atan, (1.0, -1 / 3, 1 / 5, -1 / 7)))


def sinh(x):
    return Gate(factor=sinhc(x))


def cosh(x):
    half = sinhc(x * 0.5)
    return Gate(factor=x * half * half * 0.5, offset=like(x, 1.0))


def asinh(x):
    return Gate(factor=series(x, torch.asinh, (1.0, -1 / 6, 3 / 40, -15 / 336)))


def atanh(x):
    return Gate(factor=series(x, torch.atanh, (1.0, 1 / 3, 1 / 5, 1 / 7)))


def _tangent(slope_of):
    """Eq. 4: slope h'(x0), constant h(x0) - h'(x0) x0."""

    def taylor(x, *, y):
        slope = slope_of(x, y)
        return Gate(factor=slope, offset=y - slope * x)

    return taylor


def _rule(name, freeze, slope_of, formula, samples=None, interval=None):
    function, overload = getattr(torch, name), getattr(torch.ops.aten, name).default
    return mask(
        name,
        function,
        freeze,
        taylor=_tangent(slope_of),
        functions=(overload,),
        methods=(name,),
        samples=samples or (Sample(),),
        interval=interval,
        formula=formula,
        source="the paper, eq. 2 with c = h(0)",
    )


_INSIDE = (Sample(call=lambda f, x: f(torch.tanh(x) * 0.9)),)
_UNIT = lambda bound, a: (-1.0, 1.0)  # noqa: E731
SIN = _rule("sin", sin, lambda x, y: torch.cos(x), "y1 = sin(x0)/x0 x1", interval=_UNIT)
COS = _rule("cos", cos, lambda x, y: -torch.sin(x), "y1 = (cos(x0) - 1)/x0 x1 + 1", interval=_UNIT)
TAN = _rule("tan", tan, lambda x, y: 1 + y * y, "y1 = tan(x0)/x0 x1")
ATAN = _rule(
    "atan",
    atan,
    lambda x, y: torch.reciprocal(1 + x * x),
    "y1 = atan(x0)/x0 x1",
    interval=lambda bound, a: (-math.pi / 2, math.pi / 2),
)
SINH = _rule("sinh", sinh, lambda x, y: torch.cosh(x), "y1 = sinh(x0)/x0 x1")
COSH = _rule(
    "cosh",
    cosh,
    lambda x, y: torch.sinh(x),
    "y1 = (cosh(x0) - 1)/x0 x1 + 1",
    interval=lambda bound, a: (1.0, math.inf),
)
ASINH = _rule("asinh", asinh, lambda x, y: torch.rsqrt(1 + x * x), "y1 = asinh(x0)/x0 x1")
ATANH = _rule(
    "atanh", atanh, lambda x, y: torch.reciprocal((1 - x) * (1 + x)), "y1 = atanh(x0)/x0 x1", samples=_INSIDE
)
