"""ReLU6: x where it is inside (0, 6), the bound elsewhere."""

import torch
import torch.nn.functional as F
from torch import nn

from ._pieces import clipped
from .declare import Sample, mask


def freeze(x, *, y):
    return clipped(x, y, 0.0, 6.0)


RULE = mask(
    "relu6",
    F.relu6,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.relu6.default,),
    modules=(nn.ReLU6,),
    interval=lambda bound, a: (0.0, 6.0),
    samples=(Sample(),),
    formula="h(x) = min(max(x, 0), 6);  y1 = x1 inside, the bound outside",
    source="the paper, eq. 2",
)
