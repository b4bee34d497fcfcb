"""Tanh: the factor tanh(x0)/x0, smooth and in (0, 1]."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import tanhc
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=tanhc(x))


def taylor(x, *, y):
    slope = 1 - y * y
    return Gate(factor=slope, offset=y - slope * x)


RULE = mask(
    "tanh",
    torch.tanh,
    freeze,
    taylor=taylor,
    functions=(F.tanh, torch.ops.aten.tanh.default),
    methods=("tanh",),
    modules=(nn.Tanh,),
    samples=(Sample(),),
    interval=lambda bound, a: (math.tanh(bound(a["x"])[0]), math.tanh(bound(a["x"])[1])),
    formula="h(x) = tanh(x);  y1 = tanh(x0)/x0 x1, 1 at 0",
    source="the paper, eq. 2 with c = h(0) (the paper's CycleGAN ends in one)",
)
