"""ELU: the factor is 1 where x0 > 0 and alpha (exp(x0) - 1)/x0 elsewhere."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ._stable import expm1c
from .declare import Sample, like, mask


def factor_of(x, alpha, inner=1.0, scale=1.0):
    """The factor h(x0)/x0 of scale * (x, or alpha (exp(inner x) - 1) for x <= 0); at 0 the left limit."""
    negative = torch.where(x <= 0, x, like(x, 0.0))
    return torch.where(x <= 0, expm1c(negative * inner) * (alpha * inner * scale), like(x, scale))


def slope_of(x, y, alpha, inner=1.0, scale=1.0):
    negative = torch.where(x <= 0, x, like(x, 0.0))
    slope = torch.where(x <= 0, torch.exp(negative * inner) * (alpha * inner * scale), like(x, scale))
    return Gate(factor=slope, offset=y - slope * x)


def freeze(x, alpha=1.0):
    return Gate(factor=factor_of(x, alpha))


def taylor(x, alpha=1.0, *, y):
    return slope_of(x, y, alpha)


RULE = mask(
    "elu",
    F.elu,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.elu.default,),
    modules=(nn.ELU,),
    samples=(Sample(), Sample(kwargs={"alpha": 0.5})),
    formula="h(x) = x, or a (exp(x) - 1) for x <= 0;  y1 = h(x0)/x0 x1, the left limit at 0",
    source="the paper, eq. 2 with c = 0",
)
