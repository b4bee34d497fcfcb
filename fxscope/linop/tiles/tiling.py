"""How an output is divided into tiles, and the crop of x0 that each of them needs.

A tile is a box of outputs. Its halo is not a number that somebody gives: the crop is the box of x0 from
which the outputs of the tile are computed, over all paths, those to decisions included, as the graph tells
it. It begins where the grids of strides and upsampling begin, ends at the border of x0 where the tile lies
there, and is proved to compute the same numbers at the outputs of the tile (``linop/local/locality.py``).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx

from ..interpreter import LinearInterpreter
from ..local.crop import Intervals, Whole, box_of
from ..local.locality import Interval, grain, needed, touched_by

Window = tuple[Interval, Interval]  # of the two axes of the output
STRIP = 64  # rows that are looked at together


@dataclass(frozen=True)
class Tile:
    """A box of outputs, and the interpreter of the crop of x0 from which they are computed.

    Attributes
    ----------
    lin : LinearInterpreter
        The interpreter of the crop.
    inputs : tuple of slice
        The crop in x0, (C, H, W). Crops of neighbours overlap.
    outputs : tuple of slice
        The tile in y0, (C, H, W). Tiles do not overlap, and cover y0.
    inside : tuple of slice
        The same outputs in those of the crop, the others of which are wrong near the cut.
    """

    lin: LinearInterpreter
    inputs: tuple[slice, ...]
    outputs: tuple[slice, ...]
    inside: tuple[slice, ...]


@dataclass
class Tiling:
    """The tiles of a network on an image, about ``size`` pixels of x0 to a side."""

    whole: Whole
    size: int
    lines: list[list[Interval]] = field(init=False)

    def __post_init__(self) -> None:
        self.lines = [self._line(d) for d in (2, 3)]

    @functools.cached_property
    def windows(self) -> list[Window]:
        """All tiles, row by row."""
        return [(rows, columns) for rows in self.lines[0] for columns in self.lines[1]]

    def _line(self, d: int) -> list[Interval]:
        """The first and the last output of every tile along an axis."""
        whole, count = self.whole, self.whole.outputs[d - 1]
        if d not in whole.traced.follows[whole.output]:
            return [(0, count - 1)]
        step = grain(whole.traced)
        pixels = -(-self.size // step) * step  # crops of inner tiles are of one size
        each = max(1, math.floor(pixels * whole.traced.rates[whole.output, d]))
        return [(first, min(first + each, count) - 1) for first in range(0, count, each)]

    def box(self, window: Window) -> Intervals:
        """A window by the dimensions of the output that follow the image."""
        follows = self.whole.traced.follows[self.whole.output]
        return {d: ends for d, ends in zip((2, 3), window) if d in follows}

    def crop(self, window: Window) -> tuple[tuple[slice, ...], tuple[slice, ...], dict[int, int]]:
        """(the crop of x0, the window in its outputs, where the crop begins) of a window of outputs."""
        box, start = box_of(self.whole, self.needs(window))
        shifts = [self.whole.shift(d, start) for d in (2, 3)]
        inside = [slice(a - s, b + 1 - s) for (a, b), s in zip(window, shifts)]
        return box, (slice(0, self.whole.outputs[0]), *inside), start

    def needs(self, window: Window) -> dict[fx.Node, Intervals]:
        """The places of every node from which a window of outputs is computed."""
        return needed(self.whole.traced, self.whole.output, self.box(window))

    def outputs(self, window: Window) -> tuple[slice, ...]:
        """A window as slices of (C, H, W)."""
        return (slice(0, self.whole.outputs[0]), *(slice(a, b + 1) for a, b in window))

    def of_outputs(self, u: torch.Tensor) -> list[Window]:
        """The windows that hold all of u, (C, H, W), that is not 0: one if it is small, or some tiles."""
        extent = extent_of(u)
        if extent is None:
            return []
        if all(b - a < line[0][1] - line[0][0] + 1 for (a, b), line in zip(extent, self.lines)):
            return [extent]
        return [w for w in self.windows if all(_meet(a, b) for a, b in zip(w, extent))]

    def of_inputs(self, v: torch.Tensor) -> list[Window]:
        """The windows of all outputs that can read what is not 0 in v, (C, H, W)."""
        extent, whole = extent_of(v), self.whole
        if extent is None:
            return []
        found = touched_by(whole.traced, whole.image, whole.output, dict(zip((2, 3), extent)))
        if found is None:
            return []
        ends = [found.get(d, (0, n - 1)) for d, n in zip((2, 3), whole.outputs[1:])]
        if all(b - a < line[0][1] - line[0][0] + 1 for (a, b), line in zip(ends, self.lines)):
            return [(ends[0], ends[1])]
        return [w for w in self.windows if all(_meet(a, b) for a, b in zip(w, ends))]

    def own(self, window: Window, node: fx.Node, shape: tuple[int, ...]) -> tuple[slice, ...] | None:
        """The places of a node (1, ..., H, W) in a whole image that this tile needs and none before it.

        None if it has none of its own.
        """
        needs, follows = self.needs(window).get(node), self.whole.traced.follows[node]
        if needs is None:
            return None
        found = [slice(0, n) for n in shape]
        for d, image in follows.items():
            first, last = needs[d]
            at, line = window[image - 2], self.lines[image - 2]
            number = line.index(at)
            if number:
                before = self._beside(window, image, line[number - 1])
                first = max(first, self.needs(before)[node][d][1] + 1)
            if first > last:
                return None
            found[d] = slice(first, last + 1)
        return tuple(found)

    @staticmethod
    def _beside(window: Window, image: int, ends: Interval) -> Window:
        return (ends, window[1]) if image == 2 else (window[0], ends)


def _meet(a: Interval, b: Interval) -> bool:
    return a[0] <= b[1] and b[0] <= a[1]


def extent_of(image: torch.Tensor) -> Window | None:
    """The smallest box, (rows, columns), around what is not 0 in (C, H, W); None if all is.

    Of a dense image one strip at each side is read.
    """
    rows = _ends(image, 1)
    if rows is None:
        return None
    columns = _ends(image[:, rows[0] : rows[1] + 1], 2)
    assert columns is not None
    return rows, columns


def _ends(image: torch.Tensor, d: int) -> Interval | None:
    """The first and the last place of a dimension at which something is not 0."""
    n, found = image.shape[d], []
    starts: Any = range(0, n, STRIP)
    for order in (starts, reversed(starts)):
        for start in order:
            strip = image.narrow(d, start, min(STRIP, n - start))
            some = strip.ne(0).any(dim=3 - d).any(dim=0)
            if some.any():
                places = some.nonzero()[:, 0] + start
                found.append((int(places[0]), int(places[-1])))
                break
        else:
            return None
    return found[0][0], found[1][1]
