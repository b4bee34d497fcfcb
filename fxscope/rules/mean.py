"""Sums and means over dimensions: linear."""

import torch

from ..twins import Dims, Identity, shifted
from . import _reduced
from ._local import over_dims
from ._ranks import reduced_rank
from .declare import Sample, linear


def _all(call, dim):
    """The dimensions of a reduction, shifted; all of them where none is named."""
    if dim is None or dim == [] or dim == ():
        return shifted(list(range(call.need_rank("x"))))
    return shifted(dim)


def _cast(call, dtype):
    """The value of x in the dtype in which it is summed."""
    if dtype is None:
        return call.value("x")
    like = call.proxy("x").to(dtype)
    return call.record(Identity("to", (dtype,)), [call.value("x")], like=like, rank=call.rank("x"))


def _over(function, call, dim, keepdim, dtype):
    """The twin of a reduction; over all dimensions, as many as they are, in two steps."""
    value = _cast(call, dtype)
    if call.rank("x") == 0:  # which has no dimensions to reduce
        return None, [value]
    if dim not in (None, [], ()) or keepdim or call.rank("x") is not None:
        return Dims(function, (_all(call, dim), keepdim)), [value]
    flat = call.record(Dims(torch.flatten, (1, -1)), [value], like=call.proxy("x").flatten(), rank=1)
    return Dims(function, (1, False)), [flat]


def mean(x, dim=None, keepdim=False, dtype=None, *, call):
    return _over(torch.mean, call, dim, keepdim, dtype)


def total(x, dim=None, keepdim=False, dtype=None, *, call):
    return _over(torch.sum, call, dim, keepdim, dtype)


def cumsum(x, dim, dtype=None, *, call):
    value = _cast(call, dtype)
    return (None if call.rank("x") == 0 else Dims(torch.cumsum, (shifted(dim),))), [value]


def _named(function):
    """All dimensions, kept, with a list in place of None: torch takes None by position alone."""

    def expand(x, dim=None, keepdim=False, dtype=None):
        return function(x, [], True, dtype=dtype) if dim is None and keepdim else None

    return expand


_SAMPLES = (
    Sample(kwargs={"dim": (2, 3)}),
    Sample(kwargs={"dim": -1, "keepdim": True}),
    Sample(kwargs={"dim": 1}),
    Sample(kwargs={"dim": None, "keepdim": True}, independent_batch=False),
    Sample(independent_batch=False, spellings=("mean", "sum", "mean.default", "sum.default")),
)
MEAN = linear(
    "mean",
    torch.mean,
    mean,
    local=over_dims,
    expand=_named(torch.mean),
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
    expand=_named(torch.sum),
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
