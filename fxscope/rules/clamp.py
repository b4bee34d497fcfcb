"""Clamp: x where it is inside the bounds, the bound elsewhere; bounds are numbers or frozen tensors."""

import torch

from ..twins import Mask, Masked, Where
from ._ranks import Broadcast
from .declare import Sample, composite, mask


def freeze(x, min=None, max=None, *, call, y):
    if call.value("min") is not None or call.value("max") is not None:
        return _between(x, min, max, call, y)
    lift = call.lift("x", "min", "max")
    inside = x < max if min is None else x > min if max is None else (x > min) & (x < max)
    return Mask(inside, y, lift, grows=call.rank("min") != 0 or call.rank("max") != 0)


def _between(x, low, high, call, y):
    """min(max(x, a), b) with a bound that depends on the probe: first the larger, then the smaller."""
    value, rank, inner = call.value("x"), call.need_rank("x"), x
    if low is not None:
        inner = y if high is None else torch.clamp(x, min=low)
        value, rank = _one_of(call, "min", (value, rank, (x > low) | (x != x)), inner)  # a NaN stays
    if high is not None:
        value, rank = _one_of(call, "max", (value, rank, (inner < high) | (inner != inner)), y)
    return None, [value]


def _one_of(call, bound, first, y):
    """(tape value, rank) of the first value where it is kept, and of a bound elsewhere."""
    value, rank, keep = first
    other, other_rank = call.value(bound), call.need_rank(bound)
    widest = max(rank, other_rank)
    lifts = (widest - rank, widest - other_rank)
    if value is None and other is None:
        return None, widest
    if other is None:
        twin, inputs = Masked(keep, y, lifts[0], grows=True), [value]
    elif value is None:
        twin, inputs = Masked(~keep, y, lifts[1], grows=True), [other]
    else:
        twin, inputs = Where(keep, lifts), [value, other]
    return call.record(twin, inputs, like=y, rank=widest), widest


def _bounds(bound, a):
    low, high = bound(a["x"])
    low = low if a["min"] is None else max(low, bound(a["min"])[0])
    return low, high if a["max"] is None else min(high, bound(a["max"])[1])


_ATEN = torch.ops.aten
RULE = mask(
    "clamp",
    torch.clamp,
    freeze,
    carries=("x", "min", "max"),
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
        Sample(call=lambda f, x: f(x, max=x.mean((2, 3), keepdim=True) * 0.5), spellings=("clamp", "clip")),
        Sample(
            call=lambda f, x: f(x, x.mean(1, keepdim=True) - 0.5, x[:, :1] * 0.3), spellings=("clamp", "clip")
        ),
        Sample(call=lambda f, x: f(x.flip(1), x * 0.5), spellings=("clamp", "clip")),
    ),
    formula="h(x) = min(max(x, a), b);  y1 = x1 inside, the bound (a1 or b1) outside",
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
