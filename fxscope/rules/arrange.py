"""Operators that only move entries: their dimensions shift by one behind the probes' K."""

import operator

import torch
from torch import nn

from ..twins import Concat, Dims, Expand, Identity, Index, Item, Repeat, Reshape, Stack, shifted
from ..twins import Constant as ConstantTwin
from ._ranks import shift
from .declare import Sample, linear

_SAME = (Sample(),)


def reshape(x, shape, *, call):
    given = call.arguments["shape"]
    if isinstance(given, (list, tuple)):
        return Reshape(shape)
    # the sizes of another tensor, as a list: one by one, since a Size is a tuple in Python and a list in TorchScript
    rank = call.facts.need_rank(call.node, "reshape to another tensor's size")
    return Reshape([shape[d] for d in range(rank)])


def flatten(x, start_dim=0, end_dim=-1):
    return Dims(torch.flatten, (shifted(start_dim), shifted(end_dim)))


def unflatten(x, dim, sizes):
    return Dims(torch.unflatten, (shifted(dim), sizes))


def permute(x, dims):
    return Dims(torch.permute, ([0, *shifted([d % len(dims) for d in dims])],))


def transpose(x, dim0, dim1):
    return Dims(torch.transpose, (shifted(dim0), shifted(dim1)))


def t(x):
    return Dims(torch.transpose, (-1, -2))


def squeeze(x, dim=None, *, call):
    if dim is not None:
        return Dims(torch.squeeze, (shifted(dim),))
    return Reshape(_sizes_of_output(call))


def _sizes_of_output(call):
    rank = call.facts.need_rank(call.node, "squeeze without a dimension")
    y = torch.fx.Proxy(call.node, torch.fx.proxy.GraphAppendingTracer(call.node.graph))
    return [y.size(d) for d in range(rank)]


def unsqueeze(x, dim):
    return Dims(torch.unsqueeze, (shifted(dim),))


def flip(x, dims):
    return Dims(torch.flip, (shifted(list(dims) if isinstance(dims, (list, tuple)) else [dims]),))


def roll(x, shifts, dims=None):
    if dims is None:
        raise TypeError("roll without dims flattens the batch; name the dimensions")
    return Dims(torch.roll, (shifts, shifted(dims)))


def identity(x):
    return Identity()


def view_as(x, other):
    raise AssertionError("expanded before it is rewritten")


def expand(x, size, *, call):
    rank = call.need_rank("x")
    return Expand(size, lift=len(size) - rank)


def expand_as(x, other, *, call):
    rank = call.facts.need_rank(call.arguments["other"], "expand_as")
    return Expand([other.size(d) for d in range(rank)], lift=rank - call.need_rank("x"))


def repeat(x, repeats, *, call):
    return Repeat(repeats, lift=len(repeats) - call.need_rank("x"))


def repeat_interleave(x, repeats, dim=None):
    if dim is None:
        raise TypeError("repeat_interleave without dim flattens the batch; name the dimension")
    return Dims(torch.repeat_interleave, (repeats, shifted(dim)))


def _operands(tensors, call):
    """Tape values of a list of operands; constants become constant twins, seen by every probe."""
    values = call.values("tensors")
    return [v if v is not None else call.record(ConstantTwin(x, call.facts.rank(n)), []) for v, x, n in zip(values, tensors, call.arguments["tensors"])]


def cat(tensors, dim=0, *, call):
    return Concat(dim), _operands(tensors, call)


def stack(tensors, dim=0, *, call):
    return Stack(dim), _operands(tensors, call)


def getitem(x, index, *, call):
    source = call.arguments["x"]
    if yields(source) == "values":
        return None, [call.value("x")]
    if yields(source) == "tensors":
        return Item(index)
    return Index(index)


def yields(node):
    """What a node gives: "tensor", "tensors" or "values"."""
    from . import registry
    from ..ir import info

    rule = registry().rules.get(info(node).rule)
    return "tensor" if rule is None else rule.yields


def select(x, dim, index):
    return Dims(torch.select, (shifted(dim), index))


def narrow(x, dim, start, length):
    return Dims(torch.narrow, (shifted(dim), start, length))


def chunk(x, chunks, dim=0):
    return Dims(torch.chunk, (chunks, shifted(dim)))


