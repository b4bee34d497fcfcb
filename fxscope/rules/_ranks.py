"""Numbers of dimensions, where some are known only up to the rank of an input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
        # an input has a batch and one more dimension at least; beyond that the graph alone does not tell which is wider
        return widest_input if max(known, default=0) <= 2 + widest_input.offset else None
    return max(known, default=None)


def reduced_rank(rank: Any, a: dict) -> Any:
    """The rank of a reduction of ``a["x"]`` over ``a["dim"]``."""
    if a["keepdim"]:
        return rank(a["x"])
    if a["dim"] in (None, [], ()):
        return 0
    return shift(rank(a["x"]), -(len(a["dim"]) if isinstance(a["dim"], (list, tuple)) else 1))
