"""The numbers of one shard: rows, columns, or all rows of a tile of outputs inside of their windows.

A tile of a network whose decisions are local is computed from the crop of x0 that it needs, so that the time
of a whole F grows with its image, and not with its square. Inside of a tile either every row takes a reverse
pass, or inputs that no output reads together share a forward pass, whichever is less.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import NotFloating, NotLocal, ShapeError
from ..local.crop import Crops
from .layout import Box, Layout

if TYPE_CHECKING:
    from ..interpreter import LinearInterpreter
    from ..linear import Operator


@dataclass(frozen=True)
class Tile:
    """F on a crop, and where the crop begins in each dimension of x0 and of its output."""

    F: Operator
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


class Filler:
    """What computes the shards of one map."""

    def __init__(self, lin: LinearInterpreter, layout: Layout) -> None:
        self.lin, self.F, self.layout = lin, lin.F, layout
        self.crops = _crops_of(lin, layout) if layout.kind == "all" and layout.starts else None

    def shard(self, box: Box) -> torch.Tensor:
        """The numbers of the places of a box of the leading dimensions."""
        if self.layout.kind != "all":
            operator = self.F.T if self.layout.kind == "rows" else self.F
            found = operator.columns(list(self.layout.places[box[0]]), progress=False)
            return found.reshape(-1, *self.layout.tail)
        tile = self._tile(box)
        rows = math.prod(s.stop - s.start for s in box)
        columns = math.prod(map(len, _colours(self.layout, tile)))
        if columns <= rows:
            return _by_columns(self.layout, tile, box)
        return _by_rows(self.layout, tile, box)

    def _tile(self, box: Box) -> Tile:
        whole = Tile(self.F, (0,) * len(self.layout.inputs), (0,) * len(self.layout.outputs))
        if self.crops is None:
            return whole
        try:
            lin, start, shift = self.crops.at(_intervals(box))
        except NotLocal:  # at this place it does something else on a crop than on the whole image
            return whole
        if lin is None:
            return whole
        return Tile(lin.F, (0, start[2], start[3]), (0, shift[2], shift[3]))


def _intervals(box: Box) -> dict[int, tuple[int, int]]:
    return {d: (s.start, s.stop - 1) for d, s in enumerate(box, 1)}


def _crops_of(lin: LinearInterpreter, layout: Layout) -> Crops | None:
    """The interpreters of crops of x0, where a crop decides what the whole image does."""
    reader = lin.prepared.owner
    tapped = reader is None or reader.inputs_or_outputs
    if tapped or lin.prepared.draws or len(lin._args) != 1:
        return None
    if len(layout.lead) != 3:
        return None
    tiles = [layout.box_at([min(k, n - 1) for n in layout.grid]) for k in range(max(layout.grid))]
    try:
        return Crops(reader, lin._args[0], [_intervals(tile) for tile in tiles])
    except (NotLocal, NotFloating, ShapeError):
        return None


def _colours(layout: Layout, tile: Tile) -> list[list[list[int]]]:
    """For each dimension of the inputs, lists of places of the crop that share a pass.

    Windows that follow a dimension hold one place of each list.
    """
    found = []
    for axis, (n, first) in enumerate(zip(tile.F.inputs.shape, tile.inputs)):
        size = layout.window[axis]
        groups = [[i for i in range(n) if (first + i) % size == k] for k in range(size)]
        found.append([group for group in groups if group])
    return found


def _by_columns(layout: Layout, tile: Tile, box: Box) -> torch.Tensor:
    """All rows of a box from products with probes that are 1 at one place of every window."""
    F, rank = tile.F, len(box)
    sizes = [s.stop - s.start for s in box]
    block = torch.zeros(*sizes, *layout.window, dtype=F.outputs.dtype, device=F.device)
    inside = tuple(slice(s.start - at, s.stop - at) for s, at in zip(box, tile.outputs))
    lead = [torch.arange(n).reshape(_along(d, rank, n)) for d, n in enumerate(sizes)]
    passes = itertools.product(*_colours(layout, tile))
    while batch := list(itertools.islice(passes, F.chunk)):
        probes = F.inputs.zeros(len(batch))[0]
        for k, groups in enumerate(batch):
            probes[k][torch.meshgrid(*map(torch.tensor, groups), indexing="ij")] = 1
        results = F @ F.inputs.build([probes])
        for groups, result in zip(batch, results):
            where = [_offset(layout, box, a, g[0] + tile.inputs[a]) for a, g in enumerate(groups)]
            block[(*lead, *where)] = result[inside]
    return block


def _offset(layout: Layout, box: Box, axis: int, place: int) -> torch.Tensor:
    """Where a place, or one that shares a pass with it, lies in the windows of a box, along one dimension."""
    followed = layout.started(axis)
    if followed is None:
        return torch.tensor(place)
    d, first = followed
    found = torch.as_tensor((place - first[box[d]]) % layout.window[axis])
    return found.reshape(_along(d, len(box), len(found)))


def _along(d: int, rank: int, n: int) -> list[int]:
    return [n if e == d else 1 for e in range(rank)]


def _by_rows(layout: Layout, tile: Tile, box: Box) -> torch.Tensor:
    """All rows of a box, each by a reverse pass."""
    places = list(itertools.product(*(range(s.start, s.stop) for s in box)))
    inner = [tuple(p - at for p, at in zip(place, tile.outputs)) for place in places]
    found = torch.zeros(len(places), *layout.window, dtype=tile.F.inputs.dtype, device=tile.F.device)
    for k, (_, row) in enumerate(tile.F.iter_rows(inner, progress=False)):
        into, source = zip(*_overlaps(layout, tile, places[k]))
        found[(k, *into)] = row[tuple(source)]
    return found.reshape(*(s.stop - s.start for s in box), *layout.window)


def _overlaps(layout: Layout, tile: Tile, place: tuple[int, ...]) -> Iterator[tuple[slice, slice]]:
    """(part of the window, part of the crop) along each dimension that are the same places."""
    for axis, (n, first) in enumerate(zip(tile.F.inputs.shape, tile.inputs)):
        begin = window_start(layout, axis, place)
        low, high = max(begin, first), min(begin + layout.window[axis], first + n)
        yield slice(low - begin, high - begin), slice(low - first, high - first)


def window_start(layout: Layout, axis: int, place: Any) -> int:
    """The first place of the window of an output along one dimension of the inputs."""
    followed = layout.started(axis)
    return 0 if followed is None else int(np.asarray(followed[1])[place[followed[0]]])
