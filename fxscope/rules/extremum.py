"""Maximum and minimum of two tensors, and over a dimension: freeze which one won."""

import torch

from ..twins import Constant, Choose, Dims, Gather
from ._ranks import shift
from .arithmetic import broadcast_rank
from .declare import Sample, select


def choose(call, keep, names=("x", "other")):
    """The two operands under a frozen mask; an operand that does not carry the probe is a constant."""
    inputs = []
    for name in names:
        value = call.value(name)
        inputs.append(value if value is not None else call.record(Constant(call.proxy(name), call.rank(name)), []))
    return Choose(keep, tuple(call.facts.lift(call.arguments[n], call.node) for n in names)), inputs


def maximum(x, other, *, call):
    return choose(call, ~(x < other))


def minimum(x, other, *, call):
    return choose(call, ~(x > other))


def _winner(x, dim, keepdim, call, largest):
    """Gather at the first index that wins, as max(dim) picks it."""
    index = (torch.argmax if largest else torch.argmin)(x, dim, True)
    rank = call.need_rank("x")
    from_end = dim - rank if dim >= 0 else dim
    value = call.record(Gather(index, from_end, rank), [call.value("x")])
    return None, [value if keepdim else call.record(Dims(torch.squeeze, (from_end,)), [value])]


def amax(x, dim=(), keepdim=False, *, call):
    return _reduce(x, dim, keepdim, call, True)


def amin(x, dim=(), keepdim=False, *, call):
    return _reduce(x, dim, keepdim, call, False)


def _reduce(x, dim, keepdim, call, largest):
    dims = list(dim) if isinstance(dim, (list, tuple)) else [dim]
    rank = call.need_rank("x")
    dims = [d % rank - rank for d in (dims or range(rank))]
    value = call.value("x")
    for d in dims:
        index = (torch.argmax if largest else torch.argmin)(x, d, True)
        value = call.record(Gather(index, d, rank), [value])
        x = torch.gather(x, d, index)
    return None, [value if keepdim else call.record(Dims(torch.squeeze, (dims,)), [value])]


def largest(x, dim, keepdim=False, *, call):
    return _winner(x, dim, keepdim, call, True)


def smallest(x, dim, keepdim=False, *, call):
    return _winner(x, dim, keepdim, call, False)


def _rank(rank, a):
    count = len(a["dim"]) if isinstance(a["dim"], (list, tuple)) else 1
    return rank(a["x"]) if a["keepdim"] else shift(rank(a["x"]), -count)


_TWO = dict(carries=("x", "other"), rank=broadcast_rank, samples=(Sample(tensors={"other": (2, 3, 6, 7)}), Sample(tensors={"other": (7,)})), source="the paper, eq. 2")
_ONE = dict(rank=_rank, source="the paper, Fig. 2")
MAXIMUM = select("maximum", torch.maximum, maximum, methods=("maximum",), formula="h(a, b) = max(a, b);  y1 = a1 where a0 >= b0, b1 elsewhere", **_TWO)
MINIMUM = select("minimum", torch.minimum, minimum, methods=("minimum",), formula="h(a, b) = min(a, b);  y1 = a1 where a0 <= b0, b1 elsewhere", **_TWO)
AMAX = select("amax", torch.amax, amax, methods=("amax",), samples=(Sample(kwargs={"dim": (2, 3)}), Sample(kwargs={"dim": 1, "keepdim": True})), formula="h(x) = max x;  y1 = x1 at the index that won", **_ONE)
AMIN = select("amin", torch.amin, amin, methods=("amin",), samples=(Sample(kwargs={"dim": (2, 3)}),), formula="h(x) = min x;  y1 = x1 at the index that won", **_ONE)


def _by_dimension(over_two, over_dim):
    """torch.max is three functions: of two tensors, over a dimension, of everything."""

    def expand(x, dim=None, keepdim=False):
        if dim is None:
            raise TypeError("the extremum of everything mixes the images of a batch; name the dimension")
        return None if isinstance(dim, int) else over_two(x, dim)

    return expand


MAX = select("max", torch.max, largest, methods=("max",), yields="values", expand=_by_dimension(torch.maximum, None), formula="h(x) = max x over a dimension;  y1 = x1 at the index that won", **_ONE)
MIN = select("min", torch.min, smallest, methods=("min",), yields="values", expand=_by_dimension(torch.minimum, None), formula="h(x) = min x over a dimension;  y1 = x1 at the index that won", **_ONE)
