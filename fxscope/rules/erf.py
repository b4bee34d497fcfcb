"""The error function by its ratio; its complement by the distance from 1."""

import math

import torch

from ..twins import Gate
from ._stable import erf_ratio
from .declare import Sample, like, mask


def freeze(x):
    return Gate(factor=erf_ratio(x))


def _slope(x):
    return torch.exp(-x * x) * (2 / math.sqrt(math.pi))


def taylor(x, *, y):
    slope = _slope(x)
    return Gate(factor=slope, offset=y - slope * x)


def complement(x):
    return Gate(factor=-erf_ratio(x), offset=like(x, 1.0))


def complement_taylor(x, *, y):
    slope = -_slope(x)
    return Gate(factor=slope, offset=y - slope * x)


ERF = mask(
    "erf",
    torch.erf,
    freeze,
    taylor=taylor,
    functions=(torch.special.erf, torch.ops.aten.erf.default),
    methods=("erf",),
    samples=(Sample(),),
    interval=lambda bound, a: (-1.0, 1.0),
    formula="y1 = erf(x0)/x0 x1",
    source="the paper, eq. 2 with c = 0",
)
ERFC = mask(
    "erfc",
    torch.erfc,
    complement,
    taylor=complement_taylor,
    functions=(torch.special.erfc, torch.ops.aten.erfc.default),
    methods=("erfc",),
    samples=(Sample(),),
    interval=lambda bound, a: (0.0, 2.0),
    formula="y1 = 1 - erf(x0)/x0 x1",
    source="the paper, eq. 2 with c = h(0)",
)
