"""Operators that only move entries: their dimensions shift by one behind the probes' K."""

import operator

import torch
from torch import nn

from ..twins import Concat, Dims, Expand, Gate, Identity, Index, Item, Repeat, Reshape, Stack, shifted
from ..twins import Constant as ConstantTwin
from . import _reduced
from ._local import broadcast, elementwise
from ._moves import (
    along_dim,
    concatenation,
    item,
    narrowed,
    one_place_over,
    part,
    permuted,
    repeated,
    reshaped,
    sliced_over,
    stacking,
    swapped,
    unflipped,
    without_dim,
)
from ._ranks import MOST, shift, widest
from ._sizes import count
from .declare import Sample, composite, linear

_SAME = (Sample(),)
_ATEN = torch.ops.aten


def reshape(x, shape, *, call):
    sizes = call.known_sizes("shape")
    return Reshape(shape if sizes is None else sizes)


def flatten(x, start_dim=0, end_dim=-1, *, call):
    if call.rank("x") == 0:  # torch makes a number a list of one
        return Dims(torch.unsqueeze, (shifted(0),))
    return Dims(torch.flatten, (shifted(start_dim), shifted(end_dim)))


def unflatten(x, dim, sizes, *, call):
    return Dims(torch.unflatten, (shifted(dim), call.sizes("sizes")))


def permute(x, dims):
    return Dims(torch.permute, ([0, *shifted([d % len(dims) for d in dims])],))


def transpose(x, dim0, dim1):
    return Dims(torch.transpose, (shifted(dim0), shifted(dim1)))


def t(x, *, call):
    if call.rank("x") in (0, 1):  # torch.t takes a vector as it is
        return None
    return Dims(torch.transpose, (-1, -2))


def squeeze(x, dim=None, *, call):
    if call.rank("x") == 0:  # torch takes dimension 0 of a number, and gives the number
        return Identity()
    if dim is not None:
        return Dims(torch.squeeze, (shifted(dim),))
    y = torch.fx.Proxy(call.node, torch.fx.proxy.GraphAppendingTracer(call.node.graph))
    rank = call.out_rank
    return Reshape(y.size() if rank is None else [y.size(d) for d in range(rank)])


def unsqueeze(x, dim):
    return Dims(torch.unsqueeze, (shifted(dim),))


def flip(x, dims):
    return Dims(torch.flip, (shifted(list(dims) if isinstance(dims, (list, tuple)) else [dims]),))


def roll(x, shifts, dims=None):
    if dims is None:
        raise TypeError("roll without dims flattens the batch; name the dimensions")
    return Dims(torch.roll, (shifts, shifted(dims)))


def identity(x, memory_format=None):
    return Identity()


def expand(x, size, *, call):
    size = call.sizes("size")
    return Expand(size, lift=_missing(call, len(size)))


def expand_as(x, other, *, call):
    rank = call.rank("other")
    if rank is None:
        return Gate(torch.ones_like(other), lift=call.lift("x", "other"), grows=True)
    return Expand([other.size(d) for d in range(rank)], lift=_missing(call, rank))


def repeat(x, repeats, *, call):
    repeats = call.sizes("repeats")
    return Repeat(repeats, lift=_missing(call, len(repeats)))


def _missing(call, count):
    """How many dimensions x lacks; None where the graph does not tell it, or x has more."""
    rank = call.rank("x")
    return None if rank is None or rank > count else count - rank


def repeat_interleave(x, repeats, dim=None):
    if dim is None:
        raise TypeError("repeat_interleave without dim flattens the batch; name the dimension")
    return Dims(torch.repeat_interleave, (repeats, shifted(dim)))


def _first(rank, a):
    """The rank of the operands, from the first one whose rank is known.

    None for a list that is itself computed.
    """
    found = [rank(v) for v in a["tensors"]] if isinstance(a["tensors"], (list, tuple)) else []
    return next((r for r in found if isinstance(r, int)), next(iter(found), None))


def _operands(tensors, call):
    """Tape values of a list of operands; constants become constant twins, seen by every probe."""
    values = call.values("tensors")
    return [
        v if v is not None else call.record(ConstantTwin(x, call.facts.rank(n)), [], like=x)
        for v, x, n in zip(values, tensors, call.arguments["tensors"])
    ]


