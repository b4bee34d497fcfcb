"""SELU: a scaled ELU with fixed constants."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask
from .elu import factor_of, slope_of

ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


def freeze(x):
    return Gate(factor=factor_of(x, ALPHA, 1.0, SCALE))


def taylor(x, *, y):
    return slope_of(x, y, ALPHA, 1.0, SCALE)


RULE = mask(
    "selu",
    F.selu,
    freeze,
    taylor=taylor,
    functions=(torch.selu, torch.ops.aten.selu.default),
    modules=(nn.SELU,),
    samples=(Sample(),),
    formula="h(x) = s x, or s a (exp(x) - 1) for x <= 0;  y1 = h(x0)/x0 x1",
    source="the paper, eq. 2 with c = 0",
)
