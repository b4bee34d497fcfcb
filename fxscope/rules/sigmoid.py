"""Sigmoid away from a product: the bounded factor (h(x0) - h(0))/x0 and the constant h(0) = 1/2."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import tanhc
from .declare import Sample, like, mask


def freeze(x):
    return Gate(factor=tanhc(x * 0.5) * 0.25, offset=like(x, 0.5))


def taylor(x, *, y):
    slope = y * (1 - y)
    return Gate(factor=slope, offset=y - slope * x)


def ratio(x, *, y):
    """The literal mask h(x0)/x0 of Fig. 2: no constant, and infinite at x0 = 0."""
    return Gate(factor=y / x)


RULE = mask(
    "sigmoid",
    torch.sigmoid,
    freeze,
    taylor=taylor,
    variants={"ratio": ratio},
    breaks={"ratio": ("law 2 at zero", "the literal mask of Fig. 2 is infinite at x0 = 0")},
    functions=(F.sigmoid, torch.special.expit, torch.ops.aten.sigmoid.default),
    methods=("sigmoid",),
    modules=(nn.Sigmoid,),
    interval=lambda bound, a: (0.0, 1.0),
    samples=(Sample(),),
    formula="h(x) = 1/(1 + exp(-x));  y1 = tanh(x0/2)/(2 x0) x1 + 1/2.  ratio: h(x0)/x0 x1",
    source="the paper, Fig. 2, and eq. 2 with c = h(0)",
)
