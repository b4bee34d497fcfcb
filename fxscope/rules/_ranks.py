"""Numbers of dimensions, where some are known only up to the rank of an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph.ir import stands_for_sizes


@dataclass(frozen=True)
class Floating:
    """The rank of an input not yet known, plus an offset."""

    root: str
    offset: int = 0


def shift(rank: Any, by: int) -> Any:
    """A rank plus an offset, whatever is known of it."""
    if isinstance(rank, Floating):
        return Floating(rank.root, rank.offset + by)
    return None if rank is None else rank + by


def widest(*ranks: Any) -> Any:
    """The rank of a broadcast of values of these ranks; None where the graph does not tell."""
    known = [r for r in ranks if isinstance(r, int)]
    floating = [r for r in ranks if isinstance(r, Floating)]
    if None in ranks or len({f.root for f in floating}) > 1:
        return None
    if floating:
        widest_input = max(floating, key=lambda f: f.offset)
        # an input has a batch and one more dimension at least; beyond that the graph alone does not tell
        # which is wider
        return widest_input if max(known, default=0) <= 2 + widest_input.offset else None
    return max(known, default=None)


def reduced_rank(rank: Any, a: dict) -> Any:
    """The rank of a reduction of ``a["x"]`` over ``a["dim"]``."""
    if a["keepdim"]:
        return rank(a["x"])
    if a["dim"] in (None, [], ()):
        return 0
    return shift(rank(a["x"]), -(len(a["dim"]) if isinstance(a["dim"], (list, tuple)) else 1))


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
    if stop is not None or not isinstance(start, int) or not stands_for_sizes(sizes):
        raise TypeError(f"{why} takes the last sizes of a tensor, x.shape[-1:] or x.shape[1:]")
    rank = 0 if start < 0 else facts.need_rank(sizes.args[0], why)
    return list(range(start - rank, 0))
