"""Log-softmax: x minus its frozen normaliser; under ``taylor`` the Jacobian."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Offset
from ..twins.norms import LogSoftmaxTangent
from .declare import Sample, mask


def freeze(x, dim):
    return Offset(torch.logsumexp(x, dim, keepdim=True), -1, grows=False)


def taylor(x, dim, *, y):
    pattern = torch.exp(y)
    return LogSoftmaxTangent(pattern, y - x + (pattern * x).sum(dim, keepdim=True), dim + 1 if dim >= 0 else dim)


RULE = mask(
    "log_softmax", torch.log_softmax, freeze, taylor=taylor, functions=(torch.ops.aten.log_softmax.int,), methods=("log_softmax",), modules=(nn.LogSoftmax,), samples=(Sample(kwargs={"dim": 1}),),
    formula="h(x) = x - logsumexp(x);  y1 = x1 - logsumexp(x0)", source="the paper, eq. 2 with A = 1",
)


def functional(input, dim=None, _stacklevel=3, dtype=None):
    raise AssertionError("expanded before it is rewritten")


FUNCTIONAL = mask("log_softmax_functional", F.log_softmax, functional, expand=lambda input, dim=None, _stacklevel=3, dtype=None: torch.log_softmax(input, dim), formula="log_softmax")
