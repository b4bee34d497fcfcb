"""where and masked_fill: the condition is frozen, both branches stay linear."""

import torch

from ..twins import Mask
from ._ranks import widest
from .declare import select
from .extremum import choose


def where(condition, x, other, *, call):
    if isinstance(call.arguments["other"], (int, float)):
        return Mask(condition, torch.full_like(x, other)), [call.value("x")]
    if isinstance(call.arguments["x"], (int, float)):
        return Mask(~condition, torch.full_like(other, x)), [call.value("other")]
    return choose(call, condition)


def masked_fill(x, mask, value, *, y):
    return Mask(keep=~mask, other=y)


WHERE = select("where", torch.where, where, carries=("x", "other"), rank=lambda rank, a: widest(rank(a["condition"]), rank(a["x"]), rank(a["other"])), formula="y1 = a1 where the frozen condition holds, b1 elsewhere", source="the paper, eq. 2")
MASKED_FILL = select("masked_fill", torch.masked_fill, masked_fill, methods=("masked_fill",), formula="y1 = x1 where the mask is off, the value elsewhere", source="the paper, eq. 2")
