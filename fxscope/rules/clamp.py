"""Clamp: x where it is inside the bounds, the bound elsewhere; bounds are numbers or frozen tensors."""

import torch

from ..twins import Mask
from ._ranks import Broadcast
from .declare import Sample, composite, mask


def freeze(x, min=None, max=None, *, call, y):
    lift = call.lift("x", "min", "max")
    inside = x < max if min is None else x > min if max is None else (x > min) & (x < max)
    return Mask(inside, y, lift, grows=call.rank("min") != 0 or call.rank("max") != 0)


def _bounds(bound, a):
    low, high = bound(a["x"])
    low = low if a["min"] is None else max(low, bound(a["min"])[0])
    return low, high if a["max"] is None else min(high, bound(a["max"])[1])


_ATEN = torch.ops.aten
RULE = mask(
    "clamp",
    torch.clamp,
    freeze,
    piecewise=True,
    functions=(torch.clip, _ATEN.clamp.default, _ATEN.clamp.Tensor),
    methods=("clamp", "clip"),
    interval=_bounds,
    rank=Broadcast(("x", "min", "max")),
    samples=(
        Sample(kwargs={"min": -0.3, "max": 0.7}),
        Sample(kwargs={"min": 0.1}),
        Sample(kwargs={"max": 0.1}),
        Sample(kwargs={"min": -3, "max": 6}),
        Sample(
            tensors={
                "min": lambda rng: -torch.rand(3, 1, 1, generator=rng, dtype=torch.float64),
                "max": (6, 7),
            },
            spellings=("clamp", "clip", "clamp.Tensor"),
        ),
    ),
    formula="h(x) = min(max(x, a), b);  y1 = x1 inside, the bound outside",
    source="the paper, eq. 2",
)
_SOURCE = {"rounding": "", "source": "the paper, eq. 2"}
CLAMP_MIN = composite(
    "clamp_min",
    torch.clamp_min,
    lambda x, min: torch.clamp(x, min=min),
    functions=(_ATEN.clamp_min.default,),
    methods=("clamp_min",),
    samples=(Sample(kwargs={"min": 0.1}),),
    formula="max(x, a)",
    **_SOURCE,
)
CLAMP_MAX = composite(
    "clamp_max",
    torch.clamp_max,
    lambda x, max: torch.clamp(x, max=max),
    functions=(_ATEN.clamp_max.default,),
    methods=("clamp_max",),
    samples=(Sample(kwargs={"max": 0.1}),),
    formula="min(x, b)",
    **_SOURCE,
)
