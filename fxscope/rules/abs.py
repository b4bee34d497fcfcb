"""Absolute value: freeze the sign; the modulus of complex numbers is the length of their two parts."""

import operator

import torch

from ..twins import Slope
from ._complex import complexity, parts
from .declare import Sample, mask


def freeze(x):
    return Slope(keep=~(x <= 0), slope=-1.0)


def expand(x):
    """|z| = hypot(Re z, Im z)."""
    return torch.hypot(*parts(x)) if complexity(x) else None


def _of_complex(f, x):
    return f(torch.view_as_complex(x))


RULE = mask(
    "abs",
    torch.abs,
    freeze,
    piecewise=True,
    functions=(operator.abs, torch.absolute, torch.ops.aten.abs.default),
    methods=("abs", "absolute", "__abs__"),
    expand=expand,
    samples=(Sample(), Sample((2, 3, 4, 2), call=_of_complex)),
    rounding="of complex numbers, the root of two squares",
    interval=lambda bound, a: (0.0, max(abs(v) for v in bound(a["x"]))),
    formula="h(x) = |x|;  y1 = sign(x0) x1;  of complex numbers: Re conj(z0) z1/|z0|",
    source="the paper, eq. 2",
)
