"""CELU: ELU with a continuous slope."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask
from .elu import factor_of, slope_of


def freeze(x, alpha=1.0):
    return Gate(factor=factor_of(x, alpha, 1 / alpha))


def taylor(x, alpha=1.0, *, y):
    return slope_of(x, y, alpha, 1 / alpha)


RULE = mask(
    "celu",
    F.celu,
    freeze,
    taylor=taylor,
    functions=(torch.celu, torch.ops.aten.celu.default),
    modules=(nn.CELU,),
    samples=(Sample(), Sample(kwargs={"alpha": 0.5})),
    formula="h(x) = x, or a (exp(x/a) - 1) for x <= 0;  y1 = h(x0)/x0 x1",
    source="the paper, eq. 2 with c = 0",
)
