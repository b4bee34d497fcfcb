"""Exponentials: h(0) = 1 is the constant, (h(x0) - 1)/x0 the factor."""

import math
from typing import Any

import torch

from ..twins import Gate
from ._complex import complexity, parts
from ._stable import expm1c
from .declare import Sample, like, mask


def of_complex(x):
    """Exp z, of complex z, by modulus and angle."""
    if not complexity(x):
        return None
    real, imag = parts(x)
    return torch.polar(torch.exp(real), imag)


def freeze(x):
    return Gate(factor=expm1c(x), offset=like(x, 1.0))


def taylor(x, *, y):
    return Gate(factor=y, offset=y - y * x)


def binary(x):
    return Gate(factor=expm1c(x * math.log(2)) * math.log(2), offset=like(x, 1.0))


def binary_taylor(x, *, y):
    slope = y * math.log(2)
    return Gate(factor=slope, offset=y - slope * x)


_ATEN = torch.ops.aten
_KEEP: dict[str, Any] = {
    "interval": lambda bound, a: (0.0, math.inf),
    "source": "the paper, eq. 2 with c = h(0)",
}
EXP = mask(
    "exp",
    torch.exp,
    freeze,
    taylor=taylor,
    functions=(_ATEN.exp.default,),
    methods=("exp",),
    expand=of_complex,
    samples=(
        Sample(),
        Sample((2, 3, 4, 2), call=lambda f, x: torch.view_as_real(f(torch.view_as_complex(x)))),
    ),
    rounding="of complex numbers, the cosine and sine of torch.polar",
    formula="h(x) = exp(x);  y1 = (exp(x0) - 1)/x0 x1 + 1",
    **_KEEP,
)
EXP2 = mask(
    "exp2",
    torch.exp2,
    binary,
    taylor=binary_taylor,
    functions=(torch.special.exp2, _ATEN.exp2.default),
    methods=("exp2",),
    samples=(Sample(),),
    formula="h(x) = 2^x;  y1 = (2^x0 - 1)/x0 x1 + 1",
    **_KEEP,
)
