"""How F lies on disk: which array, where its windows begin, its chunks and shards.

The array ``values`` has leading dimensions, which count rows (or columns), and trailing ones, which are those
of one row. Shards divide the leading dimensions alone, so that a shard holds whole rows.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import WrongArgument
from ..index import several
from ..local.sparse import Support, checked_place

if TYPE_CHECKING:
    from ..linear import Operator

DTYPES = {"float16": torch.float16, "float32": torch.float32, "float64": torch.float64}
CHUNK, SHARD = 1 << 20, 1 << 26  # bytes; docs/how-to/on-disk.md has the measurements
Box = tuple[slice, ...]


@dataclass(frozen=True)
class Layout:
    """The array of a map.

    Attributes
    ----------
    kind : {"rows", "columns", "all"}
        Chosen rows, chosen columns, or every row inside of a window.
    inputs, outputs : tuple of int
        Shapes of F's spaces.
    places : tuple
        The chosen places of "rows" and "columns".
    starts : dict
        {dimension of the outputs: (dimension of the inputs, first place of the window of each output)}.
    window : tuple of int
        Sizes of a window, as large as the input where no output follows a dimension.
    dtype : str
        That of the numbers on disk.
    chunks, shards : tuple of int
        What is read, and what is written, at once.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]
    starts: dict[int, tuple[int, np.ndarray]]
    window: tuple[int, ...]
    dtype: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...]

    @property
    def lead(self) -> tuple[int, ...]:
        """Sizes of the leading dimensions."""
        return self.outputs if self.kind == "all" else (len(self.places),)

    @property
    def tail(self) -> tuple[int, ...]:
        """Sizes of the trailing dimensions: those of one row or column."""
        return {"rows": self.inputs, "columns": self.outputs, "all": self.window}[self.kind]

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each dimension, as xarray shows them; two of one name have one size."""
        if self.kind == "all":
            return (*named("out", self.outputs), *named("window", self.window))
        return ("place", *(named("in", self.inputs) if self.kind == "rows" else named("out", self.outputs)))

    @property
    def grid(self) -> tuple[int, ...]:
        """How many shards lie along each leading dimension."""
        return tuple(-(-n // size) for n, size in zip(self.lead, self.shards))

    @property
    def count(self) -> int:
        """The number of shards."""
        return math.prod(self.grid)

    def box(self, shard: int) -> Box:
        """The places of the leading dimensions that a shard holds."""
        return self.box_at([int(i) for i in np.unravel_index(shard, self.grid)])

    def box_at(self, at: Sequence[int]) -> Box:
        """The places that the shard at a place of the grid holds."""
        return tuple(
            slice(i * size, min((i + 1) * size, n)) for i, size, n in zip(at, self.shards, self.lead)
        )

    def file(self, root: Path, shard: int) -> Path:
        """The file of a shard."""
        at: list[Any] = [*np.unravel_index(shard, self.grid), *(0 for _ in self.tail)]
        return root / "values" / "c" / "/".join(str(int(i)) for i in at)

    def blocks(self, within: Box) -> Iterator[tuple[int, Box]]:
        """(shard, places) of parts of a box of the leading dimensions, a few MiB each, each in one shard."""
        rank, item = len(self.lead), np.dtype(self.dtype).itemsize
        most = 8 * CHUNK // max(1, math.prod(self.tail) * item)
        step = grown(self.chunks[:rank], self.shards[:rank], range(rank)[::-1], most)
        cuts = [_cuts(s, size, part) for s, size, part in zip(within, self.shards, step)]
        for parts in itertools.product(*cuts):
            shard = int(np.ravel_multi_index([at for at, _ in parts], self.grid))
            yield shard, tuple(part for _, part in parts)

    def started(self, axis: int) -> tuple[int, np.ndarray] | None:
        """(dimension of the outputs, starts) of the dimension that windows follow along an input's."""
        return next(((d, first) for d, (a, first) in self.starts.items() if a == axis), None)

    def described(self) -> dict[str, Any]:
        """The layout as JSON holds it."""
        return {
            "kind": self.kind,
            "inputs": list(self.inputs),
            "outputs": list(self.outputs),
            "places": [list(p) for p in self.places],
            "starts": {str(d): [axis, first.tolist()] for d, (axis, first) in self.starts.items()},
            "window": list(self.window),
            "stored": self.dtype,
            "chunks": list(self.chunks),
            "shards": list(self.shards),
        }

    @classmethod
    def read(cls, header: dict[str, Any]) -> Layout:
        """The layout that ``described`` wrote."""
        starts = {int(d): (axis, np.array(first)) for d, (axis, first) in header["starts"].items()}
        lists = (tuple(header[n]) for n in ("inputs", "outputs", "places", "window", "chunks", "shards"))
        inputs, outputs, places, window, chunks, shards = lists
        places = tuple(map(tuple, places))
        return cls(header["kind"], inputs, outputs, places, starts, window, header["stored"], chunks, shards)


