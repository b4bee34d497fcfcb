"""Writes and sums at frozen places: scatter, index_add, index_put and their relatives."""

import torch

from ..twins import Constant, Masked, Offset
from ..twins.applied import IndexPut, Written
from . import _reduced
from .declare import Sample, composite, linear

_ATEN = torch.ops.aten


def _operands(call, *names):
    """Tape values of the operands; a constant one is seen by every probe."""
    return [
        call.value(n)
        if call.value(n) is not None
        else call.record(Constant(call.proxy(n), call.rank(n)), [], like=call.proxy(n))
        for n in names
    ]


def _added(constant, call):
    return Offset(constant, grows=False), [call.value("x")]


def _dim(dim):
    return dim + 1 if dim >= 0 else dim


def scatter_add(x, dim, index, src, *, call):
    if call.rank("x") == 0:
        raise TypeError("a tensor without dimensions")
    if call.value("src") is None:
        return _added(torch.scatter_add(torch.zeros_like(x), dim, index, src), call)
    twin = Written(torch.scatter_add, index, _dim(dim), call.need_rank("index"))
    return twin, _operands(call, "x", "src")


def index_add(x, dim, index, src, *, call):
    if call.rank("x") == 0 or call.rank("index") == 0:
        raise TypeError("a tensor without dimensions")
    if call.value("src") is None:
        return _added(torch.index_add(torch.zeros_like(x), dim, index, src), call)
    return Written(torch.index_add, index, _dim(dim)), _operands(call, "x", "src")


def index_put(x, indices, values, accumulate=False, *, call):
    indices = tuple(indices)
    if accumulate is True and call.value("values") is None:
        return _added(_ATEN.index_put(torch.zeros_like(x), indices, values, True), call)
    if accumulate is True:
        return IndexPut(indices), _operands(call, "x", "values")
    if accumulate is not False:
        raise TypeError("whether it adds is known at run time alone")
    # of several values that are written to one place, one is there in the end
    none = torch.full_like(x, -1, dtype=torch.int64)
    if call.value("values") is None:
        written = _ATEN.index_put(none, indices, torch.zeros_like(none).sum())
        left = call.record(Masked(written < 0), [call.value("x")], like=x, rank=call.rank("x"))
        return Offset(_ATEN.index_put(torch.zeros_like(x), indices, values), grows=False), [left]
    there = _ATEN.index(x, indices)
    number = torch.arange(there.numel(), device=x.device).view_as(there)
    last = _ATEN.index_put(none, indices, number)
    base, value = _operands(call, "x", "values")
    rank = call.rank("x")
    left = call.record(Masked(last < 0), [base], like=x, rank=rank)
    won = _ATEN.index(last, indices) == number
    lift = _lift(call, there, indices)
    added = call.record(
        Masked(won, None, lift, True), [value], like=there, rank=lift + call.need_rank("values")
    )
    return IndexPut(indices), [left, added]


def _lift(call, there, indices):
    """How many dimensions the values lack to be those of x[indices]."""
    given = [n for n in call.arguments["indices"] if n is not None]
    bits = [call.facts.is_bits(n) for n in given]
    if None in bits or not given:
        raise TypeError("whether an index is a mask is not known")
    ranks = [call.facts.need_rank(n, "index_put") for n in given]
    taken = sum(r if b else 1 for r, b in zip(ranks, bits))
    wide = max(1 if b else r for r, b in zip(ranks, bits))
    return call.need_rank("x") - taken + wide - call.need_rank("values")


def _number(x, src):
    """The number of each entry of src, as a tensor of its shape."""
    return torch.arange(src.numel(), device=x.device).reshape_as(src)


def _chosen(x, src, source):
    """x, with entry ``source`` of src where that is a number, and not -1."""
    taken = torch.index_select(torch.reshape(src, [-1]), 0, torch.reshape(torch.clamp(source, min=0), [-1]))
    return torch.where(source >= 0, taken.view_as(source), x)


def scatter(x, dim, index, src=None, value=None):
    """Every entry reads the entry of src that is written there: the last one, where there are several."""
    if value is not None:
        src = value
    none = torch.full_like(x, -1, dtype=torch.int64)
    if not isinstance(src, torch.fx.Proxy):
        number = torch.zeros_like(index)
        return torch.where(torch.scatter_reduce(none, dim, index, number, "amax") >= 0, src, x)
    return _chosen(x, src, torch.scatter_reduce(none, dim, index, _number(x, src), "amax"))


def take(x, index):
    return torch.index_select(torch.reshape(x, [-1]), 0, _counted(x, index)).view_as(index)


def _counted(x, index):
    """Indices of a flat x, all of them counted from the front."""
    index = torch.reshape(index, [-1])
    return torch.where(index < 0, index + x.numel(), index)


def as_strided(x, size, stride, storage_offset=None):
    """Of a contiguous tensor, at these places of its memory."""
    if not all(isinstance(n, int) for n in (*size, *stride)):
        return None
    index = torch.full([], storage_offset or 0, dtype=torch.int64, device=x.device)
    for n, step in zip(size, stride):
        index = torch.unsqueeze(index, -1) + torch.arange(n, device=x.device) * step
    return torch.index_select(torch.reshape(x, [-1]), 0, torch.reshape(index, [-1])).view_as(index)


def put(x, index, src, accumulate=False):
    flat, places = torch.reshape(x, [-1]), (_counted(x, index),)
    values = torch.reshape(src, [-1])
    return torch.index_put(flat, places, values, accumulate).view_as(x)


