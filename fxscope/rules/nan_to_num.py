"""nan_to_num: x where it is a number, what stands for NaN and infinities elsewhere."""

import torch

from ..twins import Masked
from .declare import Sample, mask


def freeze(x, nan=None, posinf=None, neginf=None, *, y):
    return Masked(torch.isfinite(x), y)


def _bounds(bound, a):
    """Those of x and of each number that may stand for it; the largest of the dtype is no bound."""
    if a["posinf"] is None or a["neginf"] is None:
        return -float("inf"), float("inf")
    given = [a["posinf"], a["neginf"], 0.0 if a["nan"] is None else a["nan"]]
    low, high = bound(a["x"])
    return min(low, *given), max(high, *given)


def _holes(f, x, **given):
    """Of both infinities and of NaN, at places of x0."""
    x = x.masked_fill(x > 1.0, float("inf")).masked_fill(x < -1.0, -float("inf"))
    nan = torch.zeros_like(x) / 0.0  # TorchScript has no NaN among the numbers that torch.fx writes
    return f(torch.where(x.abs() < 0.2, nan, x), **given)


RULE = mask(
    "nan_to_num",
    torch.nan_to_num,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.nan_to_num.default,),
    methods=("nan_to_num",),
    interval=_bounds,
    samples=(
        Sample(),
        Sample(kwargs={"nan": 0.3, "posinf": 2.0, "neginf": -3.0}, call=_holes),
    ),
    formula="y1 = x1 where x0 is finite, the number that stands for x0 elsewhere",
    source="the paper, eq. 2",
)
