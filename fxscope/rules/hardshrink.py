"""Hardshrink: zero inside the threshold, the value outside."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Mask
from .declare import Sample, mask


def freeze(x, lambd=0.5):
    return Mask(keep=~((x >= -lambd) & (x <= lambd)))


RULE = mask(
    "hardshrink",
    torch.hardshrink,
    freeze,
    piecewise=True,
    functions=(F.hardshrink, torch.ops.aten.hardshrink.default),
    methods=("hardshrink",),
    modules=(nn.Hardshrink,),
    samples=(Sample(), Sample(kwargs={"lambd": 0.2})),
    formula="h(x) = x outside [-l, l], 0 inside;  y1 = x1 outside",
    source="the paper, eq. 2",
)
