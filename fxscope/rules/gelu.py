"""GELU, exact and tanh form: the factor is Phi(x0), or its tanh approximation."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from .declare import Sample, mask


def _phi(x, approximate):
    if approximate == "tanh":
        return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))
    return 0.5 * torch.erfc(x * -math.sqrt(0.5))


def _phi_slope(x, approximate):
    if approximate == "tanh":
        inner = torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
        return 0.5 * (1 - inner * inner) * (math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))
    return torch.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))


def freeze(x, approximate="none"):
    return Gate(factor=_phi(x, approximate))


def taylor(x, approximate="none"):
    rest = x * _phi_slope(x, approximate)
    return Gate(factor=_phi(x, approximate) + rest, offset=-x * rest)


RULE = mask(
    "gelu",
    F.gelu,
    freeze,
    taylor=taylor,
    functions=(torch.ops.aten.gelu.default,),
    modules=(nn.GELU,),
    interval=lambda bound, a: (-0.17, max(0.0, bound(a["x"])[1])),
    samples=(Sample(), Sample(kwargs={"approximate": "tanh"})),
    formula="h(x) = x Phi(x);  y1 = Phi(x0) x1.  taylor: slope Phi(x0) + x0 phi(x0)",
    source="the paper, eq. 2 with c = 0",
)
