"""Maximum and minimum of two tensors, and over dimensions: freeze which one won."""

import torch

from ..twins import Dims, Gather, Masked, Where, shifted
from . import _reduced
from ._local import elementwise, over_dims
from ._ranks import Broadcast, reduced_rank
from .declare import Sample, composite, select
from .selection import winner
from .spread import inserted, last_dims


def choose(call, keep, y, *others):
    """x1 or other1 under a frozen mask; a frozen operand is y0 itself.

    The lifts are those that broadcasting with the mask needs; ``others`` made the mask.
    """
    a, b = call.value("x"), call.value("other")
    if b is None:
        return Masked(keep, y, call.lift("x", "other", *others), grows=True), [a]
    if a is None:
        return Masked(~keep, y, call.lift("other", "x", *others), grows=True), [b]
    return Where(keep, (call.lift("x", "other", *others), call.lift("other", "x", *others))), [a, b]


def maximum(x, other, *, call, y):
    return choose(call, (x >= other) | (x != x), y)  # a NaN of either operand wins, as in torch


def minimum(x, other, *, call, y):
    return choose(call, (x <= other) | (x != x), y)


def reduce(x, y, dims, keepdim, call, first):
    """Gather at the first index that wins, dimension by dimension."""
    rank, value = call.rank("x"), call.value("x")
    if rank == 0:
        return None, [value]
    for d in dims:
        index = first(x, d, True)
        # the values, which have x's dtype
        x = torch.gather(x, d, index) if d != dims[-1] else inserted(y, () if keepdim else dims)
        value = call.record(Gather(index, shifted(d), rank), [value], like=x, rank=rank)
    if keepdim:
        return None, [value]
    return None, [call.record(Dims(torch.squeeze, (shifted(list(dims)),)), [value], like=y)]


def _dims(call, dim):
    return [] if call.rank("x") == 0 else last_dims(call, dim)


def amax(x, dim=(), keepdim=False, *, call, y):
    return reduce(x, y, _dims(call, dim), keepdim, call, torch.argmax)


def amin(x, dim=(), keepdim=False, *, call, y):
    return reduce(x, y, _dims(call, dim), keepdim, call, torch.argmin)


def picked(x, dim=None, keepdim=False, *, call, y):
    """max(dim) and min(dim) say which entry won."""
    if call.rank("x") == 0:
        return None, [call.value("x")]
    (d,) = last_dims(call, dim)
    return winner(call, y, d, keepdim)


def both_ends(x, dim=None, keepdim=False):
    dims = [] if dim is None else dim
    return torch.amin(x, dims, keepdim), torch.amax(x, dims, keepdim)


def _forms(over_two, over_all):
    """torch.max is three functions: of two tensors, over a dimension, of everything."""

    def expand(x, dim=None, keepdim=False):
        if dim is None:
            return over_all(x)
        return None if isinstance(dim, int) else over_two(x, dim)

    return expand


_ATEN = torch.ops.aten
_CHOICE = {
    "reduced": _reduced.elementwise,
    "carries": ("x", "other"),
    "rank": Broadcast(("x", "other")),
    "local": elementwise,
    "source": "the paper, eq. 2",
    "samples": (
        Sample(tensors={"other": (2, 3, 6, 7)}),
        Sample(tensors={"other": (7,)}),
        Sample((6, 7), tensors={"other": (2, 3, 1, 1)}, independent_batch=False),
        Sample(call=lambda f, x: f(x, x * -0.5 + 0.1)),
    ),
}
_ONE = {
    "rank": reduced_rank,
    "reduced": _reduced.reduction,
    "local": over_dims,
    "source": "the paper, Fig. 2",
    "interval": lambda bound, a: bound(a["x"]),
}
_OVER = (
    Sample(kwargs={"dim": (2, 3)}),
    Sample(kwargs={"dim": 1, "keepdim": True}),
    Sample(kwargs={"dim": -1}),
)
_INDEXED = tuple(
    Sample(kwargs=k, call=lambda f, x, **given: f(x, **given)[0])
    for k in ({"dim": 1}, {"dim": -1, "keepdim": True})
)
_FORMS = (
    *_INDEXED,
    Sample(kwargs={"dim": 2}, call=lambda f, x, **given: f(x, **given).values, spellings=("max", "min")),
    Sample(independent_batch=False, spellings=("max", "min")),
)
MAXIMUM = select(
    "maximum",
    torch.maximum,
    maximum,
    functions=(_ATEN.maximum.default,),
    methods=("maximum",),
    formula="h(a, b) = max(a, b);  y1 = a1 where a0 >= b0, b1 elsewhere",
    **_CHOICE,
)
MINIMUM = select(
    "minimum",
    torch.minimum,
    minimum,
    functions=(_ATEN.minimum.default,),
    methods=("minimum",),
    formula="h(a, b) = min(a, b);  y1 = a1 where a0 <= b0, b1 elsewhere",
    **_CHOICE,
)
AMAX = select(
    "amax",
    torch.amax,
    amax,
    functions=(_ATEN.amax.default,),
    methods=("amax",),
    samples=_OVER,
    formula="h(x) = max x;  y1 = x1 at the index that won",
    **_ONE,
)
AMIN = select(
    "amin",
    torch.amin,
    amin,
    functions=(_ATEN.amin.default,),
    methods=("amin",),
    samples=_OVER,
    formula="h(x) = min x;  y1 = x1 at the index that won",
    **_ONE,
)
MAX = select(
    "max",
    torch.max,
    picked,
    methods=("max",),
    functions=(_ATEN.max.dim,),
    yields="values",
    expand=_forms(torch.maximum, torch.amax),
    samples=_FORMS,
    formula="h(x) = max x over a dimension;  y1 = x1 at the index that won",
    **_ONE,
)
MIN = select(
    "min",
    torch.min,
    picked,
    methods=("min",),
    functions=(_ATEN.min.dim,),
    yields="values",
    expand=_forms(torch.minimum, torch.amin),
    samples=_FORMS,
    formula="h(x) = min x over a dimension;  y1 = x1 at the index that won",
    **_ONE,
)
AMINMAX = composite(
    "aminmax",
    torch.aminmax,
    both_ends,
    "",
    methods=("aminmax",),
    functions=(_ATEN.aminmax.default,),
    samples=(
        Sample(kwargs={"dim": 1}, call=lambda f, x, **given: f(x, **given)[1]),
        Sample(kwargs={"dim": -1, "keepdim": True}, call=lambda f, x, **given: f(x, **given).min),
    ),
    formula="h(x) = min x and max x;  y1 = x1 at the index that won",
    source="the paper, Fig. 2",
)
