"""SiLU (Swish): the factor is the sigmoid itself."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask


def freeze(x):
    return Gate(factor=torch.sigmoid(x))


def taylor(x):
    s = torch.sigmoid(x)
    slope = s * (1 + x * (1 - s))
    return Gate(factor=slope, offset=-x * x * s * (1 - s))


RULE = mask(
    "silu",
    F.silu,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.silu.default,),
    modules=(nn.SiLU,),
    interval=lambda bound, a: (-0.2785, max(0.0, bound(a["x"])[1])),
    samples=(Sample(),),
    formula="h(x) = x s(x), s the sigmoid;  y1 = s(x0) x1.  taylor: slope s(x0)(1 + x0(1 - s(x0)))",
    source="the paper, eq. 2 with c = 0",
)
