"""Softplus: h(0) = log(2)/beta is the constant, (h(x0) - h(0))/x0 the factor, by log cosh."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import logcoshc
from .declare import Sample, like, mask


def freeze(x, beta=1.0, threshold=20.0, *, y):
    far = x * beta > threshold
    near = torch.where(far, like(x, 0.0), x)
    factor = torch.where(far, like(x, 1.0), logcoshc(near * (0.5 * beta)) * 0.5 + 0.5)
    return Gate(factor=factor, offset=torch.where(far, like(x, 0.0), like(x, math.log(2) / beta)))


def taylor(x, beta=1.0, threshold=20.0, *, y):
    slope = torch.where(x * beta > threshold, like(x, 1.0), torch.sigmoid(x * beta))
    return Gate(factor=slope, offset=y - slope * x)


RULE = mask(
    "softplus",
    F.softplus,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.softplus.default,),
    modules=(nn.Softplus,),
    samples=(Sample(), Sample(kwargs={"beta": 2.0, "threshold": 3.0})),
    interval=lambda bound, a: (0.0, float("inf")),
    formula="h(x) = log(1 + exp(b x))/b;  y1 = (1/2 + log cosh(b x0/2)/(b x0)) x1 + log(2)/b",
    source="the paper, eq. 2 with c = h(0)",
)
