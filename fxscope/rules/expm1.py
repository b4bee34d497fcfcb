"""exp(x) - 1: the factor (exp(x0) - 1)/x0."""

import torch

from ..twins import Gate
from ._stable import expm1c
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=expm1c(x))


def taylor(x, *, y):
    return Gate(factor=y + 1, offset=y - (y + 1) * x)


RULE = mask(
    "expm1",
    torch.expm1,
    freeze,
    taylor=taylor,
    functions=(torch.special.expm1, torch.ops.aten.expm1.default),
    methods=("expm1",),
    samples=(Sample(),),
    formula="h(x) = exp(x) - 1;  y1 = h(x0)/x0 x1",
    source="the paper, eq. 2 with c = 0",
)