def cat(tensors, dim=0, *, call):
    merged = call.channels_last and call.out_rank in (4, 5) and dim != 0 and dim != -call.out_rank
    return Concat(dim, merged), _operands(tensors, call)


def stack(tensors, dim=0, *, call):
    return Stack(dim), _operands(tensors, call)


def getitem(x, index, *, call):
    source = call.arguments["x"]
    if yields(source) == "values":
        return None, [call.value("x")]
    if yields(source) == "tensors":
        return Item(index)
    return Index(index)


def taken(view, a):
    """Parts of a split, and the values of a choice, have what is known of their source."""
    return _reduced.indexed(view, a) if yields(a["x"]) == "tensor" else view.of(a["x"])


def yields(node):
    """What a node gives: "tensor", "tensors" or "values"."""
    from ..graph.ir import info
    from . import registry

    rule = registry().rules.get(info(node).rule)
    return "tensor" if rule is None else rule.yields


def select(x, dim, index):
    return Dims(_ATEN.select, (shifted(dim), index))


def narrow(x, dim, start, length):
    return Dims(torch.narrow, (shifted(dim), start, length))


def chunk(x, chunks, dim=0):
    return Dims(torch.chunk, (chunks, shifted(dim)))


def split(x, split_size_or_sections, dim=0):
    return Dims(torch.split, (split_size_or_sections, shifted(dim)))


def tensor_split(x, sections, dim=0):
    if isinstance(sections, torch.fx.Proxy):
        raise TypeError("sections in a tensor decide the sizes of the parts; give numbers")
    return Dims(torch.tensor_split, (sections, shifted(dim)))


def unbind(x, dim=0):
    return Dims(torch.unbind, (shifted(dim),))


def index_select(x, dim, index, *, call):
    if call.rank("x") == 0:
        return None if call.out_rank == 0 else Dims(torch.unsqueeze, (1,))
    return Dims(_ATEN.index_select, (shifted(dim), index))


def slice_scatter(x, src, dim=0, start=None, end=None, step=1, *, call):
    return _scatter(call, torch.slice_scatter, (shifted(dim), start, end, step))


def select_scatter(x, src, dim, index, *, call):
    return _scatter(call, torch.select_scatter, (shifted(dim), index))


def diagonal_scatter(x, src, offset=0, dim1=0, dim2=1, *, call):
    return _scatter(call, torch.diagonal_scatter, (offset, shifted(dim1), shifted(dim2)))


def _scatter(call, function, args):
    inputs = []
    for name in ("x", "src"):
        value = call.value(name)
        inputs.append(
            value
            if value is not None
            else call.record(ConstantTwin(call.proxy(name), call.rank(name)), [], like=call.proxy(name))
        )
    return Dims(function, args), inputs


def _reshape_rank(rank, a):
    return count(rank, a["shape"])


def _unflatten_rank(rank, a):
    number = count(rank, a["sizes"])
    return shift(rank(a["x"]), number - 1) if isinstance(number, int) else None


def _flatten_rank(rank, a):
    """The dimensions between two of one sign are counted without the rank."""
    r, s, e = rank(a["x"]), a["start_dim"], a["end_dim"]
    if s >= 0 and e == -1:
        return s + 1
    if (s < 0) == (e < 0):
        return shift(r, s - e)
    return r - ((e % r) - (s % r)) if isinstance(r, int) else None


def _squeeze_rank(rank, a):
    """The rank without the dimensions of size one.

    None where only the sizes themselves would tell which dimensions those are.
    """
    dims = a["dim"] if isinstance(a["dim"], (list, tuple)) else [a["dim"]]
    unit = rank.facts.of(a["x"]).unit
    places = [_reduced.end(rank.facts, a["x"], d) for d in dims]
    return shift(rank(a["x"]), -len(places)) if all(p in unit for p in places) else None


def _index_rank(rank, a):
    if yields(a["x"]) in ("tensors", "values"):
        return rank(a["x"])
    key = a["index"] if isinstance(a["index"], tuple) else (a["index"],)
    new = sum(k is None for k in key)
    chosen = [
        _index_ranks(rank, k) for k in key if k is not None and k is not Ellipsis and not isinstance(k, slice)
    ]
    if None in chosen:
        return None
    return shift(
        rank(a["x"]), new - sum(taken for taken, _ in chosen) + max((given for _, given in chosen), default=0)
    )


