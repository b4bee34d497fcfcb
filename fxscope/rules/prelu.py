"""PReLU: freeze which elements were on; the others keep their channel's learned slope."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Slope
from ._local import pointwise
from .declare import Sample, mask


def freeze(x, weight, *, call):
    one = call.facts.shape(call.arguments["weight"]) == (1,)
    rank = 1 if one and call.rank("x") is None else call.need_rank("x")
    slope = weight.reshape([1, -1] + [1] * (rank - 2)) if rank > 1 else weight
    return Slope(keep=~(x <= 0), slope=slope)


RULE = mask(
    "prelu",
    F.prelu,
    freeze,
    local=pointwise,
    piecewise=True,
    functions=(torch.ops.aten.prelu.default,),
    methods=("prelu",),
    modules=(nn.PReLU,),
    samples=(
        Sample(tensors={"weight": (3,)}, module={"num_parameters": 3}),
        Sample(tensors={"weight": (1,)}, module={}),
    ),
    formula="h(x) = max(x, 0) + a min(x, 0);  y1 = x1 where x0 > 0, a x1 elsewhere",
    source="the paper, eq. 2",
)
