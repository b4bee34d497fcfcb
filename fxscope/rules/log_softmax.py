"""Log-softmax: x minus its frozen normaliser; under ``taylor`` the Jacobian."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Offset
from ..twins.norms import LogSoftmaxTangent
from . import _reduced
from .declare import Sample, composite, mask
from .softmax import expand as named


def freeze(x, dim=None, dtype=None):
    return Offset(torch.logsumexp(x, dim, keepdim=True), -1, grows=False)


def taylor(x, dim=None, dtype=None, *, y):
    pattern = torch.exp(y)
    seen = torch.where(pattern == 0, torch.zeros_like(x), x)  # a masked score is -inf
    constant = (pattern * seen).sum(dim, keepdim=True) - torch.logsumexp(x, dim, keepdim=True)
    return LogSoftmaxTangent(pattern, constant, dim + 1 if dim >= 0 else dim)


def expand(x, dim=None, dtype=None):
    return None if named(x, dim, None) is None and dtype is None else torch.log_softmax(x.to(dtype), dim)


_CASES = (Sample(kwargs={"dim": 1}), Sample(kwargs={"dim": -1}))
RULE = mask(
    "log_softmax",
    torch.log_softmax,
    freeze,
    taylor=taylor,
    functions=(torch.special.log_softmax, torch.ops.aten.log_softmax.int),
    methods=("log_softmax",),
    modules={nn.LogSoftmax: lambda m: {"dim": m.dim}},
    expand=expand,
    reduced=_reduced.kept,
    samples=(*_CASES, Sample(kwargs={"dim": 1, "dtype": torch.float64}, modules=())),
    formula="h(x) = x - logsumexp(x);  y1 = x1 - logsumexp(x0)",
    source="the paper, eq. 2 with A = 1",
)
FUNCTIONAL = composite(
    "log_softmax_functional",
    F.log_softmax,
    lambda input, dim=None, _stacklevel=3, dtype=None: torch.log_softmax(input, dim, dtype),
    "",
    samples=_CASES,
    formula="log_softmax",
    source="the paper, eq. 2 with A = 1",
)
