"""Hardtanh: x where it is inside the bounds, the bound elsewhere."""

import torch
import torch.nn.functional as F
from torch import nn

from ._pieces import clipped
from .declare import Sample, mask


def freeze(x, min_val=-1.0, max_val=1.0, *, y):
    return clipped(x, y, min_val, max_val)


RULE = mask(
    "hardtanh",
    F.hardtanh,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.hardtanh.default,),
    modules=(nn.Hardtanh,),
    interval=lambda bound, a: (float(a["min_val"]), float(a["max_val"])),
    samples=(Sample(), Sample(kwargs={"min_val": -0.4, "max_val": 0.8})),
    formula="h(x) = min(max(x, a), b);  y1 = x1 inside, the bound outside",
    source="the paper, eq. 2",
)
