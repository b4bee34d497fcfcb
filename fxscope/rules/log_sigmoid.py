"""LogSigmoid: minus softplus of -x."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import logcoshc
from .declare import Sample, like, mask


def freeze(x):
    return Gate(factor=0.5 - logcoshc(x * 0.5) * 0.5, offset=like(x, -math.log(2)))


def taylor(x, *, y):
    slope = torch.sigmoid(-x)
    return Gate(factor=slope, offset=y - slope * x)


RULE = mask(
    "log_sigmoid",
    F.logsigmoid,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.log_sigmoid.default,),
    modules=(nn.LogSigmoid,),
    samples=(Sample(),),
    formula="h(x) = -log(1 + exp(-x));  y1 = (1/2 - log cosh(x0/2)/x0) x1 - log 2",
    source="the paper, eq. 2 with c = h(0)",
)
