"""F of an image over several processes: each has some rows of tiles, and these rows of every vector.

A product needs, beside a process's own rows of the image, the halo of its tiles, which the neighbours send.
A product with the transpose gives the halo back, and its owner adds it.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.distributed as dist

from ...errors import FxscopeError
from ..linear import Operator
from ..spaces import Space
from ..svd.spread import Spread
from .tiled import TiledInterpreter
from .tiling import Window

Rows = tuple[int, int]  # (first, end) of an axis of an image


class Strips(Spread):
    """The rows of x0 and of y0 that each process has.

    Attributes
    ----------
    windows : list
        The tiles of this process.
    outputs, inputs : list of (first, end)
        The rows of y0, and of x0, of every process; they do not overlap.
    needed : list of (first, end)
        The rows of x0 that the tiles of every process read.
    """

    def __init__(self, lin: TiledInterpreter):
        super().__init__(lin.x0.device)
        self.lin, lines = lin, lin.tiling.lines[0]
        if len(lines) < self.count:
            raise FxscopeError(
                f"svd over {self.count} processes needs as many rows of tiles, and there are {len(lines)} of"
                f" {lin.tile} pixels: give a smaller tile=, or start fewer processes"
            )
        starts = [len(lines) * rank // self.count for rank in range(self.count + 1)]
        of = [lines[a:b] for a, b in pairwise(starts)]
        self.outputs = [(rows[0][0], rows[-1][1] + 1) for rows in of]
        self.needed = [self._needed([(r, c) for r in rows for c in lin.tiling.lines[1]]) for rows in of]
        height = lin.x0.shape[2]
        cuts = [height * a // len(lines) for a in starts]
        self.inputs = list(pairwise(cuts))
        self.windows = [(r, c) for r in of[self.rank] for c in lin.tiling.lines[1]]

    def _needed(self, windows: list[Window]) -> Rows:
        crops = [self.lin.tiling.crop(window)[0][1] for window in windows]
        return min(c.start for c in crops), max(c.stop for c in crops)

    def own(self, of_inputs: bool) -> Rows:
        """The rows of this process."""
        return (self.inputs if of_inputs else self.outputs)[self.rank]

    def noise(self, count: int, size: int, generator: torch.Generator, of_inputs: bool) -> torch.Tensor:
        """The part of this process of the vectors that one process would draw."""
        whole = self.lin.whole.inputs if of_inputs else self.lin.whole.outputs
        found = super().noise(count, size, generator, of_inputs).view(count, *whole)
        return found[:, :, slice(*self.own(of_inputs))].flatten(1)

    def with_halo(self, own: torch.Tensor) -> torch.Tensor:
        """The rows of a vector (K, C, rows, W) that the tiles of this process need."""
        first, end = self.needed[self.rank]
        found = own.new_zeros(*own.shape[:2], end - first, own.shape[3])
        parts = self._exchange(own, self.inputs, self.needed)
        for (a, b), part in parts.values():
            found[:, :, a - first : b - first] = part
        return found

    def given_back(self, region: torch.Tensor) -> torch.Tensor:
        """The sum of what all processes have in the rows of this one, in the order of processes."""
        first, end = self.inputs[self.rank]
        found = region.new_zeros(*region.shape[:2], end - first, region.shape[3])
        parts = self._exchange(region, self.needed, self.inputs)
        for rank in sorted(parts):
            (a, b), part = parts[rank]
            found[:, :, a - first : b - first] += part
        return found

    def _exchange(
        self, mine: torch.Tensor, have: list[Rows], want: list[Rows]
    ) -> dict[int, tuple[Rows, torch.Tensor]]:
        """{process: (rows, its part of them)} of the rows that this process wants."""
        found: dict[int, tuple[Rows, torch.Tensor]] = {}
        calls, first = [], have[self.rank][0]
        for other in range(self.count):
            (a, b), (c, d) = _met(have[self.rank], want[other]), _met(have[other], want[self.rank])
            if other == self.rank:
                if c < d:
                    found[other] = (c, d), mine[:, :, c - first : d - first]
                continue
            if a < b:
                part = mine[:, :, a - first : b - first].contiguous()
                calls.append(dist.P2POp(dist.isend, part, other))
            if c < d:
                found[other] = (c, d), mine.new_empty(*mine.shape[:2], d - c, mine.shape[3])
                calls.append(dist.P2POp(dist.irecv, found[other][1], other))
        for work in dist.batch_isend_irecv(calls) if calls else ():
            work.wait()
        return found


def _met(a: Rows, b: Rows) -> Rows:
    return max(a[0], b[0]), min(a[1], b[1])


class SpreadOperator(Operator):
    """F over several processes: ``shape`` is that of the whole, and the spaces are this process's part."""

    spread: Strips

    def __init__(self, lin: TiledInterpreter, strips: Strips):
        self.lin, self.spread = lin, strips
        inputs, outputs = (_rows_of(space, strips.own(i == 0)) for i, space in enumerate(lin._spaces))
        chunk = lin.F.chunk
        super().__init__(self._to_outputs, self._to_inputs, inputs, outputs, chunk, origin=lambda: lin.origin)

    @property
    def shape(self) -> tuple[int, int]:
        """(N, n) of the whole."""
        return self.lin.F.shape

    @property
    def T(self) -> Operator:
        """The transpose, on the same parts."""
        return self._like(self._adjoint, self._forward, inputs=self.outputs, outputs=self.inputs)

    def _to_outputs(self, v: torch.Tensor) -> torch.Tensor:
        lin, strips = self.lin, self.spread
        region, first = strips.with_halo(v[:, 0]), strips.needed[strips.rank][0]
        found = v.new_zeros(len(v), *self.outputs.shape, dtype=self.outputs.dtype)
        begin = strips.outputs[strips.rank][0]
        for tile in lin._through(strips.windows, False):
            given = region[(slice(None), *_moved(tile.inputs, first))]
            part = (tile.lin.F @ lin._on(given))[(slice(None), *tile.inside)]
            found[(slice(None), *_moved(tile.outputs, begin))] = lin._back(part)
        return found.unsqueeze(1)

    def _to_inputs(self, u: torch.Tensor) -> torch.Tensor:
        lin, strips = self.lin, self.spread
        u, (first, end), begin = u[:, 0], strips.needed[strips.rank], strips.outputs[strips.rank][0]
        channels, _, width = self.inputs.shape
        region = u.new_zeros(len(u), channels, end - first, width, dtype=self.inputs.dtype)
        for tile in lin._through(strips.windows, False):
            seed = tile.lin.F.outputs.zeros(len(u))[0]
            seed[(slice(None), *tile.inside)] = lin._on(u[(slice(None), *_moved(tile.outputs, begin))])
            region[(slice(None), *_moved(tile.inputs, first))] += lin._back(tile.lin.F.T @ seed)
        return strips.given_back(region).unsqueeze(1)

    def joined(self, vectors: torch.Tensor, of_inputs: bool) -> torch.Tensor:
        """The whole vectors, of the parts of all processes, which send theirs one after the other."""
        rows, parts = self.spread.inputs if of_inputs else self.spread.outputs, []
        for rank, (a, b) in enumerate(rows):
            mine = rank == self.spread.rank
            part = (
                vectors.contiguous()
                if mine
                else vectors.new_empty(*vectors.shape[:2], b - a, vectors.shape[3])
            )
            dist.broadcast(part, rank)
            parts.append(part)
        return torch.cat(parts, 2)


def _rows_of(space: Space, rows: Rows) -> Space:
    """The space of some rows of an image."""
    channels, _, width = space.shape
    shape = (channels, rows[1] - rows[0], width)
    return Space(space.name, (shape,), space.spec, space.dtypes, space.device, False)


def _moved(box: tuple[slice, ...], first: int) -> tuple[slice, ...]:
    """A box whose rows are counted from another one."""
    return box[0], slice(box[1].start - first, box[1].stop - first), box[2]


def over_processes(lin: TiledInterpreter) -> Operator:
    """F over the processes of torch.distributed; F itself where there is one process."""
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return lin.F
    return SpreadOperator(lin, Strips(lin))
