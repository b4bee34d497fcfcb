"""ReLU: freeze which elements were on."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Mask
from .declare import Sample, mask


def freeze(x):
    return Mask(keep=~(x <= 0))


RULE = mask(
    "relu",
    F.relu,
    freeze,
    piecewise=True,
    by_output=True,
    functions=(torch.relu, torch.ops.aten.relu.default),
    methods=("relu",),
    modules=(nn.ReLU,),
    interval=lambda bound, a: (max(0.0, bound(a["x"])[0]), max(0.0, bound(a["x"])[1])),
    samples=(Sample(), Sample((4, 5)), Sample((2, 3, 9)), Sample((2, 3, 4, 3, 5))),
    formula="h(x) = max(x, 0);  y1 = [x0 > 0] x1",
    source="the paper, Fig. 2",
)
