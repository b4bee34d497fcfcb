"""Exponential: h(0) = 1 is the constant, (exp(x0) - 1)/x0 the factor."""

import torch

from ..twins import Gate
from ._stable import expm1c
from .declare import Sample, like, mask


def freeze(x):
    return Gate(factor=expm1c(x), offset=like(x, 1.0))


def taylor(x, *, y):
    return Gate(factor=y, offset=y - y * x)


RULE = mask(
    "exp", torch.exp, freeze, taylor=taylor, functions=(torch.ops.aten.exp.default,), methods=("exp",), samples=(Sample(),), interval=lambda bound, a: (0.0, float("inf")),
    formula="h(x) = exp(x);  y1 = (exp(x0) - 1)/x0 x1 + 1", source="READINGS 1",
)
