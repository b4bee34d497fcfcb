"""Softmax: a frozen pattern (attention); under ``taylor`` its Jacobian s (v - <s, v>)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate
from ..twins.norms import SoftmaxTangent
from . import _reduced
from ._local import over_dims
from .declare import Sample, composite, constant


def arguments(x, dim=None, dtype=None):
    """softmax(x) along dim."""


def taylor(x, dim=None, dtype=None, *, y, call):
    if call.rank("x") == 0:  # the softmax of one number is 1
        return Gate(torch.zeros_like(y), y)
    seen = torch.where(y == 0, torch.zeros_like(x), x)  # a masked score is -inf
    offset = y - y * (seen - (y * seen).sum(dim, keepdim=True))
    return SoftmaxTangent(y, offset, dim + 1 if dim >= 0 else dim)


def expand(x, dim=None, dtype=None):
    """The cast of softmax(x, dim, dtype) is an operator of its own."""
    if dim is None:
        raise TypeError("no dim is given, and the one that torch would guess is deprecated; name it")
    return None if dtype is None else torch.softmax(x.to(dtype), dim)


_SOURCE: dict[str, Any] = {
    "reduced": _reduced.kept,
    "local": over_dims,
    "source": "the paper, Fig. 2 (a gate), and eq. 4 for taylor",
    "interval": lambda bound, a: (0.0, 1.0),
}
_CASES = (Sample(kwargs={"dim": 1}), Sample(kwargs={"dim": -1}))
RULE = constant(
    "softmax",
    torch.softmax,
    arguments,
    variants={"taylor": taylor},
    functions=(torch.special.softmax, torch.ops.aten.softmax.int),
    methods=("softmax",),
    carries=("x",),
    expand=expand,
    modules={nn.Softmax: lambda m: {"dim": m.dim}, nn.Softmax2d: lambda m: {"dim": -3}},
    samples=(
        *(Sample(s.shape, s.kwargs, modules=(nn.Softmax,)) for s in _CASES),
        Sample(kwargs={"dim": -3}, module={}, modules=(nn.Softmax2d,)),
        Sample(kwargs={"dim": 1, "dtype": torch.float64}, modules=()),
    ),
    formula="y1 = softmax(x0), a frozen pattern;  taylor: s0 (x1 - <s0, x1>) + c",
    **_SOURCE,
)
FUNCTIONAL = composite(
    "softmax_functional",
    F.softmax,
    lambda input, dim=None, _stacklevel=3, dtype=None: torch.softmax(input, dim, dtype),
    "",
    samples=(*_CASES, Sample(kwargs={"dim": 1, "dtype": torch.float64})),
    formula="softmax",
    **_SOURCE,
)
SOFTMIN = composite(
    "softmin",
    F.softmin,
    lambda input, dim=None, _stacklevel=3, dtype=None: torch.softmax(-input, dim, dtype),
    "",
    modules={nn.Softmin: lambda m: {"dim": m.dim}},
    samples=_CASES,
    formula="softmax(-x)",
    **_SOURCE,
)
