"""Clamp: x where it is inside the bounds, the bound elsewhere."""

import torch

from ..twins import Mask
from .declare import Sample, mask


def freeze(x, min=None, max=None, *, y):
    if min is None:
        return Mask(keep=x < max, other=y)
    if max is None:
        return Mask(keep=x > min, other=y)
    return Mask(keep=(x > min) & (x < max), other=y)


def _bounds(bound, a):
    low, high = bound(a["x"])
    low = low if a["min"] is None else max(low, bound(a["min"])[0])
    return low, high if a["max"] is None else min(high, bound(a["max"])[1])


RULE = mask(
    "clamp", torch.clamp, freeze, piecewise=True, functions=(torch.clip, torch.ops.aten.clamp.default), methods=("clamp", "clip"), interval=_bounds,
    samples=(Sample(kwargs={"min": -0.3, "max": 0.7}), Sample(kwargs={"min": 0.1}), Sample(kwargs={"max": 0.1})),
    formula="h(x) = min(max(x, a), b);  y1 = x1 inside, the bound outside", source="the paper, eq. 2",
)


def lower(x, min):
    raise AssertionError("expanded before it is rewritten")


def upper(x, max):
    raise AssertionError("expanded before it is rewritten")


CLAMP_MIN = mask("clamp_min", torch.clamp_min, lower, piecewise=True, methods=("clamp_min",), expand=lambda x, min: torch.clamp(x, min=min), samples=(Sample(kwargs={"min": 0.1}),), formula="max(x, a)", source="the paper, eq. 2")
CLAMP_MAX = mask("clamp_max", torch.clamp_max, upper, piecewise=True, methods=("clamp_max",), expand=lambda x, max: torch.clamp(x, max=max), samples=(Sample(kwargs={"max": 0.1}),), formula="min(x, b)", source="the paper, eq. 2")
