"""Tanhshrink: the factor 1 - tanh(x0)/x0."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import tanhc
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=1 - tanhc(x))


def taylor(x, *, y):
    t = torch.tanh(x)
    return Gate(factor=t * t, offset=y - t * t * x)


RULE = mask(
    "tanhshrink",
    F.tanhshrink,
    freeze,
    taylor=taylor,
    modules=(nn.Tanhshrink,),
    samples=(Sample(),),
    formula="h(x) = x - tanh(x);  y1 = (1 - tanh(x0)/x0) x1",
    source="the paper, eq. 2 with c = 0",
)
