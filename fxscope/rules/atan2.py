"""The angle of a vector of two components: homogeneous of degree zero, so y0 is its constant."""

import math

import torch

from .declare import binary


def weights(x, other, *, y):
    """The Jacobian; 0 at the origin, where the angle has no derivative."""
    length = torch.hypot(x, other)
    zero = length == 0
    square = torch.where(zero, torch.ones_like(length), length) ** 2
    return other / square, -x / square, y


RULE = binary(
    "atan2",
    torch.atan2,
    weights,
    functions=(torch.arctan2, torch.ops.aten.atan2.default),
    methods=("atan2", "arctan2"),
    interval=lambda bound, a: (-math.pi, math.pi),
    formula="h(a, b) = the angle of (b, a);  y1 = (b0 a1 - a0 b1)/(a0^2 + b0^2) + y0",
    source="the paper, eq. 4",
)