def split(x, split_size_or_sections, dim=0):
    return Dims(torch.split, (split_size_or_sections, shifted(dim)))


def unbind(x, dim=0):
    return Dims(torch.unbind, (shifted(dim),))


def index_select(x, dim, index):
    return Dims(torch.index_select, (shifted(dim), index))


def slice_scatter(x, src, dim=0, start=None, end=None, step=1, *, call):
    return _scatter(call, torch.slice_scatter, (shifted(dim), start, end, step))


def select_scatter(x, src, dim, index, *, call):
    return _scatter(call, torch.select_scatter, (shifted(dim), index))


def _scatter(call, function, args):
    inputs = []
    for name in ("x", "src"):
        value = call.value(name)
        inputs.append(value if value is not None else call.record(ConstantTwin(call.proxy(name), call.rank(name)), []))
    return Dims(function, args), inputs


def _reshape_rank(rank, a):
    shape = a["shape"]
    if isinstance(shape, (list, tuple)):
        return len(shape)
    return rank(shape.args[0]) if shape.target == "size" and len(shape.args) == 1 else None


def _flatten_rank(rank, a):
    r, s, e = rank(a["x"]), a["start_dim"], a["end_dim"]
    if s >= 0 and e == -1:
        return s + 1
    return r - ((e % r) - (s % r)) if isinstance(r, int) else None


def _index_rank(rank, a):
    if yields(a["x"]) == "tensors":
        return rank(a["x"])
    key = a["index"] if isinstance(a["index"], tuple) else (a["index"],)
    change = sum(1 if k is None else -1 if isinstance(k, (int, torch.fx.Node)) else 0 for k in key)
    return shift(rank(a["x"]), change)


_BOUNDS = dict(interval=lambda bound, a: bound(a["x"]))


def _move(name, target, twin, **fields):
    return linear(name, target, twin, source="the paper, eq. 7 (a permutation of entries)", **_BOUNDS, **fields)


