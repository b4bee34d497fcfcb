"""GLU: half of the channels times the sigmoid of the other half; the product decides which is the gate."""

import torch
import torch.nn.functional as F
from torch import nn

from . import _reduced
from .declare import Sample, composite


def expand(x, dim=-1):
    parts = torch.chunk(x, 2, dim)
    return parts[0] * torch.sigmoid(parts[1])


RULE = composite(
    "glu",
    F.glu,
    expand,
    "",
    functions=(torch.ops.aten.glu.default,),
    modules=(nn.GLU,),
    reduced=_reduced.all_but("dim"),
    samples=(Sample((2, 6, 5), {"dim": 1}),),
    formula="h(a, b) = a s(b);  y1 = s(b0) a1",
    source="the paper, Fig. 2 (sigmoid gates)",
)
