"""Sorting and its relatives: the order is frozen; and gathering, whose indices are frozen by nature."""

import torch

from ..twins import Dims, Gather, shifted
from . import _reduced
from ._local import over_dims
from ._moves import along_dim
from ._ranks import reduced_rank, shift
from .declare import Sample, composite, select
from .spread import last_dims


def _ordered(call, dim, index):
    if call.rank("x") == 0:  # which holds one entry alone
        return Gather(index, 0, 0) if call.out_rank else None
    (d,) = last_dims(call, dim)
    return Gather(index, shifted(d), call.rank("x"))


def topk(x, k, dim=-1, largest=True, sorted=True, *, call, y):
    return _ordered(call, dim, y[1])


def sort(x, dim=-1, descending=False, stable=False, *, call, y):
    return _ordered(call, dim, y[1])


def cumulative(x, dim, *, call, y):
    return _ordered(call, dim, y[1])


def one_of(x, dim=None, keepdim=False, *, call, y):
    if call.rank("x") == 0:
        return None, [call.value("x")]
    (d,) = last_dims(call, dim)
    return winner(call, y, d, keepdim)


def _over_all(function):
    """The median of everything is that of one long row."""

    def expand(x, dim=None, keepdim=False):
        return function(torch.flatten(x), 0)[0] if dim is None else None

    return expand


def winner(call, y, d, keepdim):
    """The entry along one dimension that the operator says has won."""
    index, kept = (v if keepdim else v.unsqueeze(d) for v in (y[1], y[0]))
    rank = call.rank("x")
    twin = Gather(index, shifted(d), rank)
    value = call.record(twin, [call.value("x")], like=kept, rank=rank)
    if keepdim:
        return None, [value]
    return None, [call.record(Dims(torch.squeeze, (shifted(d),)), [value], like=y[0], rank=shift(rank, -1))]


def kthvalue(x, k, dim=-1, keepdim=False, *, call, y):
    return one_of(x, dim, keepdim, call=call, y=y)


def most_frequent(x, dim=-1, keepdim=False, *, call, y):
    return one_of(x, dim, keepdim, call=call, y=y)


def gather(x, dim, index, *, call):
    return _ordered(call, dim, index)


def _first(f, x, **given):
    return f(x, **given)[0]


def _several(*cases):
    return tuple(Sample(kwargs=k, call=_first) for k in cases)


_ATEN = torch.ops.aten
_KEEP = {
    "local": over_dims,
    "source": "the paper, Fig. 2 (indices)",
    "reduced": _reduced.all_but("dim"),
    "interval": lambda bound, a: bound(a["x"]),
}
TOPK = select(
    "topk",
    torch.topk,
    topk,
    functions=(_ATEN.topk.default,),
    methods=("topk",),
    yields="values",
    samples=_several({"k": 2, "dim": 1}, {"k": 3}, {"k": 2, "largest": False}),
    formula="h(x) = the k largest;  y1 = x1 at the frozen places",
    **_KEEP,
)
SORT = select(
    "sort",
    torch.sort,
    sort,
    functions=(_ATEN.sort.default,),
    methods=("sort",),
    yields="values",
    samples=(
        *_several({"dim": 1}, {"descending": True}),
        Sample(call=lambda f, x: f(x).values, spellings=("sort",)),
    ),
    formula="h(x) = x in order;  y1 = x1 in the order of x0",
    **_KEEP,
)
MSORT = composite(
    "msort",
    torch.msort,
    lambda x: torch.sort(x, 0)[0],
    "",
    methods=("msort",),
    functions=(_ATEN.msort.default,),
    samples=(Sample(independent_batch=False),),
    formula="sort over the first dimension",
    source="the paper, Fig. 2 (indices)",
    interval=lambda bound, a: bound(a["x"]),
)
KTHVALUE = select(
    "kthvalue",
    torch.kthvalue,
    kthvalue,
    methods=("kthvalue",),
    yields="values",
    rank=reduced_rank,
    samples=_several({"k": 2, "dim": 1}, {"k": 1, "keepdim": True}),
    formula="h(x) = the k-th smallest;  y1 = x1 at its place",
    **{**_KEEP, "reduced": _reduced.reduction},
)
MEDIAN = select(
    "median",
    torch.median,
    one_of,
    methods=("median",),
    functions=(_ATEN.median.default, _ATEN.median.dim),
    yields="values",
    expand=_over_all(torch.median),
    rank=reduced_rank,
    samples=(
        *_several({"dim": 1}, {"dim": -1, "keepdim": True}),
        Sample((2, 5), independent_batch=False, spellings=("median", "median.default")),
    ),
    formula="h(x) = the median;  y1 = x1 at its place",
    **{**_KEEP, "reduced": _reduced.reduction},
)
NANMEDIAN = select(
    "nanmedian",
    torch.nanmedian,
    one_of,
    methods=("nanmedian",),
    functions=(_ATEN.nanmedian.default, _ATEN.nanmedian.dim),
    yields="values",
    expand=_over_all(torch.nanmedian),
    rank=reduced_rank,
    samples=(
        *_several({"dim": 1}, {"dim": -1, "keepdim": True}),
        Sample((2, 5), independent_batch=False, spellings=("nanmedian", "nanmedian.default")),
    ),
    formula="h(x) = the median of the numbers;  y1 = x1 at its place",
    **{**_KEEP, "reduced": _reduced.reduction},
)
MODE = select(
    "mode",
    torch.mode,
    most_frequent,
    methods=("mode",),
    yields="values",
    rank=reduced_rank,
    samples=_several({"dim": 1}, {"dim": -1, "keepdim": True}),
    formula="h(x) = the most frequent value;  y1 = x1 at its place",
    **{**_KEEP, "reduced": _reduced.reduction},
)
CUMMAX = select(
    "cummax",
    torch.cummax,
    cumulative,
    methods=("cummax",),
    yields="values",
    samples=_several({"dim": 2}),
    formula="h(x) = running maximum;  y1 = x1 at its place",
    **_KEEP,
)
CUMMIN = select(
    "cummin",
    torch.cummin,
    cumulative,
    methods=("cummin",),
    yields="values",
    samples=_several({"dim": 2}),
    formula="h(x) = running minimum;  y1 = x1 at its place",
    **_KEEP,
)


def _places(*shape, high):
    return lambda rng: torch.randint(0, high, shape, generator=rng)


GATHER = select(
    "gather",
    torch.gather,
    gather,
    local=along_dim,
    functions=(_ATEN.gather.default,),
    methods=("gather",),
    samples=(
        Sample(
            kwargs={"dim": 2},
            tensors={"index": _places(2, 3, 4, 7, high=6)},
            independent_batch=False,
            spellings=("gather", "gather.default"),
        ),
    ),
    formula="y1 = x1 at the frozen places",
    source="the paper, eq. 7",
)
