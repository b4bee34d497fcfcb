"""Logarithms: infinite at 0, so Taylor (eq. 4); log(1 + x) has the factor log(1 + x0)/x0."""

import math

import torch

from ..twins import Gate
from ._stable import log1pc
from .declare import Sample, mask


def _tangent(scale):
    def taylor(x, *, y):
        slope = torch.reciprocal(x) * scale
        return Gate(factor=slope, offset=y - scale)

    return taylor


def log1p(x):
    return Gate(factor=log1pc(x))


def log1p_taylor(x, *, y):
    slope = torch.reciprocal(1 + x)
    return Gate(factor=slope, offset=y - slope * x)


LOG, LOG2, LOG10 = (
    mask(
        name,
        function,
        _tangent(scale),
        taylor=_tangent(scale),
        functions=(getattr(torch.ops.aten, name).default,),
        methods=(name,),
        samples=(Sample(positive=True),),
        formula=f"h(x) = {name}(x): slope and constant of eq. 4",
        source="the paper, eq. 4",
    )
    for name, function, scale in (
        ("log", torch.log, 1.0),
        ("log2", torch.log2, 1 / math.log(2)),
        ("log10", torch.log10, 1 / math.log(10)),
    )
)
LOG1P = mask(
    "log1p",
    torch.log1p,
    log1p,
    taylor=log1p_taylor,
    functions=(torch.special.log1p, torch.ops.aten.log1p.default),
    methods=("log1p",),
    samples=(Sample(positive=True),),
    formula="h(x) = log(1 + x);  y1 = h(x0)/x0 x1",
    source="the paper, eq. 2 with c = 0",
)
