"""Hardsigmoid: slope 1/6 inside (-3, 3), constant outside."""

import torch
import torch.nn.functional as F
from torch import nn

from ._pieces import linear_piece
from .declare import Sample, mask


def freeze(x, *, y):
    return linear_piece(x, y, (x > -3) & (x < 3), 1 / 6)


RULE = mask(
    "hardsigmoid",
    F.hardsigmoid,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.hardsigmoid.default,),
    modules=(nn.Hardsigmoid,),
    interval=lambda bound, a: (0.0, 1.0),
    samples=(Sample(),),
    derivative=(1e-7, "torch's derivative of hardsigmoid holds 1/6 in single precision"),
    formula="h(x) = min(max(x/6 + 1/2, 0), 1);  y1 = x1/6 + 1/2 inside, the bound outside",
    source="the paper, eq. 2; Fig. 2 for gates",
)
