"""Threshold: the value above it, a constant below."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Mask
from .declare import Sample, mask


def freeze(x, threshold, value, *, y):
    return Mask(keep=~(x <= threshold), other=y)


RULE = mask(
    "threshold",
    F.threshold,
    freeze,
    piecewise=True,
    functions=(torch.threshold, torch.ops.aten.threshold.default),
    modules=(nn.Threshold,),
    samples=(Sample(kwargs={"threshold": 0.3, "value": -1.5}),),
    formula="h(x) = x above t, v below;  y1 = x1 above, v below",
    source="the paper, eq. 2",
)
