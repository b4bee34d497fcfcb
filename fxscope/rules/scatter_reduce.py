"""Reductions of entries to frozen places: scatter_reduce, index_reduce, segment_reduce.

They are what message passing in graphs and pooling over segments is made of. Sums and means are linear, the
entries that won a maximum or a minimum are frozen, and a product is shared evenly between its factors.
Whatever the reduction, y1 is a sum of weighted entries: y1 = scatter_add(a0 x1, index, w0 source1) + c0.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ..graph.ir import notes
from ..twins import Constant, Divide, Gate, Masked, Offset
from ..twins.applied import Written
from . import _reduced
from ._of_node import bound, rule_of
from .declare import Sample, mask

_ENDS = {"amax", "amin", "max", "min"}


@dataclass(frozen=True)
class Entries:
    """What is reduced on x0: entries ``src`` to the places ``index`` along ``dim`` of y, and x, if it counts.

    ``own`` says whether x is an entry of its place; ``x`` is None where places start empty. ``varies`` tells
    which of the two depends on the probe, and ``whole`` that the index is known to have the size of the
    source; it may be smaller. ``start`` is what all places start with, if x is None.
    """

    y: Any
    x: Any
    dim: int
    index: Any
    src: Any
    own: bool
    varies: tuple[bool, bool]
    rank: int
    whole: bool
    start: Any = None

    def added(self, values):
        """The sum of the values at each place."""
        return torch.scatter_add(torch.zeros_like(self.y), self.dim, self.index, values)

    def at(self, values):
        """The values of the place of each entry."""
        return torch.gather(values, self.dim, self.index)

    def given(self):
        """The entries that have a place: those within the size of the index."""
        if self.whole:
            return self.src
        return self.src[tuple(slice(0, self.index.size(d)) for d in range(self.rank))]

    def spread(self, weights):
        """Weights of the entries that have a place, with zeros for the others."""
        if self.whole:
            return weights
        sizes = [self.src.size(d) - self.index.size(d) for d in reversed(range(self.rank))]
        return F.pad(weights, [n for size in sizes for n in (0, size)])


@dataclass(frozen=True)
class Weights:
    """y1 = (scatter_add(x x1, source source1) + constant)/divisor.

    A weight of None is 1; ``bits`` says that the weights are truth values.
    """

    x: Any = None
    source: Any = None
    constant: Any = None
    divisor: Any = None
    bits: bool = True


def _summed(e: Entries, mean: bool) -> Weights:
    count = e.added(torch.ones_like(e.src))
    keep = None if e.own or e.x is None else count == 0
    divisor = torch.clamp(count + 1 if e.own and e.x is not None else count, min=1) if mean else None
    fixed: list[Any] = [] if e.varies[1] else [e.added(e.src)]
    if e.x is not None and not e.varies[0]:
        fixed.append(e.x if keep is None else torch.where(keep, e.x, 0.0))
    if e.x is None and e.start:
        fixed.append(torch.full_like(e.y, e.start))
    if e.x is None and e.start is None and mean:  # no number, where there are no entries
        fixed.append(torch.where(count == 0, e.y, 0.0))
    return Weights(keep, None, sum(fixed[1:], fixed[0]) if fixed else None, divisor)


def _winners(e: Entries) -> Weights:
    """One winner a place: x before the entries, and of these the first; all of them lose to a NaN."""
    entries = e.given()
    number = torch.cumsum(torch.ones_like(e.index).flatten(), 0).view_as(e.index) - 1
    none = torch.full_like(e.y, e.index.numel(), dtype=torch.int64)
    may = (entries == e.at(e.y)) | (entries != entries)
    if e.own and e.x is not None:
        self_won = (e.x == e.y) | (e.x != e.x)
        may = may & ~e.at(self_won)
    first = torch.scatter_reduce(none, e.dim, e.index, torch.where(may, number, e.index.numel()), "amin")
    lost = first == e.index.numel()
    won = may & (e.at(first) == number)
    fixed: list[Any] = []
    if not e.varies[0]:
        fixed.append(torch.where(lost, e.y, 0.0))
    if not e.varies[1]:
        fixed.append(torch.where(lost, 0.0, e.y))
    return Weights(lost, e.spread(won), fixed[0] if fixed else None)


def _others(y, own, product, zeros):
    """The product of all other factors: y/own, and where own is the only zero the product of the rest."""
    zero = own == 0
    quotient = y / torch.where(zero, torch.ones_like(own), own)
    return torch.where(zero, torch.where(zeros == 1, product, 0.0), quotient)


def _factors(e: Entries, taylor: bool) -> Weights:
    entries = e.given()
    ones, none = torch.ones_like(e.y), torch.zeros_like(entries)
    zeros = torch.scatter_add(
        torch.zeros_like(e.y), e.dim, e.index, torch.where(entries == 0, none + 1, none)
    )
    filled = torch.where(entries == 0, none + 1, entries)
    product = torch.scatter_reduce(ones, e.dim, e.index, filled, "prod")
    product = product if e.start is None else product * e.start
    count = e.added(torch.ones_like(e.src))
    counted = e.own and e.x is not None
    if counted:
        zeros = zeros + torch.where(e.x == 0, ones, 0.0)
        product = product * torch.where(e.x == 0, ones, e.x)
    factors = (count if e.varies[1] else 0) + (1 if counted and e.varies[0] else 0)
    share = 1.0 if taylor else 1 / torch.clamp(ones * factors, min=1)
    weight = _others(e.at(e.y), entries, e.at(product), e.at(zeros)) * (1.0 if taylor else e.at(share))
    own = _others(e.y, e.x, product, zeros) * share if counted else torch.where(count == 0, ones, 0.0)
    left = 1 - ones * factors if taylor else torch.where(ones * factors == 0, ones, 0.0)
    if e.varies[0] and not counted:  # a place without entries keeps x
        left = torch.where(count == 0, 0.0, left)
    constant = torch.where(left == 0, 0.0, left * e.y)
    return Weights(own, e.spread(weight), constant, bits=False)


def _weights(e: Entries, reduce: str, taylor: bool) -> Weights:
    if reduce in ("sum", "mean"):
        return _summed(e, reduce == "mean")
    if reduce in _ENDS:
        return _winners(e)
    if reduce == "prod":
        return _factors(e, taylor)
    raise TypeError(f"a reduction by {reduce!r}")


def _weighted(call, value, weight, bits):
    """A value of the tape times a weight; a weight of truth values hides what it leaves out."""
    return value if weight is None else call.record(Masked(weight) if bits else Gate(weight), [value])


def _reduction(call, e: Entries, reduce: str, x: Any, src: Any) -> tuple:
    """The twins of a reduction; ``x`` and ``src`` are on the tape, or None where they are constants."""
    w, rank = _weights(e, reduce, call.variant == "taylor"), e.rank
    total = None if x is None else _weighted(call, x, w.x, w.bits)
    if src is not None:
        if total is None:
            total = call.record(Constant(torch.zeros_like(e.y), rank), [], like=e.y, rank=rank)
        dim = e.dim + 1 if e.dim >= 0 else e.dim
        both = [total, _weighted(call, src, w.source, w.bits)]
        total = call.record(Written(torch.scatter_add, e.index, dim, rank), both, like=e.y, rank=rank)
    if w.constant is not None:
        total = call.record(Offset(w.constant, grows=False), [total], like=e.y, rank=rank)
    return (None, [total]) if w.divisor is None else (Divide(w.divisor), [total])


def _ranked(call, name):
    rank = call.need_rank(name)
    if rank == 0:
        raise TypeError("a tensor without dimensions")
    return rank


def _same_size(call):
    """Whether the index is known to have the size of the source."""
    index, src = call.arguments["index"], call.arguments["src"]
    rule = rule_of(index)
    if rule is not None and rule.name == "expand_as" and bound(index)["other"] is src:
        return True
    values = [notes(node).get("val") for node in (index, src)]
    return None not in values and values[0].shape == values[1].shape


def scatter_reduce(x, dim, index, src, reduce, include_self=True, *, call, y):
    rank = _ranked(call, "x")
    values = call.value("x"), call.value("src")
    varies = values[0] is not None, values[1] is not None
    e = Entries(y, x, dim, index, src, include_self, varies, rank, _same_size(call))
    return _reduction(call, e, reduce, *values)


def index_reduce(x, dim, index, src, reduce, include_self=True, *, call, y):
    rank = _ranked(call, "x")
    values = call.value("x"), call.value("src")
    varies = values[0] is not None, values[1] is not None
    e = Entries(y, x, dim, _along(index, dim % rank, rank, src), src, include_self, varies, rank, True)
    return _reduction(call, e, reduce, *values)


def _along(index, dim, rank, like):
    """The index of a dimension, for every entry of a tensor."""
    return index.view([-1 if d == dim else 1 for d in range(rank)]).expand_as(like)


def segment_reduce(
    data, reduce, lengths=None, indices=None, offsets=None, axis=0, unsafe=False, initial=None, *, call, y
):
    """A reduction to places that start empty, or at ``initial``."""
    name = "offsets" if lengths is None else "lengths"
    if indices is not None or axis != 0 or call.need_rank(name) != 1:
        raise TypeError("segments of another dimension than the first")
    lengths = torch.diff(offsets) if lengths is None else lengths
    rank = _ranked(call, "data")
    segments = torch.cumsum(torch.ones_like(lengths), 0) - 1
    index = torch.repeat_interleave(segments, lengths, output_size=data.size(0))
    e = Entries(y, None, 0, _along(index, 0, rank, data), data, False, (False, True), rank, True, initial)
    return _reduction(call, e, reduce, None, call.value("data"))


def _index(*shape, high):
    return lambda rng: torch.randint(0, high, shape, generator=rng)


def _of(reduce, **more):
    """Both operands from x; or the source alone, into places that hold constants."""
    kwargs = {"dim": 1, "reduce": reduce, **more}
    if "include_self" in more:
        # torch's derivative asks for a source of the size of the index, but for sums and means
        length = 7 if reduce in ("sum", "mean") else 8
        return Sample(
            (2, 4, 5),
            kwargs,
            tensors={"index": _index(2, length, 5, high=4)},
            call=lambda f, x, index, dim, reduce, **k: f(
                x, dim, index, torch.cat([x.flip(2), x * -0.5], 1) + 0.1, reduce, **k
            ),
            independent_batch=False,
        )
    return Sample(
        (2, 7, 3),
        kwargs,
        tensors={"index": _index(2, 7, 3, high=4), "base": (2, 4, 3)},
        call=lambda f, x, index, base, dim, reduce: f(base, dim, index, x, reduce, include_self=False),
        independent_batch=False,
    )


def _of_index(reduce, include_self):
    return Sample(
        (2, 4, 5),
        {"dim": -2, "reduce": reduce, "include_self": include_self},
        tensors={"index": _index(6, high=4)},
        call=lambda f, x, index, dim, reduce, include_self: f(
            x, dim, index, torch.cat([x, x[:, :2] * 2.0], 1) - 0.3, reduce, include_self=include_self
        ),
    )


def _of_segments(reduce, initial=None, name="lengths"):
    values = {"lengths": [2, 0, 3, 1], "offsets": [0, 2, 2, 5, 6]}[name]
    return Sample(
        (6, 3),
        {"reduce": reduce, "initial": initial},
        tensors={name: lambda rng: torch.tensor(values)},
        call=lambda f, x, reduce, **given: f(x, reduce, **given),
        independent_batch=False,
    )


_KINDS = ("sum", "mean", "amax", "amin", "prod")
_FIELDS: dict[str, Any] = {
    "local": None,
    "formula": (
        "y1 = the frozen weights of all entries, summed at their places: 1, 1/n, the winner, y0/(n x0);"
        "  taylor: a product by its derivative"
    ),
    "source": "the paper, eq. 2 and Fig. 2 (indices)",
}
SCATTER_REDUCE = mask(
    "scatter_reduce",
    torch.scatter_reduce,
    scatter_reduce,
    taylor=scatter_reduce,
    functions=(torch.ops.aten.scatter_reduce.two,),
    methods=("scatter_reduce",),
    carries=("x", "src"),
    reduced=_reduced.kept,
    samples=(*(_of(k, include_self=i % 2 == 0) for i, k in enumerate(_KINDS)), *map(_of, _KINDS)),
    **_FIELDS,
)
INDEX_REDUCE = mask(
    "index_reduce",
    torch.index_reduce,
    index_reduce,
    taylor=index_reduce,
    functions=(torch.ops.aten.index_reduce.default,),
    methods=("index_reduce",),
    carries=("x", "src"),
    reduced=_reduced.kept,
    samples=tuple(_of_index(k, i % 2 == 1) for i, k in enumerate(_KINDS[1:])),
    **_FIELDS,
)
SEGMENT_REDUCE = mask(
    "segment_reduce",
    torch.segment_reduce,
    segment_reduce,
    taylor=segment_reduce,
    functions=(torch.ops.aten.segment_reduce.default,),
    reduced=None,
    samples=(
        _of_segments("sum"),
        _of_segments("mean", 0.5),
        _of_segments("max", 0.0, "offsets"),
        _of_segments("min", 0.2),
        _of_segments("prod"),
    ),
    **_FIELDS,
)
