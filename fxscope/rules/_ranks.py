"""Numbers of dimensions, where some are known only up to a rank that is not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST = 64  # the most dimensions that a tensor may have in torch


@dataclass(frozen=True)
class Floating:
    """A rank not yet known: that of ``root`` (the name of a node) plus an offset.

    ``least`` and ``most`` are what is known of the sum.
    """

    root: str
    offset: int = 0
    least: int = field(default=0, compare=False)
    most: int = field(default=MOST, compare=False)


def shift(rank: Any, by: int) -> Any:
    """A rank plus an offset, whatever is known of it."""
    if isinstance(rank, Floating):
        return Floating(rank.root, rank.offset + by, rank.least + by, rank.most + by)
    return None if rank is None else rank + by


def limits(rank: Any) -> tuple[int, int]:
    """The least and the most that a rank can be."""
    if isinstance(rank, Floating):
        return rank.least, rank.most
    return (0, MOST) if rank is None else (rank, rank)


def at_least(rank: Any, other: Any) -> bool:
    """Whether one rank is known to be no less than another."""
    if isinstance(rank, Floating) and rank == other:
        return True
    if isinstance(rank, Floating) and isinstance(other, Floating) and rank.root == other.root:
        return rank.offset >= other.offset
    return limits(rank)[0] >= limits(other)[1]


def widest(*ranks: Any) -> Any:
    """The rank of a broadcast of values of these ranks; None where the graph does not tell."""
    return next((r for r in ranks if r is not None and all(at_least(r, other) for other in ranks)), None)


@dataclass(frozen=True)
class Broadcast:
    """The ``rank`` of a rule whose operands broadcast together: the arguments of these names, or all."""

    names: tuple[str, ...] = ()

    def operands(self, a: dict) -> list[Any]:
        """The operands of a call; an optional one that is not given is none."""
        return [a[name] for name in self.names or a if a[name] is not None]

    def __call__(self, rank: Any, a: dict) -> Any:
        """The rank of the widest operand."""
        return widest(*(rank(v) for v in self.operands(a)))


def reduced_rank(rank: Any, a: dict) -> Any:
    """The rank of a reduction of ``a["x"]`` over ``a["dim"]``."""
    if a["keepdim"]:
        return rank(a["x"])
    if a["dim"] in (None, [], ()):
        return 0
    return shift(rank(a["x"]), -(len(a["dim"]) if isinstance(a["dim"], (list, tuple)) else 1))
