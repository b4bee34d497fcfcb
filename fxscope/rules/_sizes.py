"""Lists of sizes, entry by entry: y.shape, y.shape[:2] + (1, 1), (1,) * y.dim()."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.fx as fx

from ..graph.ir import stands_for_sizes
from ._ranks import Floating, shift

Rank = Callable[[Any], Any]  # the number of dimensions of a value: an int, a ``Floating`` or None
# the arguments that name dimensions of a tensor
COUNTED = (
    "dim",
    "dims",
    "dim0",
    "dim1",
    "dim2",
    "start_dim",
    "end_dim",
    "source",
    "destination",
    "dimension",
)
_ADDING = ("unsqueeze", "stack")  # they count the dimensions of what they give
_PYTHON = ("_operator", "builtins")
_NUMBERS = (operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg)


@dataclass(frozen=True)
class SizeOf:
    """The size of a tensor along one dimension."""

    x: fx.Node
    dim: int


def entries(rank: Rank, sizes: Any) -> list | None:
    """The entries of a list of sizes: ints, nodes and ``SizeOf``.

    None where the graph does not tell how many they are.
    """
    if isinstance(sizes, (list, tuple)):
        return list(sizes)
    if not isinstance(sizes, fx.Node):
        return None
    if sizes.target is operator.add:
        return _joined([entries(rank, part) for part in sizes.args])
    if sizes.target is operator.mul:
        return _repeated(rank, *sizes.args)
    if sizes.target is operator.getitem:
        return _sliced(rank, *sizes.args)
    x = tensor_of(sizes)
    known = None if x is None else rank(x)
    return [SizeOf(x, d) for d in range(known)] if x is not None and isinstance(known, int) else None


def count(rank: Rank, sizes: Any) -> Any:
    """How many entries a list of sizes has: an int, a ``Floating`` or None."""
    known = entries(rank, sizes)
    if known is not None:
        return len(known)
    start = 0
    if isinstance(sizes, fx.Node) and sizes.target is operator.getitem and _is_tail(sizes.args[1]):
        sizes, start = sizes.args[0], sizes.args[1].start or 0
    x = tensor_of(sizes)
    return None if x is None else shift(rank(x), -start)


def tensor_of(sizes: Any) -> fx.Node | None:
    """The tensor of x.size() or x.shape; None for other values."""
    if not isinstance(sizes, fx.Node):
        return None
    method = sizes.target == "size" and len(sizes.args) == 1 and not sizes.kwargs
    attribute = sizes.target is getattr and sizes.args[1] == "shape"
    x = sizes.args[0] if method or attribute else None
    return x if isinstance(x, fx.Node) else None


def unknown_in(rank: Rank, sizes: Any) -> fx.Node | None:
    """The first tensor whose number of dimensions would tell how many entries a list of sizes has."""
    x = tensor_of(sizes)
    if x is not None:
        return x if rank(x) is None else None
    inside = sizes.all_input_nodes if isinstance(sizes, fx.Node) else []
    found = (unknown_in(rank, n) if tensor_of(n) or not asks_rank(n) else n.args[0] for n in inside)
    return next((x for x in found if isinstance(x, fx.Node)), None)


def _is_tail(key: Any) -> bool:
    """Whether a slice takes everything behind a place that is counted from the front."""
    return (
        isinstance(key, slice)
        and key.stop is None
        and key.step is None
        and (key.start is None or (isinstance(key.start, int) and key.start >= 0))
    )


def counted(rank: Rank, rule: Any, arguments: dict) -> dict:
    """The arguments of a call, with dimensions computed from ranks (``x.dim() - 1``) as numbers."""
    if untold(arguments) is None:
        return arguments
    first = arguments.get(rule.carries[0]) if rule.carries else None
    first = first[0] if isinstance(first, (list, tuple)) and first else first
    whole = shift(rank(first), rule.name in _ADDING) if isinstance(first, fx.Node) else None
    return {name: _told(rank, v, whole) if name in COUNTED else v for name, v in arguments.items()}


def _told(rank: Rank, dims: Any, whole: Any) -> Any:
    if isinstance(dims, (list, tuple)):
        return [_told(rank, d, whole) for d in dims] if untold({"dims": dims}) else dims
    if not isinstance(dims, fx.Node):
        return dims
    level = _level(rank, dims)
    if isinstance(level, int):
        return level
    same = isinstance(level, Floating) and isinstance(whole, Floating) and level.root == whole.root
    behind = level.offset - whole.offset if same else 0  # counted from the end, which needs no rank
    return behind if behind < 0 else dims


def _level(rank: Rank, value: Any) -> Any:
    """A number computed from ranks: an int, a ``Floating`` or None."""
    known = _number(rank, value)
    if known is not None or not isinstance(value, fx.Node):
        return known
    if asks_rank(value):
        return rank(value.args[0])
    if value.target not in (operator.add, operator.sub):
        return None
    a, b = (_level(rank, v) for v in value.args)
    if isinstance(a, int) and value.target is operator.add:
        a, b = b, a
    return shift(a, b if value.target is operator.add else -b) if isinstance(b, int) else None


def untold(arguments: dict) -> fx.Node | None:
    """A node that computes which dimension of a tensor is meant; None where all are numbers."""
    found: list[fx.Node] = []
    for name in COUNTED:
        fx.node.map_arg(arguments.get(name), found.append)
    return found[0] if found else None


def rank_asked(node: Any) -> fx.Node | None:
    """The tensor whose number of dimensions a value is computed from; None for other values."""
    if not isinstance(node, fx.Node):
        return None
    if asks_rank(node):
        return node.args[0] if isinstance(node.args[0], fx.Node) else None
    if tensor_of(node) is not None:
        return tensor_of(node)
    sized = node.target is operator.getitem and not isinstance(node.args[1], slice)  # x.shape[0]
    if node.op != "call_function" or sized or getattr(node.target, "__module__", "") not in _PYTHON:
        return None
    return next((x for n in node.all_input_nodes if (x := rank_asked(n)) is not None), None)


def _joined(parts: list[list | None]) -> list | None:
    found: list = []
    for part in parts:
        if part is None:
            return None
        found += part
    return found


def _repeated(rank: Rank, a: Any, b: Any) -> list | None:
    """(1,) * n, with the list on either side."""
    for sizes, times in ((a, b), (b, a)):
        part, n = entries(rank, sizes), _number(rank, times)
        if part is not None and n is not None:
            return part * n
    return None


def _sliced(rank: Rank, sizes: Any, key: Any) -> list | None:
    if not isinstance(key, slice):
        return None
    start, stop, step = (None if v is None else _number(rank, v) for v in (key.start, key.stop, key.step))
    if [start, stop, step].count(None) != [key.start, key.stop, key.step].count(None):
        return None
    known = entries(rank, sizes)
    if known is not None:
        return known[start:stop:step]
    x = tensor_of(sizes)
    dims = _dims(start, stop) if step is None else None
    return None if x is None or dims is None else [SizeOf(x, d) for d in dims]


def _dims(start: int | None, stop: int | None) -> range | None:
    """The dimensions that a slice of sizes names, where it names the same ones of every tensor."""
    if stop is not None and stop >= 0 and (start or 0) >= 0:
        return range(start or 0, stop)
    if start is not None and start < 0 and (stop is None or stop < 0):
        return range(start, stop or 0)
    return None


def asks_rank(node: fx.Node) -> bool:
    """Whether a node is the number of dimensions of a value: x.dim(), x.ndim."""
    if node.target is getattr:
        return bool(node.args[1] == "ndim")
    return node.op == "call_method" and node.target in ("dim", "ndimension")


def _number(rank: Rank, value: Any) -> int | None:
    """A number that is written in the code, or computed from numbers of dimensions."""
    if isinstance(value, int):
        return value
    if not isinstance(value, fx.Node):
        return None
    if asks_rank(value):
        known = rank(value.args[0])
        return known if isinstance(known, int) else None
    if value.target not in _NUMBERS:
        return None
    numbers: list[Any] = [_number(rank, v) for v in value.args]
    return None if None in numbers else value.target(*numbers)  # type: ignore[operator]  # one of the above


def last_dims_of(sizes: Any, facts: Any, why: str) -> list[int]:
    """The last dimensions that a list of sizes names, counted from the end.

    The sizes are a list, or a slice of the sizes of a tensor (x.shape[-1:], x.shape[1:]).
    """
    if isinstance(sizes, (list, tuple)):
        return list(range(-len(sizes), 0))
    if not stands_for_sizes(sizes):
        raise TypeError(f"{why} takes a list of sizes")
    start, stop = 0, None
    if sizes.op == "call_function" and isinstance(sizes.args[1], slice):
        start, stop, sizes = sizes.args[1].start or 0, sizes.args[1].stop, sizes.args[0]
    asked = rank_asked(start)
    if asked is not None and stop is None:  # x.shape[x.dim() - 1 :]
        known = _told(facts.ranks, start, facts.ranks(sizes.args[0]) if stands_for_sizes(sizes) else None)
        if known is start:
            facts.need_rank(asked, why)
        start = known
    if stop is not None or not isinstance(start, int) or not stands_for_sizes(sizes):
        raise TypeError(f"{why} takes the last sizes of a tensor, x.shape[-1:] or x.shape[1:]")
    rank = 0 if start < 0 else facts.need_rank(sizes.args[0], why)
    return list(range(start - rank, 0))