def _index_ranks(rank, k):
    """(dimensions that one index takes, dimensions that it gives); None where the graph does not tell."""
    if (isinstance(k, int) and not isinstance(k, bool)) or rank.facts.is_size(k):
        return 1, 0
    known = torch.tensor(k).dim() if isinstance(k, list) and all(isinstance(i, int) for i in k) else rank(k)
    bits = rank.facts.is_bits(k)
    if not isinstance(known, int) or (bits is None and known != 1):
        return None
    return (known, 1) if bits else (1, known)


def _asked_by_expand(a):
    """A new dimension in front has a size of its own, so that -1 there says that it is none."""
    size = a["size"]
    if not isinstance(size, (list, tuple)):  # the sizes of a tensor
        return []
    return [(a["x"], len(size) if len(size) and size[0] == -1 else 0, len(size))]


def _asked_by_index(a):
    """A dimension for each number and slice; a mask or a tensor of indices takes one or more."""
    if yields(a["x"]) != "tensor":
        return []
    key = a["index"] if isinstance(a["index"], tuple) else (a["index"],)
    return [(a["x"], sum(k is not None and k is not Ellipsis for k in key), MOST)]


_BOUNDS = {"interval": lambda bound, a: bound(a["x"])}


def _move(name, target, twin, **fields):
    return linear(
        name, target, twin, source="the paper, eq. 7 (a permutation of entries)", **_BOUNDS, **fields
    )


def _parts(f, x, **given):
    """All parts of a split, as a tuple that a graph can give."""
    parts = f(x, *given.values())
    return parts[0], parts[1] * 2.0


def _ends(f, x, **given):
    """Parts of three from either end, the last by both of its numbers."""
    parts = f(x, *given.values())
    return parts[0], parts[-1] * 2.0, parts[2]


def _sides(f, x, **given):
    return f([x, *given.values(), x * 2.0], 1)


def _order(site, rank):
    return [d % rank for d in site.arguments["dims"]]


def _rows(*shape, high):
    return lambda rng: torch.randint(0, high, shape, generator=rng)


