"""Fully connected layers."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Dense
from . import _reduced
from ._moves import dense
from .declare import Sample, linear


def twin(x, weight, bias=None):
    return Dense(weight, bias)


LINEAR = linear(
    "linear",
    F.linear,
    twin,
    local=dense,
    functions=(torch.ops.aten.linear.default,),
    reduced=_reduced.layer(-1),
    modules=(nn.Linear,),
    samples=(
        Sample(
            (2, 5), module={"in_features": 5, "out_features": 4}, tensors={"weight": (4, 5), "bias": (4,)}
        ),
        Sample(
            (2, 3, 5), module={"in_features": 5, "out_features": 4, "bias": False}, tensors={"weight": (4, 5)}
        ),
    ),
    formula="y1 = x1 W^T + b",
    source="the paper, eq. 7",
)
