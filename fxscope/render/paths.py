"""Paths of the data edges: straight down a column, or along a trunk beside it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from .geometry import LEVEL, Geometry, is_wide
from .operations import Name, Picture

TURN, TIP, ABOVE = 6.0, 2.0, 11.0


@dataclass(frozen=True)
class Way:
    """An SVG path from one box to another; ``label`` is that of a freeze edge.

    ``joins`` says of a path upwards that it ends at a trunk, whose own path has the arrow.
    """

    source: Name
    target: Name
    d: str
    label: str = ""
    up: bool = False
    joins: bool = False


def data_ways(picture: Picture, g: Geometry) -> list[Way]:
    """A path for every data edge; the longest of the edges that share a trunk draws the trunk."""
    edges = [(a, b) if g.row(a) <= g.row(b) else (b, a) for a, b in picture.data]
    deepest: dict[Name, int] = {}
    for upper, lower in edges:
        deepest[upper] = max(deepest.get(upper, 0), g.row(lower))
    ways = []
    for (source, target), (upper, lower) in zip(picture.data, edges):
        whole, up = g.row(lower) == deepest[upper], upper != source
        joins = up and not whole and bool(g.trunk(upper, lower))
        ways.append(Way(source, target, _down(g, upper, lower, whole), up=up, joins=joins))
    return ways


def _down(g: Geometry, upper: Name, lower: Name, whole: bool) -> str:
    """The path from a box to a lower one, or from the trunk if another edge draws it."""
    x, y, w, h = g.rectangles[upper]
    trunk, first = g.trunk(upper, lower), g.row(upper) + 1
    if not trunk:
        return f"M{x + w / 2:.1f} {y + h:.1f}{_into_top(g, upper, lower, x + w / 2)}"
    ways = [g.x(upper[0], offset) for offset in trunk]
    if not whole:
        start = (
            g.rectangles[lower][1] + g.rectangles[lower][3] / 2 - TURN
            if g.turns(lower, trunk[-1])
            else g.bottoms[g.row(lower) - 1]
        )
        return f"M{ways[-1]:.1f} {start:.1f}{_arrive(g, upper, lower, trunk[-1])}"
    path = _leave(g, upper, trunk[0])
    for row, (a, b) in enumerate(itertools.pairwise(ways), first):
        path += f"V{g.bottoms[row]:.1f}{_step(g, upper, row, a, b)}"
    return path + _arrive(g, upper, lower, trunk[-1])


def _leave(g: Geometry, name: Name, trunk: float) -> str:
    """The path from a box into the trunk, from the outer side of the box or from its bottom."""
    x, y, w, h = g.rectangles[name]
    to, out, middle = g.x(name[0], trunk), g.sign[name[0]], y + h / 2
    if not g.turns(name, trunk):
        return f"M{x + w / 2:.1f} {y + h:.1f}{_step(g, name, g.row(name), x + w / 2, to)}"
    side = x + w if out > 0 else x
    return (
        f"M{side:.1f} {middle:.1f}H{to - out * TURN:.1f}Q{to:.1f} {middle:.1f} {to:.1f} {middle + TURN:.1f}"
    )


def _arrive(g: Geometry, upper: Name, name: Name, trunk: float) -> str:
    x, y, w, h = g.rectangles[name]
    start, out, middle = g.x(name[0], trunk), g.sign[name[0]], y + h / 2
    if not g.turns(name, trunk):
        return f"V{g.bottoms[g.row(name) - 1]:.1f}{_into_top(g, upper, name, start)}"
    side = x + w if out > 0 else x
    return (
        f"V{middle - TURN:.1f}Q{start:.1f} {middle:.1f} {start - out * TURN:.1f}"
        f" {middle:.1f}H{side + out * TIP:.1f}"
    )


def _into_top(g: Geometry, upper: Name, name: Name, start: float) -> str:
    x, y, w, _ = g.rectangles[name]
    return f"{_step(g, upper, g.row(name) - 1, start, x + w / 2)}V{y - TIP:.1f}"


def _step(g: Geometry, upper: Name, row: int, a: float, b: float) -> str:
    """The path from x = a to x = b in the space below a row, and down to the next row."""
    below = g.tops[row + 1]
    if abs(a - b) < 0.5:
        return ""
    if not is_wide(a, b):
        start = below - 20
        return f"V{start:.1f}C{a:.1f} {start + 10:.1f} {b:.1f} {start + 8:.1f} {b:.1f} {below - 3:.1f}"
    level = below - ABOVE - LEVEL * g.levels[row, upper[1]]
    side = TURN if b > a else -TURN
    return (
        f"V{level - TURN:.1f}Q{a:.1f} {level:.1f} {a + side:.1f} {level:.1f}H{b - side:.1f}Q{b:.1f}"
        f" {level:.1f} {b:.1f} {level + TURN:.1f}"
    )
