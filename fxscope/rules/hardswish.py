"""Hardswish: the factor is relu6(x0 + 3)/6."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, like, mask


def freeze(x):
    return Gate(factor=F.relu6(x + 3) / 6)


def taylor(x, *, y):
    inside = (x > -3) & (x < 3)
    slope = torch.where(inside, x / 3 + 0.5, torch.where(x < 0, like(x, 0.0), like(x, 1.0)))
    return Gate(factor=slope, offset=y - slope * x)


RULE = mask(
    "hardswish",
    F.hardswish,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.hardswish.default,),
    modules=(nn.Hardswish,),
    interval=lambda bound, a: (-0.375, max(0.0, bound(a["x"])[1])),
    samples=(Sample(),),
    formula="h(x) = x relu6(x + 3)/6;  y1 = relu6(x0 + 3)/6 x1",
    source="the paper, eq. 2 with c = 0",
)
