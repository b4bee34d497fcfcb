"""Mish: the factor is tanh(softplus(x0))."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=torch.tanh(F.softplus(x)))


def taylor(x, *, y):
    t = torch.tanh(F.softplus(x))
    slope = t + x * (1 - t * t) * torch.sigmoid(x)
    return Gate(factor=slope, offset=y - slope * x)


RULE = mask(
    "mish",
    F.mish,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.mish.default,),
    modules=(nn.Mish,),
    samples=(Sample(),),
    interval=lambda bound, a: (-0.31, max(0.0, bound(a["x"])[1])),
    formula="h(x) = x tanh(log(1 + exp(x)));  y1 = tanh(softplus(x0)) x1",
    source="the paper, eq. 2 with c = 0",
)
