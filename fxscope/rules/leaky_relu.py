"""LeakyReLU: freeze which elements were on; the others keep the slope."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Slope
from .declare import Sample, mask


def freeze(x, negative_slope=0.01):
    return Slope(keep=~(x <= 0), slope=negative_slope)


RULE = mask(
    "leaky_relu",
    F.leaky_relu,
    freeze,
    piecewise=True,
    functions=(torch.ops.aten.leaky_relu.default,),
    modules=(nn.LeakyReLU,),
    samples=(Sample(), Sample(kwargs={"negative_slope": 0.2})),
    formula="h(x) = max(x, 0) + s min(x, 0);  y1 = x1 where x0 > 0, s x1 elsewhere",
    source="the paper, eq. 2",
)