def masked_scatter(x, mask, src):
    mask = mask.expand_as(x)
    number = torch.reshape(torch.cumsum(torch.reshape(mask, [-1]), 0), [-1]).view_as(x)
    return _chosen(x, src, torch.where(mask, number - 1, -1))


_SOURCE = "the paper, eq. 7 (a permutation of entries)"


def _index(*shape, high):
    return lambda rng: torch.randint(0, high, shape, generator=rng)


def _fields(*overloads, **more):
    return {"functions": overloads, "source": _SOURCE, **more}


def _sum_at(name, twin, first, second, *overloads, independent=False):
    """A sum at frozen places of one dimension, with two samples of its index."""
    return linear(
        name,
        getattr(torch, name),
        twin,
        methods=(name,),
        carries=("x", "src"),
        reduced=_reduced.kept,
        samples=(
            Sample(
                (2, 4, 5),
                {"dim": 1},
                tensors={"index": first, "src": (2, 3, 5)},
                independent_batch=False,
            ),
            Sample(
                (2, 4, 5),
                {"dim": -1},
                tensors={"index": second},
                call=lambda f, x, index, dim: f(x, dim, index, x * 2.0),
                independent_batch=independent,
            ),
        ),
        formula="y1 = x1 with source1 added at the frozen places",
        **_fields(*overloads),
    )


SCATTER_ADD = _sum_at(
    "scatter_add",
    scatter_add,
    _index(2, 3, 5, high=4),
    _index(2, 3, 2, high=5),
    _ATEN.scatter_add.default,
)
INDEX_ADD = _sum_at("index_add", index_add, _index(3, high=4), _index(5, high=5), independent=True)
INDEX_ADD_ATEN = composite(
    "index_add_aten",
    _ATEN.index_add.default,
    lambda x, dim, index, src, alpha=1: torch.index_add(x, dim, index, src if alpha == 1 else src * alpha),
    "",
    carries=("x", "src"),
    samples=(
        Sample(
            (2, 4, 5),
            {"dim": 1, "alpha": 2},
            tensors={"index": _index(3, high=4), "src": (2, 3, 5)},
            call=lambda f, x, index, src, dim, alpha: f(x, dim, index, src, alpha=alpha),
            independent_batch=False,
        ),
    ),
    formula="y1 = x1 with source1 added at the frozen places",
    **_fields(),
)
INDEX_PUT = linear(
    "index_put",
    _ATEN.index_put,
    index_put,
    methods=("index_put",),
    carries=("x", "values"),
    samples=(
        Sample(
            (2, 4, 5),
            tensors={"index": _index(3, high=4), "values": (2, 3, 5)},
            call=lambda f, x, index, values: _ATEN.index_put(x, [None, index], values, True),
            independent_batch=False,
        ),
        Sample(
            (2, 4, 5),
            tensors={"index": lambda rng: torch.randperm(4, generator=rng)[:3]},
            call=lambda f, x, index: _ATEN.index_put(x, [None, index], x[:, :3] * 2.0),
        ),
        Sample(
            (2, 4, 3, 5),
            tensors={"index": _index(3, high=4), "other": _index(3, high=5), "values": (3,)},
            call=lambda f, x, index, other, values: _ATEN.index_put(
                x, [None, index, None, other], values, True
            ),
        ),
    ),
    formula="y1 = x1 with values1 written, or added, at the frozen places",
    **_fields(_ATEN.index_put.default, torch.index_put, _ATEN._unsafe_index_put.default),
)


def _rule(name, target, expand, samples, overloads, carries, methods=()):
    return composite(
        name,
        target,
        expand,
        "",
        samples=samples,
        functions=overloads,
        methods=methods,
        carries=carries,
        formula="y1 = x1 with source1 written at the frozen places",
        source=_SOURCE,
    )


SCATTER = _rule(
    "scatter",
    torch.scatter,
    scatter,
    (
        Sample(
            (2, 4, 5),
            {"dim": 1},
            tensors={"index": _index(2, 1, 5, high=4), "src": (2, 3, 5)},
            independent_batch=False,
        ),
        Sample(
            (2, 4, 5),
            {"dim": 1, "value": 2.0},
            tensors={"index": _index(2, 1, 5, high=4)},
            independent_batch=False,
        ),
    ),
    (_ATEN.scatter.src, _ATEN.scatter.value),
    ("x", "src"),
    ("scatter",),
)
TAKE = _rule(
    "take",
    torch.take,
    take,
    (Sample((2, 4, 5), tensors={"index": _index(2, 3, high=20)}, independent_batch=False),),
    (_ATEN.take.default,),
    ("x",),
    ("take",),
)
PUT = _rule(
    "put",
    _ATEN.put.default,
    put,
    (
        Sample(
            (2, 4, 5),
            {"accumulate": True},
            tensors={"index": _index(2, 3, high=20), "src": (2, 3)},
            independent_batch=False,
        ),
    ),
    (),
    ("x", "src"),
    ("put",),
)
MASKED_SCATTER = _rule(
    "masked_scatter",
    torch.masked_scatter,
    masked_scatter,
    (
        Sample(
            (2, 4, 5),
            tensors={"mask": lambda rng: torch.rand(4, 5, generator=rng) > 0.5, "src": (50,)},
            independent_batch=False,
        ),
    ),
    (_ATEN.masked_scatter.default,),
    ("x", "src"),
    ("masked_scatter",),
)
AS_STRIDED = _rule(
    "as_strided",
    torch.as_strided,
    as_strided,
    (Sample((2, 4, 5), {"size": (2, 3), "stride": (20, 2), "storage_offset": 1}, independent_batch=False),),
    (_ATEN.as_strided.default,),
    ("x",),
    ("as_strided",),
)
