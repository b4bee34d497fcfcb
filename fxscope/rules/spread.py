"""Variances, deviations and norms: usually denominators or gates; by themselves the homogeneous reading of degree one."""

import torch

from ..twins.norms import InnerProduct
from .declare import Sample, mask
from .mean import reduced_rank

def _shifted(dim, rank):
    dims = dim if isinstance(dim, (list, tuple)) else [dim]
    return [d % rank - rank for d in dims]

def _dims(call, dim):
    rank = call.need_rank("x")
    return _shifted(list(range(rank)) if dim is None else dim, rank)

def var(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call):
    """var = <w, x> with w = (x0 - mean)/(n - c): linear in x1 at frozen w; taylor doubles it."""
    weight, y = _variance(x, dim, unbiased, correction, call)
    return InnerProduct(weight, None, tuple(_dims(call, dim)), keepdim)

def var_taylor(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call, y):
    weight, _ = _variance(x, dim, unbiased, correction, call)
    return InnerProduct(weight * 2, -y, tuple(_dims(call, dim)), keepdim)

def _variance(x, dim, unbiased, correction, call):
    dims = _dims(call, dim)
    ddof = correction if correction is not None else int(unbiased)
    centred = x - x.mean(dims, keepdim=True)
    # mean of squares over n - c; the ratio n/(n - c) comes out of torch.var itself, so that sizes stay symbolic
    biased = (centred * centred).mean(dims, keepdim=True)
    ratio = torch.var(x, dims, correction=ddof, keepdim=True) / biased
    count = torch.ones_like(x).sum(dims, keepdim=True)
    return centred * ratio / count, biased

def std(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call):
    """std = <w, x> with w = (x0 - mean)/((n - c) std0)."""
    weight, biased = _variance(x, dim, unbiased, correction, call)
    ddof = correction if correction is not None else int(unbiased)
    deviation = torch.std(x, _dims(call, dim), correction=ddof, keepdim=True)
    return InnerProduct(weight / deviation, None, tuple(_dims(call, dim)), keepdim)

def norm(x, p=2, dim=None, keepdim=False, dtype=None, *, call):
    if p not in (2, 2.0, "fro"):
        raise TypeError(f"norm with p={p}")
    dims = _dims(call, dim)
    return InnerProduct(x / torch.linalg.vector_norm(x, 2, dims, True), None, tuple(dims), keepdim)

def vector_norm(x, ord=2, dim=None, keepdim=False, *, call):
    return norm(x, ord, dim, keepdim, call=call)

_FIELDS = dict(rank=reduced_rank, source="the paper, eq. 2 with c = 0")
VAR = mask("var", torch.var, var, taylor=var_taylor, methods=("var",), samples=(Sample(kwargs={"dim": (2, 3)}), Sample(kwargs={"dim": 1, "unbiased": False, "keepdim": True})), formula="h(x) = var(x);  y1 = <(x0 - mean)/(n - c), x1>", interval=lambda bound, a: (0.0, float("inf")), **_FIELDS)
STD = mask("std", torch.std, std, methods=("std",), samples=(Sample(kwargs={"dim": (2, 3)}), Sample(kwargs={"dim": 1, "unbiased": False, "keepdim": True})), formula="h(x) = std(x);  y1 = <(x0 - mean)/((n - c) std0), x1>", interval=lambda bound, a: (0.0, float("inf")), **_FIELDS)
NORM = mask("norm", torch.norm, norm, methods=("norm",), samples=(Sample(kwargs={"dim": (2, 3)}), Sample(kwargs={"p": 2, "dim": 1, "keepdim": True})), formula="h(x) = |x|;  y1 = <x0, x1>/|x0|", interval=lambda bound, a: (0.0, float("inf")), **_FIELDS)
VECTOR_NORM = mask("vector_norm", torch.linalg.vector_norm, vector_norm, functions=(torch.linalg.norm,), samples=(Sample(kwargs={"dim": (2, 3)}),), formula="h(x) = |x|;  y1 = <x0, x1>/|x0|", interval=lambda bound, a: (0.0, float("inf")), **_FIELDS)