RESHAPE = _move("reshape", torch.reshape, reshape, methods=("reshape", "view"), variadic=True, rank=_reshape_rank, samples=(Sample((2, 3, 4, 5), {"shape": (2, 12, 5)}),), formula="y1 = x1 reshaped")
VIEW_AS = _move("view_as", "view_as", view_as, methods=("reshape_as",), expand=lambda x, other: torch.reshape(x, other.size()), rank=lambda rank, a: rank(a["other"]), formula="y1 = x1 reshaped")
EXPAND_AS = _move("expand_as", "expand_as", expand_as, ignores=("other",), rank=lambda rank, a: rank(a["other"]), formula="y1 = x1 broadcast")
FLATTEN = _move("flatten", torch.flatten, flatten, methods=("flatten",), modules={nn.Flatten: None}, functions=(torch.ops.aten.flatten.using_ints,), rank=_flatten_rank, samples=(Sample(kwargs={"start_dim": 1}),), formula="y1 = x1 flattened")
UNFLATTEN = _move("unflatten", torch.unflatten, unflatten, methods=("unflatten",), modules={nn.Unflatten: lambda m: {"dim": m.dim, "sizes": m.unflattened_size}}, rank=lambda rank, a: shift(rank(a["x"]), len(a["sizes"]) - 1), samples=(Sample((2, 6, 5), {"dim": 1, "sizes": (2, 3)}, module={"dim": 1, "unflattened_size": (2, 3)}),), formula="y1 = x1 unflattened")
PERMUTE = _move("permute", torch.permute, permute, methods=("permute",), variadic=True, rank=lambda rank, a: len(a["dims"]), samples=(Sample(kwargs={"dims": (0, 2, 3, 1)}),), formula="y1 = x1 permuted")
TRANSPOSE = _move("transpose", torch.transpose, transpose, methods=("transpose", "swapaxes"), functions=(torch.swapaxes,), samples=(Sample(kwargs={"dim0": 1, "dim1": 2}), Sample(kwargs={"dim0": -1, "dim1": -2})), formula="y1 = x1 transposed")
T = _move("t", torch.t, t, methods=("t",), samples=(), formula="y1 = x1 transposed")
SQUEEZE = _move("squeeze", torch.squeeze, squeeze, methods=("squeeze",), rank=lambda rank, a: shift(rank(a["x"]), -(len(a["dim"]) if isinstance(a["dim"], (list, tuple)) else 1)) if a["dim"] is not None else None, samples=(Sample((2, 3, 1, 4), {"dim": 2}),), formula="y1 = x1 squeezed")
UNSQUEEZE = _move("unsqueeze", torch.unsqueeze, unsqueeze, methods=("unsqueeze",), rank=lambda rank, a: shift(rank(a["x"]), 1), samples=(Sample(kwargs={"dim": 1}), Sample(kwargs={"dim": -1})), formula="y1 = x1 unsqueezed")
FLIP = _move("flip", torch.flip, flip, methods=("flip",), variadic=True, samples=(Sample(kwargs={"dims": (2, -1)}),), formula="y1 = x1 flipped")
ROLL = _move("roll", torch.roll, roll, methods=("roll",), samples=(Sample(kwargs={"shifts": (1, -2), "dims": (2, 3)}),), formula="y1 = x1 rolled")
IDENTITY = _move("identity", torch.clone, identity, methods=("contiguous", "clone"), functions=(torch.ops.aten.clone.default,), samples=_SAME, formula="y1 = x1")
EXPAND = _move("expand", "expand", expand, variadic=True, rank=lambda rank, a: len(a["size"]), formula="y1 = x1 broadcast")
REPEAT = _move("tile", torch.tile, repeat, methods=("repeat",), variadic=True, rank=lambda rank, a: len(a["repeats"]), samples=(Sample((2, 3, 4), {"repeats": (1, 2, 3)}),), formula="y1 = x1 repeated")
REPEAT_INTERLEAVE = _move("repeat_interleave", torch.repeat_interleave, repeat_interleave, methods=("repeat_interleave",), samples=(Sample(kwargs={"repeats": 2, "dim": 2}),), formula="y1 = x1 repeated")
CAT = linear("cat", torch.cat, cat, functions=(torch.concat, torch.concatenate, torch.ops.aten.cat.default), rank=lambda rank, a: rank(a["tensors"][0]), formula="y1 = the operands side by side; a constant operand is an additive constant", source="the paper, eq. 7")
STACK = linear("stack", torch.stack, stack, functions=(torch.ops.aten.stack.default,), rank=lambda rank, a: shift(rank(a["tensors"][0]), 1), formula="y1 = the operands stacked", source="the paper, eq. 7")
GETITEM = _move("getitem", operator.getitem, getitem, rank=_index_rank, samples=(Sample(kwargs={"index": (slice(None), slice(0, 2), 1)}), Sample(kwargs={"index": (slice(None), None, slice(None), slice(1, None, 2))}), Sample(kwargs={"index": (Ellipsis, slice(0, 3))})), formula="y1 = x1 at the same places")
SELECT = _move("select", torch.select, select, methods=("select",), rank=lambda rank, a: shift(rank(a["x"]), -1), samples=(Sample(kwargs={"dim": 1, "index": 2}),), formula="y1 = x1 at the same place")
NARROW = _move("narrow", torch.narrow, narrow, methods=("narrow",), samples=(Sample(kwargs={"dim": 2, "start": 1, "length": 3}),), formula="y1 = x1 at the same places")
CHUNK = _move("chunk", torch.chunk, chunk, methods=("chunk",), yields="tensors", formula="y1 = parts of x1")
SPLIT = _move("split", torch.split, split, methods=("split",), functions=(torch.functional.split,) if torch.functional.split is not torch.split else (), yields="tensors", formula="y1 = parts of x1")
UNBIND = _move("unbind", torch.unbind, unbind, methods=("unbind",), yields="tensors", rank=lambda rank, a: shift(rank(a["x"]), -1), formula="y1 = parts of x1")
INDEX_SELECT = _move("index_select", torch.index_select, index_select, methods=("index_select",), formula="y1 = x1 at the same places")
SLICE_SCATTER = _move("slice_scatter", torch.slice_scatter, slice_scatter, methods=("slice_scatter",), carries=("x", "src"), formula="y1 = x1 with a part replaced")
SELECT_SCATTER = _move("select_scatter", torch.select_scatter, select_scatter, methods=("select_scatter",), carries=("x", "src"), formula="y1 = x1 with a part replaced")
