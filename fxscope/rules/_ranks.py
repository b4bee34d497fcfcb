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
        return max(floating, key=lambda f: f.offset)
    return max(known, default=None)
