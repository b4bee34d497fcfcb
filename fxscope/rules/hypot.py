"""The length of a vector of two components: homogeneous of degree one, so its Jacobian is its ratio."""

import math

import torch

from .declare import binary


def weights(x, other, *, y):
    """The unit vector; 0 at the origin, where the length has no derivative."""
    zero = y == 0
    length = torch.where(zero, torch.ones_like(y), y)
    return x / length, other / length, None


RULE = binary(
    "hypot",
    torch.hypot,
    weights,
    functions=(torch.ops.aten.hypot.default,),
    methods=("hypot",),
    interval=lambda bound, a: (0.0, math.inf),
    formula="h(a, b) = sqrt(a^2 + b^2);  y1 = (a0 a1 + b0 b1)/y0",
    source="the paper, eq. 2 with c = 0",
)
