"""Angles and directions of complex numbers: the modulus is frozen where a number is divided by it."""

import math

import torch

from ._complex import need_complexity, parts
from .declare import Sample, composite


def angle(x):
    """Of real numbers it is 0 or pi, a constant between its steps."""
    if need_complexity(x):
        real, imag = parts(x)
        return torch.atan2(imag, real)
    return torch.where(x < 0, math.pi, torch.where(torch.isnan(x), x, 0.0))


RULE = composite(
    "angle",
    torch.angle,
    angle,
    "the angle of two parts",
    functions=(torch.ops.aten.angle.default,),
    methods=("angle",),
    samples=(Sample((2, 3, 4, 2), call=lambda f, x: f(torch.view_as_complex(x))),),
    formula="h(z) = the angle of z;  y1 = Im conj(z0) z1/|z0|^2 + y0",
    source="the paper, eq. 4",
    interval=lambda bound, a: (-math.pi, math.pi),
)
