"""Sums and means over dimensions: linear."""

import torch

from ..twins import Dims, shifted
from . import _reduced
from ._local import over_dims
from ._ranks import reduced_rank
from .declare import Sample, linear


def _all(call, dim):
    """The dimensions of a reduction, shifted; all of them where none is named."""
    if call.rank("x") == 0:
        raise TypeError("a tensor without dimensions, which has none to reduce")
    if dim is None or dim == [] or dim == ():
        return shifted(list(range(call.need_rank("x"))))
    return shifted(dim)


def _over(function, call, dim, keepdim):
    """The twin of a reduction; over all dimensions, as many as they are, in two steps."""
    if dim not in (None, [], ()) or keepdim or call.rank("x") is not None:
        return Dims(function, (_all(call, dim), keepdim))
    flat = call.record(
        Dims(torch.flatten, (1, -1)), [call.value("x")], like=call.proxy("x").flatten(), rank=1
    )
    return Dims(function, (1, False)), [flat]


def mean(x, dim=None, keepdim=False, *, call):
    return _over(torch.mean, call, dim, keepdim)


def total(x, dim=None, keepdim=False, *, call):
    return _over(torch.sum, call, dim, keepdim)


def cumsum(x, dim):
    return Dims(torch.cumsum, (shifted(dim),))


_SAMPLES = (
    Sample(kwargs={"dim": (2, 3)}),
    Sample(kwargs={"dim": -1, "keepdim": True}),
    Sample(kwargs={"dim": 1}),
    Sample(independent_batch=False, spellings=("mean", "sum", "mean.default", "sum.default")),
)
MEAN = linear(
    "mean",
    torch.mean,
    mean,
    local=over_dims,
    functions=(torch.ops.aten.mean.dim, torch.ops.aten.mean.default),
    methods=("mean",),
    rank=reduced_rank,
    reduced=_reduced.reduction,
    interval=lambda bound, a: bound(a["x"]),
    samples=_SAMPLES,
    formula="y1 = mean of x1",
    source="the paper, eq. 7",
)
SUM = linear(
    "sum",
    torch.sum,
    total,
    local=over_dims,
    functions=(torch.ops.aten.sum.dim_IntList, torch.ops.aten.sum.default),
    methods=("sum",),
    rank=reduced_rank,
    reduced=_reduced.reduction,
    samples=_SAMPLES,
    formula="y1 = sum of x1",
    source="the paper, eq. 7",
)
CUMSUM = linear(
    "cumsum",
    torch.cumsum,
    cumsum,
    local=over_dims,
    functions=(torch.ops.aten.cumsum.default,),
    methods=("cumsum",),
    reduced=_reduced.all_but("dim"),
    samples=(Sample(kwargs={"dim": 2}),),
    formula="y1 = running sum of x1",
    source="the paper, eq. 7",
)
