"""Lists of sizes, entry by entry: y.shape, y.shape[:2] + (1, 1), (1,) * y.dim()."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch.fx as fx

from ._ranks import shift

Rank = Callable[[Any], Any]  # the number of dimensions of a value: an int, a ``Floating`` or None


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
    if value.target not in (operator.add, operator.sub, operator.mul, operator.floordiv):
        return None
    numbers = [_number(rank, v) for v in value.args]
    return None if None in numbers else value.target(*numbers)  # type: ignore[operator]  # one of the above