RESHAPE = _move(
    "reshape",
    torch.reshape,
    reshape,
    reduced=_reduced.reshaped,
    local=reshaped,
    methods=("reshape", "view"),
    functions=(_ATEN.reshape.default, _ATEN.view.default, _ATEN._unsafe_view.default),
    variadic=True,
    rank=_reshape_rank,
    samples=(
        Sample((2, 3, 4, 5), {"shape": (2, 12, 5)}, independent_batch=False),
        Sample((2, 3, 4, 5), {"shape": (-1, 12, 5)}),
        Sample((2, 3, 4, 5), call=lambda f, x: f(x, (x.size(0), -1))),
    ),
    formula="y1 = x1 reshaped",
)
VIEW_AS = composite(
    "view_as",
    "view_as",
    lambda x, other: torch.reshape(x, other.size()),
    "",
    methods=("reshape_as",),
    ignores=("other",),
    rank=lambda rank, a: rank(a["other"]),
    samples=(Sample((2, 3, 4, 5), tensors={"other": (2, 12, 5)}, independent_batch=False),),
    formula="y1 = x1 reshaped",
    source="the paper, eq. 7",
)
EXPAND_AS = _move(
    "expand_as",
    "expand_as",
    expand_as,
    reduced=_reduced.expanded,
    local=elementwise,
    ignores=("other",),
    rank=lambda rank, a: rank(a["other"]),
    samples=(
        Sample((2, 3, 1, 1), tensors={"other": (2, 3, 4, 5)}, independent_batch=False),
        Sample((3, 1), tensors={"other": (2, 3, 5)}, independent_batch=False),
    ),
    formula="y1 = x1 broadcast",
)
FLATTEN = _move(
    "flatten",
    torch.flatten,
    flatten,
    reduced=_reduced.flattened,
    local=reshaped,
    methods=("flatten",),
    modules=(nn.Flatten,),
    functions=(_ATEN.flatten.using_ints,),
    rank=_flatten_rank,
    samples=(
        Sample(kwargs={"start_dim": 1}),
        Sample(kwargs={"start_dim": 1, "end_dim": 2}),
        Sample(kwargs={"start_dim": -2, "end_dim": -1}),
    ),
    formula="y1 = x1 flattened",
)
RAVEL = composite(
    "ravel",
    torch.ravel,
    lambda x: torch.reshape(x, [-1]),
    "",
    methods=("ravel",),
    functions=(_ATEN.ravel.default,),
    rank=lambda rank, a: 1,
    samples=(Sample(call=lambda f, x: f(x).view(2, 126), independent_batch=False),),
    formula="y1 = x1 flattened",
    source="the paper, eq. 7",
    **_BOUNDS,
)
UNFLATTEN = _move(
    "unflatten",
    torch.unflatten,
    unflatten,
    reduced=_reduced.unflattened,
    local=reshaped,
    methods=("unflatten",),
    functions=(_ATEN.unflatten.int,),
    modules={nn.Unflatten: lambda m: {"dim": m.dim, "sizes": m.unflattened_size}},
    rank=_unflatten_rank,
    samples=(Sample((2, 6, 5), {"dim": 1, "sizes": (2, 3)}, module={"dim": 1, "unflattened_size": (2, 3)}),),
    formula="y1 = x1 unflattened",
)
PERMUTE = _move(
    "permute",
    torch.permute,
    permute,
    reduced=_reduced.permuted,
    local=permuted(_order),
    methods=("permute",),
    functions=(_ATEN.permute.default,),
    variadic=True,
    rank=lambda rank, a: len(a["dims"]),
    asks=lambda a: [(a["x"], len(a["dims"]), len(a["dims"]))],
    samples=(Sample(kwargs={"dims": (0, 2, 3, 1)}), Sample(kwargs={"dims": (0, -1, 1, 2)})),
    formula="y1 = x1 permuted",
)
TRANSPOSE = _move(
    "transpose",
    torch.transpose,
    transpose,
    reduced=_reduced.transposed,
    local=permuted(swapped),
    methods=("transpose", "swapaxes", "swapdims"),
    functions=(torch.swapaxes, torch.swapdims, _ATEN.transpose.int),
    samples=(Sample(kwargs={"dim0": 1, "dim1": 2}), Sample(kwargs={"dim0": -1, "dim1": -2})),
    formula="y1 = x1 transposed",
)
T = _move(
    "t",
    torch.t,
    t,
    reduced=_reduced.transposed,
    local=permuted(swapped),
    methods=("t",),
    functions=(_ATEN.t.default,),
    samples=(Sample((4, 5), independent_batch=False),),
    formula="y1 = x1 transposed",
)
MATRIX_T = composite(
    "mT",
    _ATEN.mT.default,
    lambda x: torch.transpose(x, -2, -1),
    "",
    samples=_SAME,
    formula="y1 = x1 transposed",
    source="the paper, eq. 7",
    **_BOUNDS,
)
ADJOINT = _move(
    "adjoint",
    torch.adjoint,
    t,
    reduced=_reduced.transposed,
    local=permuted(swapped),
    methods=("adjoint",),
    functions=(_ATEN.adjoint.default, _ATEN.mH.default, _ATEN.matrix_H.default),
    samples=(
        Sample(spellings=("adjoint", "adjoint.default", "mH.default")),
        Sample((4, 5), independent_batch=False),
    ),
    formula="y1 = x1 transposed (x is real)",
)
NUMPY_T = composite(
    "numpy_T",
    _ATEN.numpy_T.default,
    lambda x: torch.t(x),
    "",
    samples=(Sample((4, 5), independent_batch=False),),
    formula="y1 = x1 transposed",
    source="the paper, eq. 7",
    **_BOUNDS,
)
SQUEEZE = _move(
    "squeeze",
    torch.squeeze,
    squeeze,
    reduced=_reduced.squeezed,
    local=reshaped,
    methods=("squeeze",),
    functions=(_ATEN.squeeze.dim, _ATEN.squeeze.dims),
    rank=_squeeze_rank,
    samples=(
        Sample((2, 3, 1, 4), {"dim": 2}),
        Sample((2, 1, 3, 1), {"dim": (1, -1)}, spellings=("squeeze", "squeeze.dims")),
    ),
    formula="y1 = x1 squeezed",
)
UNSQUEEZE = _move(
    "unsqueeze",
    torch.unsqueeze,
    unsqueeze,
    reduced=_reduced.unsqueezed,
    local=reshaped,
    methods=("unsqueeze",),
    functions=(_ATEN.unsqueeze.default,),
    rank=lambda rank, a: shift(rank(a["x"]), 1),
    samples=(Sample(kwargs={"dim": 1}), Sample(kwargs={"dim": -1})),
    formula="y1 = x1 unsqueezed",
)
FLIP = _move(
    "flip",
    torch.flip,
    flip,
    reduced=_reduced.kept,
    local=unflipped,
    methods=("flip",),
    functions=(_ATEN.flip.default,),
    variadic=True,
    samples=(Sample(kwargs={"dims": (2, -1)}),),
    formula="y1 = x1 flipped",
)
ROLL = _move(
    "roll",
    torch.roll,
    roll,
    reduced=_reduced.kept,
    methods=("roll",),
    functions=(_ATEN.roll.default,),
    samples=(Sample(kwargs={"shifts": (1, -2), "dims": (2, 3)}),),
    formula="y1 = x1 rolled",
)
IDENTITY = _move(
    "identity",
    torch.clone,
    identity,
    reduced=_reduced.kept,
    local=elementwise,
    methods=("clone",),
    functions=(_ATEN.clone.default, _ATEN.alias.default, _ATEN.lift_fresh_copy.default),
    samples=_SAME,
    formula="y1 = x1",
)
CONTIGUOUS = _move(
    "contiguous",
    "contiguous",  # and no clone, which keeps the order in memory: what is drawn for x is drawn in that order
    identity,
    reduced=_reduced.kept,
    local=elementwise,
    functions=(_ATEN.contiguous.default,),
    samples=_SAME,
    formula="y1 = x1",
)
EXPAND = _move(
    "expand",
    "expand",
    expand,
    reduced=_reduced.expanded,
    local=broadcast,
    functions=(torch.broadcast_to, _ATEN.expand.default),
    methods=("broadcast_to",),
    variadic=True,
    rank=lambda rank, a: count(rank, a["size"]),
    asks=_asked_by_expand,
    samples=(
        Sample((2, 1, 1, 4), {"size": (2, 3, 5, 4)}, independent_batch=False),
        Sample((2, 1, 4), {"size": (-1, 3, -1)}),
        Sample((1, 4), {"size": (2, 3, 4)}, independent_batch=False),
    ),
    formula="y1 = x1 broadcast",
)
_REPEATED = (
    Sample((2, 3, 4), {"repeats": (1, 2, 3)}),
    Sample((3, 4), {"repeats": (2, 1, 3)}, independent_batch=False),
)
REPEAT = _move(
    "repeat",
    "repeat",
    repeat,
    reduced=_reduced.expanded,
    local=elementwise,
    functions=(_ATEN.repeat.default,),
    variadic=True,
    rank=lambda rank, a: count(rank, a["repeats"]),
    samples=_REPEATED,
    formula="y1 = x1 repeated",
)
TILE = _move(
    "tile",
    torch.tile,
    repeat,
    reduced=_reduced.expanded,
    local=elementwise,
    methods=("tile",),
    functions=(_ATEN.tile.default,),
    variadic=True,
    rank=lambda rank, a: widest(count(rank, a["repeats"]), rank(a["x"])),
    samples=(
        *_REPEATED,
        Sample((2, 3, 4), {"repeats": (2,)}),
    ),
    formula="y1 = x1 repeated",
)
REPEAT_INTERLEAVE = _move(
    "repeat_interleave",
    torch.repeat_interleave,
    repeat_interleave,
    reduced=_reduced.expanded,
    local=repeated,
    methods=("repeat_interleave",),
    functions=(_ATEN.repeat_interleave.self_int,),
    samples=(Sample(kwargs={"repeats": 2, "dim": 2}), Sample(kwargs={"repeats": 3, "dim": -1})),
    formula="y1 = x1 repeated",
)
CAT = linear(
    "cat",
    torch.cat,
    cat,
    reduced=_reduced.joined,
    local=concatenation,
    functions=(torch.concat, torch.concatenate, _ATEN.cat.default),
    rank=_first,
    samples=(
        Sample(tensors={"other": (2, 5, 6, 7)}, call=_sides, independent_batch=False),
        Sample(call=lambda f, x: f((x, x * 0.5), -1)),
    ),
    formula="y1 = the operands side by side; a constant operand is an additive constant",
    source="the paper, eq. 7",
)
STACK = linear(
    "stack",
    torch.stack,
    stack,
    reduced=_reduced.stacked,
    local=stacking,
    functions=(_ATEN.stack.default,),
    rank=lambda rank, a: shift(_first(rank, a), 1),
    samples=(
        Sample(tensors={"other": (2, 3, 6, 7)}, call=_sides, independent_batch=False),
        Sample(call=lambda f, x: f((x, x * 0.5), -1)),
    ),
    formula="y1 = the operands stacked",
    source="the paper, eq. 7",
)
GETITEM = _move(
    "getitem",
    operator.getitem,
    getitem,
    reduced=taken,
    local=item,
    rank=_index_rank,
    asks=_asked_by_index,
    samples=(
        Sample(kwargs={"index": (slice(None), slice(0, 2), 1)}),
        Sample(kwargs={"index": (slice(None), None, slice(None), slice(1, None, 2))}),
        Sample(kwargs={"index": (Ellipsis, slice(0, 3))}),
        Sample(tensors={"index": _rows(4, high=3)}, call=lambda f, x, index: f(x, (slice(None), index))),
        Sample(kwargs={"index": (slice(None), [2, 0])}),
        Sample(call=lambda f, x: f(x, (slice(None), [2, 0, 2], slice(None), [1, 3, 1])).transpose(0, 1)),
    ),
    formula="y1 = x1 at the same places",
)
SELECT = _move(
    "select",
    _ATEN.select,
    select,
    reduced=_reduced.unbound,
    local=without_dim,
    methods=("select",),
    functions=(
        torch._C._VariableFunctions.select,
        _ATEN.select.int,
    ),
    rank=lambda rank, a: shift(rank(a["x"]), -1),
    samples=(Sample(kwargs={"dim": 1, "index": 2}), Sample(kwargs={"dim": -1, "index": -2})),
    formula="y1 = x1 at the same place",
)
NARROW = _move(
    "narrow",
    torch.narrow,
    narrow,
    reduced=_reduced.kept,
    local=narrowed,
    methods=("narrow",),
    functions=(_ATEN.narrow.default,),
    samples=(Sample(kwargs={"dim": 2, "start": 1, "length": 3}),),
    formula="y1 = x1 at the same places",
)
CHUNK = _move(
    "chunk",
    torch.chunk,
    chunk,
    reduced=_reduced.kept,
    local=part,
    methods=("chunk", "unsafe_chunk"),
    functions=(torch.unsafe_chunk, _ATEN.chunk.default, _ATEN.unsafe_chunk.default),
    yields="tensors",
    samples=(Sample(kwargs={"chunks": 2, "dim": 1}, call=_parts),),
    formula="y1 = parts of x1",
)
SPLIT = _move(
    "split",
    torch.split,
    split,
    reduced=_reduced.kept,
    local=part,
    methods=("split", "split_with_sizes"),
    functions=(_ATEN.split.Tensor, _ATEN.split.sizes, _ATEN.split_with_sizes.default),
    yields="tensors",
    samples=(
        Sample(
            kwargs={"split_size_or_sections": 2, "dim": 2}, call=_parts, spellings=("split", "split.Tensor")
        ),
        Sample(
            kwargs={"split_size_or_sections": [2, 4], "dim": 2},
            call=_parts,
            spellings=("split", "split_with_sizes", "split.sizes", "split_with_sizes.default"),
        ),
        Sample(
            kwargs={"split_size_or_sections": 3, "dim": 3}, call=_ends, spellings=("split", "split.Tensor")
        ),
    ),
    formula="y1 = parts of x1",
)
TENSOR_SPLIT = _move(
    "tensor_split",
    torch.tensor_split,
    tensor_split,
    reduced=_reduced.kept,
    local=part,
    methods=("tensor_split",),
    yields="tensors",
    samples=(
        Sample(
            kwargs={"sections": 3, "dim": -1},
            call=lambda f, x, sections, dim: (f(x, sections, dim)[0], f(x, sections, dim)[2]),
        ),
        Sample(kwargs={"sections": 3, "dim": 2}, call=_ends),
        Sample(kwargs={"sections": [2, 3], "dim": 2}, call=_ends),
    ),
    formula="y1 = parts of x1",
)


