"""Paths of the freeze edges, from the original branch across the gap to the interpreter branch."""

from __future__ import annotations

from dataclasses import dataclass

from .geometry import CHANNEL, GAP, Geometry
from .operations import Name, Picture
from .paths import TIP, Way

PITCH, LANE, TURN = 14.0, 9.0, 6.0


@dataclass(frozen=True)
class Caption:
    """The label of a freeze edge at (x, y), and the number of operations that carry it."""

    x: float
    y: float
    label: str
    count: int


@dataclass(frozen=True)
class _Edge:
    """One label of a freeze edge; ``shift`` separates the edges that lead to the same box."""

    source: Name
    target: Name
    label: str
    count: int
    number: int
    shift: float


def freeze_ways(picture: Picture, g: Geometry) -> tuple[list[Way], list[Caption]]:
    """One path and one caption for each label of each freeze edge."""
    ways, captions, lanes = [], [], _Lanes()
    for edge in _edges(picture, g):
        end, tail = _end(g, edge)
        start, head = _start(g, edge, end)
        gap = g.inner[edge.source[0]]
        lane = gap + 12 + LANE * (lanes.take(start, end) if abs(start - end) > 1 else 0)
        ways.append(Way(edge.source, edge.target, f"{head}{_step(start, end, lane)}{tail}", edge.label))
        captions.append(Caption(gap + GAP / 2, end, edge.label, edge.count))
    return ways, captions


def _edges(picture: Picture, g: Geometry) -> list[_Edge]:
    """The edges; those into one box are ordered by the row of their source, one below another."""
    into: dict[Name, list] = {}
    for (source, target), carried in sorted(picture.freezes.items(), key=lambda item: g.row(item[0][0])):
        into.setdefault(target, []).extend(
            (source, label, count, number) for number, (label, count) in enumerate(sorted(carried.items()))
        )
    edges = []
    for target, arriving in into.items():
        pitch = min(PITCH, (g.rectangles[target][3] - 4) / max(1, len(arriving) - 1))
        for i, (source, label, count, number) in enumerate(arriving):
            edges.append(_Edge(source, target, label, count, number, pitch * (i - (len(arriving) - 1) / 2)))
    return edges


def _start(g: Geometry, edge: _Edge, end: float) -> tuple[float, str]:
    """The height at which an edge enters the gap, and its path up to there.

    The path leaves the side of a box that faces the gap, or else runs through the channel below its row.
    """
    x, y, w, h = g.rectangles[edge.source]
    if g.is_inner(edge.source):
        level = end if y + 2 <= end <= y + h - 2 else y + h / 2
        return level, f"M{x + w:.1f} {level:.1f}"
    under = _channel(g, edge.source, edge)
    out = x + 0.8 * w + 5 * edge.number
    return under, f"M{out:.1f} {y + h:.1f}V{under:.1f}"


def _end(g: Geometry, edge: _Edge) -> tuple[float, str]:
    x, y, w, h = g.rectangles[edge.target]
    if g.is_inner(edge.target):
        return y + h / 2 + edge.shift, f"H{x - TIP:.1f}"
    under = _channel(g, edge.target, edge)
    return under, f"H{x + 0.2 * w - 5 * edge.number:.1f}V{y + h + TIP:.1f}"


def _channel(g: Geometry, name: Name, edge: _Edge) -> float:
    row = g.row(name)
    return g.bottoms[row] + 10 + CHANNEL * (g.channels[row, (edge.source, edge.target)] + edge.number)


def _step(a: float, b: float, lane: float) -> str:
    """The path from height a to height b at x = lane, with rounded corners."""
    if abs(a - b) < 0.5:
        return ""
    down = 1 if b > a else -1
    turn = min(TURN, abs(b - a) / 2)
    return (
        f"H{lane - turn:.1f}Q{lane:.1f} {a:.1f} {lane:.1f}"
        f" {a + down * turn:.1f}V{b - down * turn:.1f}Q{lane:.1f} {b:.1f} {lane + turn:.1f} {b:.1f}"
    )


class _Lanes:
    """Lanes in the gap for edges that change height: an edge takes the first lane that is free along it."""

    def __init__(self):
        self.taken: list[list[tuple[float, float]]] = []

    def take(self, a: float, b: float) -> int:
        low, high = min(a, b), max(a, b)
        lane = next(
            (i for i, spans in enumerate(self.taken) if all(high < s or low > t for s, t in spans)),
            len(self.taken),
        )
        if lane == len(self.taken):
            self.taken.append([])
        self.taken[lane].append((low, high))
        return lane % 4
