"""Softmax: a frozen pattern (attention); under ``taylor`` its Jacobian s (v - <s, v>)."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins.norms import SoftmaxTangent
from .declare import Sample, constant


def arguments(x, dim):
    """softmax(x) along dim."""


def taylor(x, dim, *, y):
    offset = y - y * (x - (y * x).sum(dim, keepdim=True))
    return SoftmaxTangent(y, offset, dim + 1 if dim >= 0 else dim)


RULE = constant(
    "softmax", torch.softmax, arguments, variants={"taylor": taylor}, functions=(torch.ops.aten.softmax.int,), methods=("softmax",), modules={nn.Softmax: None, nn.Softmax2d: lambda m: {"dim": -3}},
    carries=("x",), interval=lambda bound, a: (0.0, 1.0), samples=(Sample(kwargs={"dim": 1}, modules=(nn.Softmax,)),),
    formula="y1 = softmax(x0), a frozen pattern;  taylor: s0 (x1 - <s0, x1>) + c", source="DESIGN 5 (attention); the paper, eq. 4 for taylor",
)


def functional(input, dim=None, _stacklevel=3, dtype=None):
    raise AssertionError("expanded before it is rewritten")


FUNCTIONAL = constant("softmax_functional", F.softmax, functional, carries=("input",), expand=lambda input, dim=None, _stacklevel=3, dtype=None: torch.softmax(input, dim), formula="softmax")
SOFTMIN = constant("softmin", F.softmin, functional, carries=("input",), modules=(nn.Softmin,), expand=lambda input, dim=None, _stacklevel=3, dtype=None: torch.softmax(-input, dim), formula="softmax(-x)")