def _split_along(name, function, dim, shape):
    return composite(
        name,
        function,
        lambda x, sections: torch.tensor_split(x, sections, dim),
        "",
        methods=(name,),
        samples=(
            Sample(shape, {"sections": 2}, call=_parts, independent_batch=dim != 0),
            Sample(shape, {"sections": [1, 3]}, call=_ends, independent_batch=dim != 0),
        ),
        formula="y1 = parts of x1",
        source="the paper, eq. 7",
        **_BOUNDS,
    )


VSPLIT = _split_along("vsplit", torch.vsplit, 0, (4, 6))
HSPLIT = _split_along("hsplit", torch.hsplit, 1, (2, 6))
DSPLIT = _split_along("dsplit", torch.dsplit, 2, (2, 3, 6))
UNBIND = _move(
    "unbind",
    torch.unbind,
    unbind,
    reduced=_reduced.unbound,
    local=without_dim,
    methods=("unbind",),
    functions=(_ATEN.unbind.int,),
    yields="tensors",
    rank=lambda rank, a: shift(rank(a["x"]), -1),
    samples=(Sample(kwargs={"dim": 1}, call=_parts), Sample(kwargs={"dim": 1}, call=_ends)),
    formula="y1 = parts of x1",
)
INDEX_SELECT = _move(
    "index_select",
    _ATEN.index_select,  # torch.index_select is another function once PyTorch Geometric is imported
    index_select,
    reduced=_reduced.all_but("dim"),
    local=along_dim,
    methods=("index_select",),
    functions=(torch._C._VariableFunctions.index_select, _ATEN.index_select.default),
    samples=(Sample(kwargs={"dim": 2}, tensors={"index": _rows(4, high=6)}),),
    formula="y1 = x1 at the same places",
)
SLICE_SCATTER = _move(
    "slice_scatter",
    torch.slice_scatter,
    slice_scatter,
    local=sliced_over,
    methods=("slice_scatter",),
    functions=(_ATEN.slice_scatter.default,),
    carries=("x", "src"),
    samples=(
        Sample(
            kwargs={"dim": 2, "start": 1, "end": 5, "step": 2},
            tensors={"src": (2, 3, 2, 7)},
            independent_batch=False,
        ),
        Sample(call=lambda f, x: f(x, x[:, :2] * 3.0, 1, 1, 3)),
    ),
    formula="y1 = x1 with a part replaced",
)
SELECT_SCATTER = _move(
    "select_scatter",
    torch.select_scatter,
    select_scatter,
    local=one_place_over,
    methods=("select_scatter",),
    functions=(_ATEN.select_scatter.default,),
    carries=("x", "src"),
    samples=(
        Sample(kwargs={"dim": 1, "index": 1}, tensors={"src": (2, 6, 7)}, independent_batch=False),
        Sample(call=lambda f, x: f(x, x[:, 2] * 3.0, 1, 0)),
    ),
    formula="y1 = x1 with a part replaced",
)

