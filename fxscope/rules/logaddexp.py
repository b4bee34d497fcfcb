"""The smooth maximum of two tensors, to base e and to base 2."""

import math

import torch
import torch.nn.functional as F

from .declare import binary


def _weights(x, other, unit=1.0):
    difference = (x - other) * unit
    a, b = torch.sigmoid(difference), torch.sigmoid(-difference)
    return a, b, (_share(a, F.softplus(-difference)) + _share(b, F.softplus(difference))) / unit


def _share(weight, size):
    """Their product, 0 where the weight is: the other operand may be infinite there."""
    return torch.where(weight == 0, torch.zeros_like(weight), weight * size)


def natural(x, other):
    """The sigmoids of x0 - other0; the constant is their entropy."""
    return _weights(x, other)


def dual(x, other):
    """The same in base 2."""
    return _weights(x, other, math.log(2))


_SOURCE = "the paper, eq. 4 (h is convex: no ratio)"
LOGADDEXP = binary(
    "logaddexp",
    torch.logaddexp,
    natural,
    functions=(torch.ops.aten.logaddexp.default,),
    methods=("logaddexp",),
    formula="h(a, b) = log(exp a + exp b);  y1 = s0 a1 + (1 - s0) b1 + entropy of s0, s0 = sigmoid(a0 - b0)",
    source=_SOURCE,
)
LOGADDEXP2 = binary(
    "logaddexp2",
    torch.logaddexp2,
    dual,
    functions=(torch.ops.aten.logaddexp2.default,),
    methods=("logaddexp2",),
    formula="h(a, b) = log2(2^a + 2^b);  y1 as of logaddexp, in base 2",
    source=_SOURCE,
)
