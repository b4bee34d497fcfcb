"""``fxscope.open_map``: F on disk as an operator."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ...errors import MapError, PlaceIndexError, said
from ...graph.arguments import checked
from ...results.progress import steps
from ...results.tables import Table
from ..index import several
from ..linear import Operator
from ..local.sparse import checked_place
from ..pictured import shapes
from ..spaces import Space
from .fill import window_start
from .layout import Box, Layout
from .library import numbers, zarr

ATTRIBUTE = "fxscope"


@checked
def open_map(path: str | Path) -> StoredMap:
    """F as ``lin.F.to_zarr`` wrote it, as an operator that reads from disk what it needs.

    Parameters
    ----------
    path : str or Path
        The folder of the map, which may be unfinished: what is missing is an error when it is read.

    Returns
    -------
    StoredMap

    Raises
    ------
    MapError
        If no map lies there.
    """
    return StoredMap(Path(path))


class StoredMap(Operator):
    """F on disk: ``row``, ``column``, ``@``, ``.T @`` and all else that an ``Operator`` has.

    A map of all of F is an operator between the spaces of F. One of R chosen rows leads from the inputs to R
    numbers, and one of R columns from R numbers to the outputs; ``row`` and ``column`` take places of F in
    any case. ``map @ map.x0 + map.residual`` is ``map.y0``, up to the rounding of what is stored, unless
    columns were chosen.

    Attributes
    ----------
    path : Path
    kind : {"all", "rows", "columns"}
    places : tuple
        The chosen places of "rows" and "columns".
    header : dict
        What is known of it, with the provenance as ``origin``.

    Examples
    --------
    >>> import tempfile, fxscope
    >>> lin = fxscope.interpret(torch.nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8))
    >>> found = lin.F.to_zarr(tempfile.mkdtemp())
    >>> found.shape, tuple(found.row((1, 2, 2)).shape), tuple((found @ found.x0).shape)
    ((72, 64), (1, 8, 8), (2, 6, 6))
    """

    def __init__(self, path: Path) -> None:
        self.path, self._library = path, zarr()
        self.header = self._read_header()
        self.layout = Layout.read(self.header)
        self.kind, self.places = self.layout.kind, self.layout.places
        self._position = {place: k for k, place in enumerate(self.places)}
        dtype = getattr(torch, self.header["dtype"])
        self._wide = dtype if dtype.itemsize >= 4 else torch.float32  # in which sums are made
        inputs, outputs = self.layout.inputs, self.layout.outputs
        chosen = (len(self.places),)
        super().__init__(
            self._product,
            self._pulled,
            _space("x1", chosen if self.kind == "columns" else inputs, dtype),
            _space("y2", chosen if self.kind == "rows" else outputs, dtype),
            origin=lambda: self.header["origin"],
            maker=lambda: (open_map, (self.path,)),
            of=(f"{self.header['origin'].get('model')}, policy {self.header['origin'].get('policy')}",),
        )

    def _read_header(self) -> dict[str, Any]:
        try:
            if not (self.path / "zarr.json").is_file():
                raise MapError(f"{self.path} holds no map: lin.F.to_zarr(path) or fxscope map writes one")
            group = self._library.open_group(str(self.path), mode="r")
            self._values = self._library.open_array(str(self.path / "values"), mode="r")
            return dict(group.attrs[ATTRIBUTE])
        except MapError:
            raise
        except Exception as error:  # another zarr store, or damaged ones
            raise MapError(f"{self.path} holds no map of fxscope that can be read: {said(error)}") from error

    @functools.cached_property
    def x0(self) -> torch.Tensor:
        """The values at the probed places: x0, unless F begins elsewhere."""
        return self.whole("x0")

    @functools.cached_property
    def y0(self) -> torch.Tensor:
        """The output at x0; of a map of rows, at their places."""
        return self._at_places(self.whole("y0"))

    @functools.cached_property
    def residual(self) -> torch.Tensor:
        """The residual r; of a map of rows, at their places."""
        return self._at_places(self.whole("r"))

    def whole(self, name: str) -> torch.Tensor:
        """The array x0, y0 or r."""
        try:
            found = self._library.open_array(str(self.path / name), mode="r")[...]
        except Exception as error:
            raise MapError(
                f"{self.path / name} is damaged ({said(error)}): write the map again to another folder"
            ) from error
        return torch.from_numpy(np.ascontiguousarray(found)).to(self.dtype)

    def _at_places(self, found: torch.Tensor) -> torch.Tensor:
        return torch.stack([found[place] for place in self.places]) if self.kind == "rows" else found

    @property
    def finished(self) -> tuple[int, int]:
        """(shards that are written, all shards)."""
        every = range(self.layout.count)
        return sum(self.layout.file(self.path, i).is_file() for i in every), self.layout.count

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.path.rglob("*") if file.is_file())

    def _part(self, shard: int, part: Box, within: tuple = ()) -> torch.Tensor:
        """Numbers of one shard, widened; raise ``MapError`` if they are not there, or not whole."""
        file = self.layout.file(self.path, shard)
        if not file.is_file():
            written, count = self.finished
            raise MapError(
                f"{self.path} is not finished: shard {shard} is missing, {written} of {count} are written;"
                f" {self.resume}"
            )
        try:
            found = numbers(self._values, (*part, *within), file)
        except MapError:
            raise
        except Exception as error:
            raise MapError(f"{file} is damaged ({said(error)}); {self.resume}") from error
        return torch.from_numpy(found).to(self._wide)

    @property
    def resume(self) -> str:
        """How to go on with a map that is not finished, for a message."""
        command = self.header["command"]
        if command is None:
            return f"go on with the same lin.F.to_zarr({str(self.path)!r}, ...), which leaves what is there"
        return f"go on with: {command.replace('{path}', str(self.path))}"

    def _blocks_of(self, within: Box | None = None) -> Iterator[tuple[Box, torch.Tensor]]:
        """(places of the leading dimensions, numbers) of all blocks that touch a box."""
        every = tuple(slice(0, n) for n in self.layout.lead)
        for shard, part in self.layout.blocks(within or every):
            yield part, self._part(shard, part)

    def _product(self, v: torch.Tensor) -> torch.Tensor:
        flat = v.flatten(1).to(self._wide)
        if self.kind == "columns":
            return self._combined(flat).to(self.dtype)
        found = torch.zeros(len(flat), *self.layout.lead, dtype=self._wide)
        for part, block in self._blocks_of():
            rows = block.reshape(-1, math.prod(self.layout.tail))
            if self.kind == "rows":
                products = flat @ rows.T
            else:
                where = self._places_of(part)
                products = torch.stack([(rows * each[where]).sum(1) for each in flat])
            sizes = [s.stop - s.start for s in part]
            found[(slice(None), *part)] = products.reshape(-1, *sizes)
        return found.to(self.dtype)

    def _pulled(self, u: torch.Tensor) -> torch.Tensor:
        flat = u.flatten(1).to(self._wide)
        if self.kind == "rows":
            return self._combined(flat).to(self.dtype)
        if self.kind == "columns":
            products = [flat @ b.reshape(-1, flat.shape[1]).T for _, b in self._blocks_of()]
            return torch.cat(products, 1).to(self.dtype)
        n = math.prod(self.layout.inputs)
        found = torch.zeros(len(flat), n, dtype=self._wide)
        given = flat.reshape(-1, *self.layout.lead)
        for part, block in self._blocks_of():
            rows, where = block.reshape(-1, math.prod(self.layout.tail)), self._places_of(part).flatten()
            for k, weights in enumerate(given[(slice(None), *part)].flatten(1)):
                found[k].index_add_(0, where, (rows * weights[:, None]).flatten())
        return found.reshape(-1, *self.layout.inputs).to(self.dtype)

    def _combined(self, weights: torch.Tensor) -> torch.Tensor:
        """The chosen rows or columns, weighted and summed: (K, R) -> (K, *tail)."""
        found = torch.zeros(len(weights), math.prod(self.layout.tail), dtype=self._wide)
        for (part,), block in self._blocks_of():
            found += weights[:, part] @ block.flatten(1)
        return found.reshape(-1, *self.layout.tail)

    def _places_of(self, part: Box) -> torch.Tensor:
        """The flat input place of every number of a block of windows, (rows, numbers of a window)."""
        inputs, window, starts = self.layout.inputs, self.layout.window, self.layout.starts
        strides = [math.prod(inputs[a + 1 :]) for a in range(len(inputs))]
        base: Any = np.zeros([s.stop - s.start for s in part], dtype=np.int64)
        for d, (axis, first) in starts.items():
            base = base + (first[part[d]] * strides[axis]).reshape(
                [-1 if e == d else 1 for e in range(len(part))]
            )
        offsets = sum(
            np.arange(w).reshape([-1 if e == a else 1 for e in range(len(window))]) * strides[a]
            for a, w in enumerate(window)
        )
        return torch.from_numpy(base.reshape(-1, 1) + np.asarray(offsets).reshape(1, -1))

    def row(self, index: Any) -> torch.Tensor:
        """The row of an output, as ``lin.F.row`` gives it; of a map of columns, its numbers in these.

        Parameters
        ----------
        index : tuple of int
            A place of the un-batched output.

        Returns
        -------
        torch.Tensor
            (*inputs), or (R,) of R columns.

        Raises
        ------
        PlaceIndexError
            If this is no place of the output, or its row was not chosen.
        MapError
            If it is not written yet, or damaged.
        """
        place = checked_place(index, self.layout.outputs)
        if self.kind == "columns":
            return self._across(place)
        if self.kind == "rows":
            return self._chosen(place)
        box = tuple(slice(p, p + 1) for p in place)
        _, block = next(self._blocks_of(box))
        found = torch.zeros(self.layout.inputs, dtype=self._wide)
        window = self.layout.window
        begins = [window_start(self.layout, a, place) for a in range(len(window))]
        found[tuple(slice(b, b + n) for b, n in zip(begins, window))] = block.reshape(window)
        return found.to(self.dtype)

    def column(self, index: Any) -> torch.Tensor:
        """The column of an input, as ``lin.F.column`` gives it; of a map of rows, its numbers in these.

        A map of all of F lies by rows: a column reads the windows of all outputs that may depend on it.

        Parameters
        ----------
        index : tuple of int
            A place of the un-batched input.

        Returns
        -------
        torch.Tensor
            (*outputs), or (R,) of R rows.

        Raises
        ------
        PlaceIndexError
            If this is no place of the input, or its column was not chosen.
        MapError
            If it is not written yet, or damaged.
        """
        place = checked_place(index, self.layout.inputs)
        if self.kind == "rows":
            return self._across(place)
        if self.kind == "columns":
            return self._chosen(place)
        found = torch.zeros(self.layout.outputs, dtype=self._wide)
        within = self._reading(place)
        if all(s.start < s.stop for s in within):
            for part, block in self._blocks_of(within):
                found[part] = self._numbers_of(place, part, block)
        return found.to(self.dtype)

    def _reading(self, place: tuple[int, ...]) -> Box:
        """The box of the outputs whose windows hold an input."""
        box = [slice(0, n) for n in self.layout.outputs]
        for d, (axis, first) in self.layout.starts.items():
            hit = np.nonzero((first <= place[axis]) & (place[axis] < first + self.layout.window[axis]))[0]
            box[d] = slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(0, 0)
        return tuple(box)

    def _numbers_of(self, place: tuple[int, ...], part: Box, block: torch.Tensor) -> torch.Tensor:
        """The numbers of one input in a block of windows; 0 where a window does not hold it."""
        rank = len(part)

        def along(values: np.ndarray, d: int) -> torch.Tensor:
            return torch.from_numpy(values).reshape([-1 if e == d else 1 for e in range(rank)])

        where: list[Any] = [along(np.arange(s.stop - s.start), d) for d, s in enumerate(part)]
        held = torch.ones([1] * rank, dtype=torch.bool)
        for axis, size in enumerate(self.layout.window):
            followed = self.layout.started(axis)
            if followed is None:
                where.append(torch.tensor(place[axis]))
                continue
            d, first = followed
            offset = place[axis] - first[part[d]]
            held = held & along((offset >= 0) & (offset < size), d)
            where.append(along(offset.clip(0, size - 1), d))
        return block[tuple(where)] * held

    def _chosen(self, place: tuple[int, ...]) -> torch.Tensor:
        """A chosen row or column."""
        k = self._position.get(place)
        if k is None:
            raise PlaceIndexError(
                f"{place} is none of the {len(self.places)} {self.kind} of {self.path}, which begin with"
                f" {', '.join(map(str, self.places[:3]))}; .places lists them"
            )
        _, block = next(self._blocks_of((slice(k, k + 1),)))
        return block[0].to(self.dtype)

    def _across(self, place: tuple[int, ...]) -> torch.Tensor:
        """The number at one place of every chosen row or column."""
        within = tuple(slice(p, p + 1) for p in place)
        blocks = self.layout.blocks((slice(0, len(self.places)),))
        parts = [self._part(shard, part, within).flatten() for shard, part in blocks]
        return torch.cat(parts).to(self.dtype)

    def rows(self, indices: Iterable[Any], progress: bool = True) -> torch.Tensor:
        """Several rows, each as ``row`` gives it, (R, ...)."""
        return self._several(self.row, list(several(indices, "y2")), progress)

    def columns(self, indices: Iterable[Any], progress: bool = True) -> torch.Tensor:
        """Several columns, each as ``column`` gives it, (R, ...)."""
        return self._several(self.column, list(several(indices, "x1")), progress)

    def _several(self, one: Any, indices: list[Any], progress: bool) -> torch.Tensor:
        found = []
        with steps(len(indices), "rows", progress) as bar:
            for index in indices:
                found.append(one(index))
                bar.update()
        return torch.stack(found) if found else torch.zeros(0, dtype=self.dtype)

    def iter_rows(
        self, indices: Iterable[Any], chunk: int | None = None, out_device: Any = None, progress: bool = True
    ) -> Iterator[tuple[Any, torch.Tensor]]:
        """Iterate over rows, as ``lin.F.iter_rows`` does; they are read one by one."""
        for index in several(indices, "y2"):
            yield index, self.row(index).to(out_device)

    def _said(self) -> Iterable[str]:
        written, count = self.finished
        N, n = self.shape
        what = "all of F" if self.kind == "all" else f"{len(self.places)} {self.kind}"
        return [
            f"{what}: {N} x {n}, {shapes(self.inputs)} -> {shapes(self.outputs)}",
            *([] if written == count else [f"{written} of {count} shards written"]),
            str(self.layout.dtype),
            *self.of,
            repr(str(self.path)),
        ]

    def _table(self) -> Table:
        table, (written, count) = super()._table(), self.finished
        rows = [
            ("folder", str(self.path)),
            ("holds", "all of F" if self.kind == "all" else f"{len(self.places)} {self.kind} of F"),
            ("stored as", str(self.layout.dtype)),
            ("shards written", f"{written} of {count}"),
            ("on disk [MiB]", self.nbytes / 2**20),
        ]
        return replace(table, rows=[*rows, *table.rows])


def _space(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Space:
    leaf = pytree.tree_structure(torch.empty(0))
    return Space(name, (shape,), leaf, (dtype,), torch.device("cpu"), batched=False)
