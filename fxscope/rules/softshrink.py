"""Softshrink: zero inside the threshold, shifted by it outside."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Mask, Offset
from .declare import Sample, mask


def freeze(x, lambd=0.5, *, call, y):
    inside = (x >= -lambd) & (x <= lambd)
    kept = call.record(Mask(keep=~inside), [call.value("x")])
    return Offset(torch.where(inside, torch.zeros_like(x), y - x), grows=False), [kept]


RULE = mask(
    "softshrink",
    F.softshrink,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.softshrink.default,),
    modules=(nn.Softshrink,),
    samples=(Sample(), Sample(kwargs={"lambd": 0.2})),
    formula="h(x) = x - l sign(x) outside [-l, l], 0 inside;  y1 = x1 - l sign(x0) outside",
    source="the paper, eq. 2",
)
