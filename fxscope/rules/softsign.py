"""Softsign: the factor 1/(1 + |x0|)."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=torch.reciprocal(1 + x.abs()))


def taylor(x, *, y):
    r = torch.reciprocal(1 + x.abs())
    return Gate(factor=r * r, offset=y - r * r * x)


RULE = mask(
    "softsign",
    F.softsign,
    freeze,
    taylor=taylor,
    modules=(nn.Softsign,),
    samples=(Sample(),),
    interval=lambda bound, a: (-1.0, 1.0),
    formula="h(x) = x/(1 + |x|);  y1 = x1/(1 + |x0|)",
    source="the paper, eq. 2 with c = 0",
)
