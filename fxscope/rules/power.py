"""Powers, squares and roots: the factor x0^(p - 1) where it is finite at 0, Taylor otherwise."""

import operator

import torch

from ..twins import Gate
from .declare import Sample, mask


def freeze(x, exponent, *, y):
    if exponent >= 1:
        return Gate(factor=torch.ones_like(x) if exponent == 1 else torch.pow(x, exponent - 1))
    return taylor(x, exponent, y=y)


def taylor(x, exponent, *, y):
    slope = torch.pow(x, exponent - 1) * exponent
    return Gate(factor=slope, offset=y * (1 - exponent))


def square(x):
    return Gate(factor=x)


def square_taylor(x, *, y):
    return Gate(factor=x * 2, offset=-y)


def root(x, *, y):
    return Gate(factor=torch.reciprocal(y * 2), offset=y * 0.5)


def inverse_root(x, *, y):
    return Gate(factor=y / x * -0.5, offset=y * 1.5)


_POSITIVE = (Sample(positive=True),)
POW = mask(
    "pow", operator.pow, freeze, taylor=taylor, functions=(torch.pow, torch.ops.aten.pow.Tensor_Scalar), methods=("pow", "__pow__"),
    interval=lambda bound, a: (0.0, max(v * v for v in bound(a["x"]))) if a["exponent"] == 2 else (float("-inf"), float("inf")),
    samples=(Sample(kwargs={"exponent": 2}), Sample(kwargs={"exponent": 3}), Sample(kwargs={"exponent": 0.5}, positive=True), Sample(kwargs={"exponent": -1}, positive=True)),
    formula="h(x) = x^p;  p >= 1: y1 = x0^(p-1) x1;  p < 1: eq. 4", source="the paper, eq. 2 with c = 0, eq. 4",
)
SQUARE = mask("square", torch.square, square, taylor=square_taylor, methods=("square",), samples=(Sample(),), interval=lambda bound, a: (0.0, max(v * v for v in bound(a["x"]))), formula="h(x) = x^2;  y1 = x0 x1", source="the paper, eq. 2 with c = 0")
SQRT = mask("sqrt", torch.sqrt, root, methods=("sqrt",), samples=_POSITIVE, formula="h(x) = sqrt(x): slope 1/(2 sqrt x0), constant sqrt(x0)/2", source="the paper, eq. 4")
RSQRT = mask("rsqrt", torch.rsqrt, inverse_root, methods=("rsqrt",), samples=_POSITIVE, formula="h(x) = 1/sqrt(x): eq. 4", source="the paper, eq. 4")
