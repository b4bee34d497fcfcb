"""Positions in pixels: the two columns side by side, with the heights of their rows."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from .layout import Layout, layering, layout
from .operations import Box, Name, Picture

LINE, MARGIN, GAP, ROW_SPACE, CHANNEL, LEVEL, HEADING = 17.0, 24.0, 170.0, 21.0, 14.0, 5.0, 48.0
SHAPE = 9.0  # more space between rows if shapes stand there
NARROWEST, WIDEST, CROWDED, PADDING, STACK = 150.0, 330.0, 260.0, 10.0, 6.0
BOLD, REGULAR = 7.4, 6.9  # widths of a letter, in pixels


@dataclass
class Geometry:
    """Positions of all parts of a drawing, in pixels.

    Attributes
    ----------
    rectangles : dict
        {box: (x, y, width, height)}.
    tops, bottoms : list of float
        Heights of every row.
    inner, sign : dict
        For every column: x of the side that faces the other column, and the direction away from it.
    channels : dict
        {(row, freeze edge): level} of freeze edges that pass boxes below a row.
    levels : dict
        {(row, key): level} of data edges that run sideways below a row.
    space : float
        Height between two rows; more where shapes stand there.
    top, least : float
        Where the headings begin, below the legend, and the width that the legend needs.
    """

    layout: Layout
    box_width: float
    rectangles: dict[Name, tuple[float, float, float, float]] = field(default_factory=dict)
    tops: list[float] = field(default_factory=list)
    bottoms: list[float] = field(default_factory=list)
    inner: dict[str, float] = field(default_factory=dict)
    sign: dict[str, int] = field(default_factory=dict)
    channels: dict[tuple[int, tuple[Name, Name]], int] = field(default_factory=dict)
    levels: dict[tuple[int, str], int] = field(default_factory=dict)
    space: float = ROW_SPACE
    top: float = 0.0
    least: float = 0.0
    width: float = 0.0
    height: float = 0.0

    def x(self, branch: str, offset: float) -> float:
        """Page x of an offset from the inner side of a column."""
        return self.inner[branch] + self.sign[branch] * offset

    def row(self, name: Name) -> int:
        """The row of a box."""
        return self.layout.layer[name[1]]

    def is_inner(self, name: Name) -> bool:
        """Whether no box lies between this one and the other column."""
        return all(self.layout.x[key] >= self.layout.x[name[1]] for key in self._neighbours(name))

    def is_outer(self, name: Name) -> bool:
        """Whether no box lies between this one and the lanes beside the column."""
        return all(self.layout.x[key] <= self.layout.x[name[1]] for key in self._neighbours(name))

    def steps(self, upper: Name, lower: Name) -> list[tuple[int, float, float]]:
        """(row, x above, x below) for every row below which an edge runs."""
        xs = [self.layout.x[upper[1]], *self.trunk(upper, lower), self.layout.x[lower[1]]]
        found = [(self.row(upper) + i, a, b) for i, (a, b) in enumerate(itertools.pairwise(xs))]
        if len(xs) > 2:
            found = found[self.turns(upper, xs[1]) : len(found) - self.turns(lower, xs[-2])]
        return found

    def trunk(self, upper: Name, lower: Name) -> list[float]:
        """X of the trunk in every row between two boxes."""
        return self.layout.trunks.get(upper[1], [])[: self.row(lower) - self.row(upper) - 1]

    def turns(self, name: Name, trunk: float) -> bool:
        """Whether an edge uses the outer side of the box, because its trunk is outside of the box."""
        return self.is_outer(name) and trunk > self.layout.x[name[1]] + self.box_width / 2

    def _neighbours(self, name: Name) -> list[str]:
        return [key for key in self.layout.rows[self.row(name)] if (name[0], key) in self.rectangles]


def geometry(picture: Picture) -> Geometry:
    """The x of every box of a picture; ``stack`` adds the heights."""
    graph, layer = layering(picture)
    width = _box_width(picture, list(layer.values()))
    result = Geometry(layout(graph, layer, width), width)
    result.space += SHAPE * any(box.shape for box in picture.boxes.values())
    _columns(result, picture.branches())
    for name, box in picture.boxes.items():
        result.rectangles[name] = (
            result.x(name[0], result.layout.x[name[1]]) - width / 2,
            0.0,
            width,
            box_height(box),
        )
    return result


def stack(g: Geometry, picture: Picture, top: float) -> None:
    """Set the heights of the rows, from ``top`` down, with space for the freeze edges below them."""
    channels, levels = _channels(g, picture), _levels(g, picture)
    y = top
    for number, keys in enumerate(g.layout.rows):
        names = [(branch, key) for key in keys for branch in g.inner if (branch, key) in g.rectangles]
        height = max(g.rectangles[name][3] for name in names)
        for name in names:
            x, _, w, h = g.rectangles[name]
            g.rectangles[name] = (x, y + (height - h) / 2, w, h)
        g.tops.append(y)
        g.bottoms.append(y + height)
        y += height + g.space + CHANNEL * channels[number] + LEVEL * max(0, levels[number] - 1)
    g.height = y - g.space + MARGIN


def box_height(box: Box) -> float:
    """Height of a box with one or two lines of text, in pixels."""
    return LINE * (2 if box.detail else 1) + 9 + (STACK if box.stack else 0)


def _box_width(picture: Picture, rows: list[int]) -> float:
    """A width that holds every label, within limits that are tighter for three or more boxes side by side."""
    needed = max((_label_width(box) for box in picture.boxes.values()), default=0.0)
    crowded = any(rows.count(row) > 2 for row in set(rows))
    return min(CROWDED if crowded else WIDEST, max(NARROWEST, needed + 2 * PADDING))


def _label_width(box: Box) -> float:
    return max(BOLD * len(box.name) + REGULAR * (len(box.place) + 2), REGULAR * (len(box.detail) + 1)) + (
        STACK if box.stack else 0
    )


def _columns(g: Geometry, branches: list[str]) -> None:
    span = g.layout.width
    if len(branches) == 2:
        left, right = branches
        g.inner, g.sign = {left: MARGIN + span, right: MARGIN + span + GAP}, {left: -1, right: 1}
        g.width = 2 * MARGIN + 2 * span + GAP
    else:
        g.inner, g.sign = dict.fromkeys(branches, MARGIN), dict.fromkeys(branches, 1)
        g.width = 2 * MARGIN + span


def _channels(g: Geometry, picture: Picture) -> list[int]:
    """A level below its row for each freeze edge of a box that is not next to the gap."""
    used = [0] * len(g.layout.rows)
    for edge, carried in picture.freezes.items():
        rows = {g.row(name) for name in edge if not g.is_inner(name)}
        level = max((used[row] for row in rows), default=0)
        for row in rows:
            g.channels[row, edge] = level
            used[row] = level + len(carried)
    return used


def _levels(g: Geometry, picture: Picture) -> list[int]:
    """A level for each box whose data edges run sideways below a row, and the number of levels of a row."""
    along: dict[int, dict[str, None]] = {}  # in the order of the edges, so that ties are settled alike
    for name, other in picture.data:
        upper, lower = sorted((name, other), key=g.row)
        for row, a, b in g.steps(upper, lower):
            if is_wide(a, b):
                along.setdefault(row, {})[upper[1]] = None
    for row, keys in along.items():
        for level, key in enumerate(sorted(keys, key=lambda k: g.layout.x[k], reverse=True)):
            g.levels[row, key] = level
    return [len(along.get(row, ())) for row in range(len(g.layout.rows))]


def is_wide(a: float, b: float) -> bool:
    """Whether an edge from x = a to x = b in the next row is drawn as a step instead of a curve."""
    return abs(a - b) > 36