def layout_of(F: Operator, rows: Any, columns: Any, dtype: str) -> Layout:
    """The layout of chosen rows or columns, or of all of F."""
    if rows is not None and columns is not None:
        raise WrongArgument("to_zarr writes rows= or columns=, or all of F if neither is given; got both")
    inputs, outputs = F.inputs.shape, F.outputs.shape
    if rows is None and columns is None:
        starts, window = _windows(F._supported())
        return _made("all", inputs, outputs, (), starts, window, dtype)
    kind, given, space = ("rows", rows, F.outputs) if columns is None else ("columns", columns, F.inputs)
    places = tuple(checked_place(i, space.shape) for i in several(given, space.name))
    if not places or len(set(places)) < len(places):
        raise WrongArgument(f"to_zarr: {kind} are a list of different places, at least one")
    return _made(kind, inputs, outputs, places, {}, (), dtype)


def _made(
    kind: str,
    inputs: tuple[int, ...],
    outputs: tuple[int, ...],
    places: tuple,
    starts: dict[int, tuple[int, np.ndarray]],
    window: tuple[int, ...],
    dtype: str,
) -> Layout:
    found = Layout(kind, inputs, outputs, places, starts, window, dtype, (), ())
    item, lead, tail = np.dtype(dtype).itemsize, found.lead, found.tail
    row = math.prod(tail) * item
    order = [*starts, *(d for d in range(len(lead)) if d not in starts)]  # square tiles of an image first
    inner = grown([1] * len(lead), lead, order, CHUNK // max(1, row))
    within = grown([1] * len(tail), tail, range(len(tail))[::-1], CHUNK // item) if row > CHUNK else tail
    outer = grown(inner, lead, order, SHARD // max(1, row))
    whole = tuple(-(-n // c) * c for n, c in zip(tail, within))
    return Layout(kind, inputs, outputs, places, starts, window, dtype, (*inner, *within), (*outer, *whole))


def grown(least: Sequence[int], most: Sequence[int], order: Any, limit: int) -> tuple[int, ...]:
    """Sizes from ``least``, doubled in turn, the smallest first, while they hold at most ``limit`` numbers.

    ``order`` has the dimensions, the first ones to be doubled first among equals. Each size is a multiple of
    ``least``, and reaches at most to the first multiple that covers ``most``.
    """
    sizes, groups = list(least), list(order)
    ends = [-(-n // size) * size for n, size in zip(most, least)]
    while True:
        free = [d for d in groups if sizes[d] < ends[d]]
        free = [d for d in free if math.prod(sizes) // sizes[d] * min(2 * sizes[d], ends[d]) <= limit]
        if not free:
            return tuple(sizes)
        d = min(free, key=lambda d: (sizes[d], groups.index(d)))
        sizes[d] = min(2 * sizes[d], ends[d])


def _windows(support: Support) -> tuple[dict[int, tuple[int, np.ndarray]], tuple[int, ...]]:
    """Where the window of each output begins, and its sizes; windows lie inside of the input."""
    starts, window = {}, list(support.inputs)
    for d, reach in support.reach.items():
        n = support.inputs[reach.axis]
        some = reach.first <= reach.last
        size = int((reach.last - reach.first + 1)[some].max()) if some.any() else 1
        window[reach.axis] = min(size, n)
        starts[d] = reach.axis, np.where(some, reach.first, 0).clip(0, n - window[reach.axis])
    return starts, tuple(window)


def _cuts(within: slice, size: int, step: int) -> list[tuple[int, slice]]:
    """(shard, part) along one dimension: at each multiple of ``step`` from the beginning of each shard."""
    found, at = [], within.start
    while at < within.stop:
        shard = at // size
        inside = (at - shard * size) // step + 1
        end = min(within.stop, (shard + 1) * size, shard * size + inside * step)
        found.append((shard, slice(at, end)))
        at = end
    return found


def named(space: str, shape: Sequence[int]) -> tuple[str, ...]:
    """Names of the dimensions of a space: channels, rows and columns of an image, else numbers."""
    ends = "cyx" if len(shape) == 3 else [str(d) for d in range(len(shape))]
    return tuple(f"{space}_{end}" for end in ends)