DIAGONAL_SCATTER = _move(
    "diagonal_scatter",
    torch.diagonal_scatter,
    diagonal_scatter,
    methods=("diagonal_scatter",),
    functions=(_ATEN.diagonal_scatter.default,),
    carries=("x", "src"),
    samples=(
        Sample(
            (2, 3, 5, 5),
            kwargs={"offset": 1, "dim1": 2, "dim2": -1},
            tensors={"src": (2, 3, 4)},
            call=lambda f, x, src, offset, dim1, dim2: f(x, src, offset, dim1, dim2),
            independent_batch=False,
        ),
        Sample((2, 3, 5, 5), call=lambda f, x: f(x, x[..., 1] * 3.0, 0, 2, 3)),
    ),
    formula="y1 = x1 with a diagonal replaced",
)


def picked(x, indices):
    """x[i, :, j] as ATen has it: one index, or None, a dimension."""
    return x[tuple(slice(None) if i is None else i for i in indices)]


INDEX = composite(
    "index",
    _ATEN.index.Tensor,
    picked,
    "",
    samples=(
        Sample(tensors={"index": _rows(4, high=3)}, call=lambda f, x, index: f(x, [None, index])),
        Sample(tensors={"index": _rows(4, high=6)}, call=lambda f, x, index: f(x, [None, None, index])),
    ),
    formula="y1 = x1 at the same places",
    source="the paper, eq. 7",
    **_BOUNDS,
)
