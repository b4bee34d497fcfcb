"""Absolute value: freeze the sign."""

import operator

import torch

from ..twins import Slope
from .declare import Sample, mask


def freeze(x):
    return Slope(keep=~(x <= 0), slope=-1.0)


RULE = mask(
    "abs",
    torch.abs,
    freeze,
    piecewise=True,
    functions=(operator.abs, torch.absolute, torch.ops.aten.abs.default),
    methods=("abs", "absolute", "__abs__"),
    samples=(Sample(),),
    interval=lambda bound, a: (0.0, max(abs(v) for v in bound(a["x"]))),
    formula="h(x) = |x|;  y1 = sign(x0) x1",
    source="the paper, eq. 2",
)
