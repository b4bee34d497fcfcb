"""Log-sum-exp: the softmax of x0 weighs x1; its entropy is the constant."""

import torch

from ..twins import shifted
from ..twins.norms import InnerProduct
from . import _reduced
from ._ranks import reduced_rank
from .declare import Sample, mask
from .spread import last_dims


def freeze(x, dim, keepdim=False, *, call, y):
    dims = last_dims(call, dim)
    whole = torch.logsumexp(x, dims, True)
    pattern = torch.exp(x - whole)
    return InnerProduct(pattern, y - (pattern * x).sum(dims, keepdim=keepdim), tuple(shifted(dims)), keepdim)


RULE = mask(
    "logsumexp",
    torch.logsumexp,
    freeze,
    taylor=freeze,
    functions=(torch.special.logsumexp, torch.ops.aten.logsumexp.default),
    methods=("logsumexp",),
    rank=reduced_rank,
    reduced=_reduced.reduction,
    samples=(Sample(kwargs={"dim": 1}), Sample(kwargs={"dim": (2, 3), "keepdim": True})),
    formula="h(x) = log sum exp(x);  y1 = <s0, x1> + h0 - <s0, x0>, s0 = softmax(x0)",
    source="the paper, eq. 4 (h is convex: no ratio)",
)
