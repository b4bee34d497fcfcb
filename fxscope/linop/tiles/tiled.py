"""``TiledInterpreter``: F, r and y0 of a local network on a photograph larger than memory."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from ...errors import FxscopeError, NotLocal, ShapeError, StaleInterpreter, WrongArgument
from ...graph.arguments import check_tensor, shown
from ...results.display import Displayed, Measured
from ...results.progress import steps
from ...results.provenance import digest, of_operator
from ...results.tables import Column, Table
from ..index import several
from ..interpreter import LinearInterpreter
from ..linear import Operator
from ..local.crop import Whole, columns_of, place_of, rows_of
from ..local.parts import LocalColumn, LocalRow
from ..pictured import about, mapped
from ..reader import Reader, interpret, prepare
from ..scale import norm_of, power_of_two
from ..spaces import Space
from ..svd import SVD
from .decisions import changed
from .memory import BUDGET, fits, may_fit, size_of
from .sheet import LargeSpace, sheet, written
from .support import TiledSupport
from .tiling import Tile, Tiling, Window

HELD = 256 << 20  # bytes: the interpreters of all tiles are kept if they take less, and else none of them
PROBES = 512 << 20  # bytes of results of probes that run together


class TiledInterpreter(Displayed):
    """The affine map y1 = F x1 + r of a local network at x0, computed tile by tile.

    Names and values are those of ``LinearInterpreter``: every product, row, column and sum equals that of the
    whole image to rounding, borders included. Memory is that of one tile, of x0, and of what is returned.
    A result larger than 256 MiB is a file of the temporary directory, mapped into memory.

    Each use goes through the tiles that it needs: a row or a column through one, ``y0``, ``residual``, a
    product with a dense vector, ``error`` and ``gap`` through all. To have several of them from one pass, and
    of results larger than a disk, go through ``tiles()``.

    Attributes
    ----------
    x0 : torch.Tensor
        The image, (1, C, H, W). It stays where it is, and is not copied.
    F : Operator
        The linear part.
    tile : int
        Pixels of x0 to a side of a tile.
    """

    batch = 1
    images_mix = False
    constant_outputs: tuple = ()

    def __init__(self, whole: Whole, reader: Reader, size: int, progress: bool = True):
        self.model, self.x0, self.whole, self.tile = whole.model, whole.x0, whole, size
        self.reader, self.policy, self.memory = reader, reader.policy, reader.memory
        self.tiling, self.progress = Tiling(whole, size), progress
        self._held: dict[Window, Tile] = {}
        self._given = self.x0._version if not self.x0.is_inference() else 0
        middle = [(n // 2, n // 2) for n in whole.outputs[1:]]
        self._one = self.at((middle[0], middle[1])).lin
        self.fresh, self._spaces = self._one.fresh, self._spaces_of()

    @property
    def x(self) -> torch.Tensor:
        """The probed value, x0."""
        return self.x0

    @property
    def nbytes(self) -> int:
        """Memory of the kept states, in bytes."""
        return sum(tile.lin.nbytes for tile in self._held.values())

    def check(self) -> None:
        """Raise ``StaleInterpreter`` if a weight, a buffer or x0 has changed."""
        self.fresh.check()
        if not self.x0.is_inference() and self.x0._version != self._given:
            raise StaleInterpreter(
                "lin.x0 was written over after this interpreter was made: its tiles would be of two images."
                " Make a new one, of a copy: fxscope.interpret(model, x0.clone(), tile=...)"
            )

    def at(self, window: Window) -> Tile:
        """The tile of a window of outputs, ((first row, last row), (first column, last column))."""
        if window in self._held:
            return self._held[window]
        box, inside, _ = self.tiling.crop(window)
        lin = self.reader(self._on(self.x0[(slice(None), *box)]))
        tile = Tile(lin, box, self.tiling.outputs(window), inside)
        cost = lin.nbytes + sum(t.numel() * t.element_size() for t in (lin.x, lin.y0))
        windows = self.tiling.windows
        if cost * len(windows) <= HELD and self.memory != "recompute" and window in windows:
            self._held[window] = tile
        return tile

    def tiles(self, progress: bool | None = None) -> Iterator[Tile]:
        """Iterate over all tiles, row by row; each holds the interpreter of its crop.

        Parameters
        ----------
        progress : bool, optional
            Whether to show a progress bar. The default is that of the interpreter.

        Yields
        ------
        Tile
            Its crop of x0, its outputs, and the interpreter there.

        Examples
        --------
        >>> import fxscope
        >>> model = nn.Conv2d(1, 2, 3, padding=1)
        >>> lin = fxscope.interpret(model, torch.rand(1, 1, 64, 48), tile=32)
        >>> sum(t.lin.residual[0][t.inside].numel() for t in lin.tiles()) == lin.y0.numel()
        True
        """
        yield from self._through(self.tiling.windows, progress)

    def _through(self, windows: list[Window], progress: bool | None = None) -> Iterator[Tile]:
        self.check()
        with steps(len(windows), "tiles", self.progress if progress is None else progress) as bar:
            for window in windows:
                yield self.at(window)
                bar.update(1)

    def _on(self, part: torch.Tensor) -> torch.Tensor:
        """A part of x0 where the model is; x0 itself may be too large for that device."""
        return part.to(next(self.model.parameters(), part).device)

    def _back(self, part: torch.Tensor) -> torch.Tensor:
        return part.to(self.x0.device)

    def _spaces_of(self) -> tuple[Space, Space]:
        one = torch.empty((), dtype=self._one.y0.dtype, device=self.x0.device)
        each = ("x1", self.x0), ("y2", one.expand(1, *self.whole.outputs))
        inputs, outputs = (LargeSpace.of(name, value, 1) for name, value in each)
        return inputs, outputs

    @functools.cached_property
    def y0(self) -> torch.Tensor:
        """The output of the model at x0."""
        return self._assembled(lambda tile: tile.lin.y0).unsqueeze(0)

    @functools.cached_property
    def residual(self) -> torch.Tensor:
        """The residual r = y1 at x1 = 0."""
        return self._assembled(lambda tile: tile.lin.residual).unsqueeze(0)

    def _assembled(self, value: Callable[[Tile], torch.Tensor]) -> torch.Tensor:
        """All outputs of a value (1, C, h, w) of every crop."""
        found = sheet(self.whole.outputs, self._spaces[1].dtype)
        for tile in self.tiles():
            found[tile.outputs] = self._back(value(tile)[0][tile.inside])
            written(found)
        return found

    @functools.cached_property
    def F(self) -> Operator:
        """The linear part of the map, between the space of x0 and that of y0."""
        inputs, outputs = self._spaces
        one = max(space.numel * space.dtype.itemsize for space in self._spaces)
        return Operator(
            self._forward,
            self._adjoint,
            inputs,
            outputs,
            max(1, min(32, PROBES // one)),
            support=lambda: TiledSupport(self),
            origin=lambda: self.origin,
            of=(f"{type(self.model).__name__}, policy {self.policy}, in tiles",),
        )

    @functools.cached_property
    def origin(self) -> dict[str, Any]:
        """Provenance of F, without the error, which takes a pass over all tiles."""
        state = self.model.state_dict()
        return {
            "model": type(self.model).__name__,
            "weights": digest(*(state[n] for n in sorted(state))),
            "image": digest(self.x0),
            "policy": self.policy,
            **of_operator(self.F),
            "operator": "F",
            "tile": self.tile,
        }

    def __call__(self, x1: torch.Tensor) -> torch.Tensor:
        """F x1 + r (paper, eq. 5); x1 is (..., C, H, W)."""
        stacked, head = self.F.inputs.stack(x1)
        found = sheet((len(stacked), *self.whole.outputs), self.F.outputs.dtype)
        for tile in self.tiles():
            given = self._on(stacked[:, 0][(slice(None), *tile.inputs)])
            found[(slice(None), *tile.outputs)] = self._back(tile.lin(given)[(slice(None), *tile.inside)])
            written(found)
            written(stacked)
        return self.F.outputs.unstack(found, head)

    def _forward(self, v: torch.Tensor) -> torch.Tensor:
        """F v of stacked vectors (K, 1, C, H, W)."""
        v = v[:, 0]
        jobs = _jobs(v, self.tiling.of_inputs)
        found = sheet((len(v), *self.whole.outputs), self._spaces[1].dtype, self._few(jobs))
        for tile, members in zip(self._through(list(jobs)), jobs.values()):
            given = self._on(torch.stack([v[k][tile.inputs] for k in members]))
            for k, part in zip(members, tile.lin.F @ given):
                found[k][tile.outputs] = self._back(part[tile.inside])
            written(found)
            written(v)
        return found.to(v.device).unsqueeze(1)

    def _adjoint(self, u: torch.Tensor) -> torch.Tensor:
        """F^T u of stacked vectors (K, 1, C, H, W)."""
        u = u[:, 0]
        jobs = _jobs(u, self.tiling.of_outputs)
        found = sheet((len(u), *self.whole.inputs), self._spaces[0].dtype, self._few(jobs))
        for tile, members in zip(self._through(list(jobs)), jobs.values()):
            given = tile.lin.F.outputs.zeros(len(members))[0]
            for seed, k in zip(given, members):
                seed[tile.inside] = self._on(u[k][tile.outputs])
            for k, part in zip(members, tile.lin.F.T @ given):
                found[k][tile.inputs] += self._back(part)
            written(found)
            written(u)
        return found.to(u.device).unsqueeze(1)

    def _few(self, jobs: dict[Window, list[int]]) -> bool:
        """Whether most of a result stays 0."""
        return len(jobs) <= len(self.tiling.windows) // 16 + 1

    def svd(self, k: int, **options: Any) -> SVD:
        """The k largest singular triplets of F, over all processes of torch.distributed.

        Each process has some rows of tiles, and keeps these rows of every vector of the Lanczos method.
        Neighbours send each other the halos of their tiles, and all send inner products. Every process calls
        this with the same arguments, and gets the same result, that of ``lin.F.svd(k)`` to rounding.

        Parameters
        ----------
        k : int
            Number of triplets.
        **options
            Those of ``lin.F.svd``, for its method "lanczos"; ``start=`` is not taken.

        Returns
        -------
        fxscope.linop.SVD
            The whole triplets, in every process.

        Raises
        ------
        FxscopeError
            If an argument is wrong, or there are more processes than rows of tiles.
        """
        from .strips import over_processes

        return over_processes(self).svd(k, **options)

    def local_row(self, index: tuple[int, ...]) -> LocalRow:
        """A row of F on its receptive field, with y0 and r there; see ``fxscope.local_row``."""
        return self.local_rows([index])[0]

    def local_rows(self, indices: list[tuple[int, ...]]) -> list[LocalRow]:
        """Several rows on their receptive fields; see ``fxscope.local_rows``."""
        self.check()
        places = [place_of(i, self.whole.outputs, "output") for i in several(indices, "local_rows")]
        return rows_of(self.whole, places, self.policy, self.reader)

    def local_column(self, index: tuple[int, ...]) -> LocalColumn:
        """A column of F on the outputs that depend on its input; see ``fxscope.local_column``."""
        return self.local_columns([index])[0]

    def local_columns(self, indices: list[tuple[int, ...]]) -> list[LocalColumn]:
        """Several columns on the outputs that depend on their inputs; see ``fxscope.local_columns``."""
        self.check()
        places = [place_of(i, self.whole.inputs, "input") for i in several(indices, "local_columns")]
        return columns_of(self.whole, places, self.policy, self.reader)

    def contributions(self, index: tuple[int, ...]) -> Any:
        """F x0 and all additive constants of the network, which sum to y0[index] (paper, Theorem 1).

        Parameters
        ----------
        index : tuple of int
            A place (c, y, x) of the output. The constants that reach it are those of its crop.

        Returns
        -------
        fxscope.analysis.Contributions

        Raises
        ------
        PlaceIndexError
            If this is no place of the output.
        """
        return next(self.iter_contributions([index]))

    def iter_contributions(self, indices: Iterable[Any], chunk: int | None = None) -> Iterator[Any]:
        """Iterate over the contributions of many places of the output, in order."""
        for index in several(indices, "y2"):
            c, y, x = place_of(index, self.whole.outputs, "output")
            self.check()
            tile = self.at(((y, y), (x, x)))
            inner = (c, tile.inside[1].start, tile.inside[2].start)
            found = tile.lin.contributions(inner)
            yield replace(found, index=index, _origin=self.origin)

    @functools.cached_property
    def error(self) -> float:
        """The verification error of ``LinearInterpreter.error``, over all tiles, in one pass."""
        sums = _Sums()
        for tile in self.tiles():
            lin, unit = tile.lin, power_of_two(norm_of([tile.lin.y0]))
            y, r = (value[0][tile.inside] for value in (lin.y0, lin.residual))
            off = (lin.F @ lin.x[0])[tile.inside] + r - y
            seed = lin.F.outputs.zeros(1)[0]
            seed[0][tile.inside] = y / unit
            row = unit * _product((lin.F.T @ seed)[0], lin.x[0])
            sums.add(off, y, row + _product(y, r) - _product(y, y))
        rows = abs(sums.rows) / sums.size**2 if sums.size else abs(sums.rows)
        return max(sums.relative, rows)

    def gap(self, x: torch.Tensor) -> dict[str, float]:
        """Measure how well the interpreter of x0 approximates the network at another input x.

        Parameters
        ----------
        x : torch.Tensor
            An input of the shape of x0, with or without its batch dimension.

        Returns
        -------
        dict
            ``error`` is ``|F x + r - f(x)| / |f(x)|``. ``changed`` is the share of masks and indices that
            differ between x and x0, of those that an output depends on; each counts once, though the
            crops of tiles overlap.

        Raises
        ------
        ShapeError
            If x has another shape.
        """
        check_tensor("gap: x", x)
        x = x if x.dim() == 4 else x.unsqueeze(0)
        if (x.shape, x.dtype, x.device) != (self.x0.shape, self.x0.dtype, self.x0.device):
            raise ShapeError(
                f"gap: expected x as x0 is, {tuple(self.x0.shape)}, {self.x0.dtype}; got {tuple(x.shape)},"
                f" {x.dtype} on {x.device}"
            )
        sums, counts = _Sums(), torch.zeros(2, dtype=torch.int64)
        for window, tile in zip(self.tiling.windows, self.tiles()):
            lin, inside = tile.lin, self._on(x[(slice(None), *tile.inputs)])
            other = self.reader(inside)
            y = other.y0[0][tile.inside]
            sums.add(lin(inside[0])[tile.inside] - y, y)
            counts += torch.tensor(changed(self.tiling, window, tile, other))
        different, total = counts.tolist()
        found = {"error": sums.relative, "changed": different / total if total else 0.0}
        return Measured(found, "the gap at x")

    def _said(self) -> Iterable[str]:
        rows, columns = (len(line) for line in self.tiling.lines)
        return [
            type(self.model).__name__,
            f"x0 {tuple(self.x0.shape)}",
            f"policy {self.policy}",
            f"{rows} x {columns} tiles of {self.tile}",
        ]

    def _table(self) -> Table:
        rows, columns = (len(line) for line in self.tiling.lines)
        tiles = ("tiles", f"{rows} x {columns}, of {self.tile} pixels to a side")
        note = "lin.error measures the identity, with a pass over all tiles."
        return Table(("", Column("value")), [*about(self), tiles], notes=(note,))

    def _picture(self) -> str:
        return mapped(self.F, "F")  # x0 may be larger than memory, and y0 takes a pass over all tiles


class _Sums:
    """Norms of a difference and of what it is relative to, over tiles, at any scale."""

    def __init__(self) -> None:
        self.off = self.size = self.rows = 0.0

    def add(self, off: torch.Tensor, of: torch.Tensor, rows: float = 0.0) -> None:
        """Add a tile."""
        self.off, self.size = math.hypot(self.off, norm_of([off])), math.hypot(self.size, norm_of([of]))
        self.rows += rows

    @property
    def relative(self) -> float:
        """The difference relative to the size."""
        if not self.size:
            return math.inf if self.off else 0.0
        return self.off / self.size


def _jobs(vectors: torch.Tensor, windows: Callable[[torch.Tensor], list[Window]]) -> dict[Window, list[int]]:
    """{window: the numbers of the vectors that go through it}."""
    found: dict[Window, list[int]] = {}
    for k, vector in enumerate(vectors):
        for window in windows(vector):
            found.setdefault(window, []).append(k)
        written(vectors)
    return found


def _product(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a.double().flatten() * b.double().flatten()).sum())


def tiled(
    model: nn.Module, args: tuple, tile: int | str, options: dict[str, Any]
) -> LinearInterpreter | TiledInterpreter:
    """The interpreter in tiles, or that of the whole image if ``tile`` is "auto" and memory suffices.

    ``options`` are those of ``interpret``.
    """
    for name in ("inputs", "outputs"):
        if options.get(name) is not None:
            raise FxscopeError(
                f"interpret: tile= is about the whole network, and {name}= names a place within it;"
                " make a module of the part, and interpret that"
            )
    is_size = isinstance(tile, int) and not isinstance(tile, bool) and tile > 0
    if not is_size and tile != "auto":
        raise WrongArgument(f'interpret: tile is a number of pixels above 0, or "auto"; got {shown(tile)}')
    if len(args) != 1 or not isinstance(args[0], torch.Tensor):
        raise FxscopeError("interpret: tile= takes a network of one image, and the image alone")
    x0 = args[0].detach()
    if tile != "auto":
        whole = Whole.of("interpret", model, x0)
        return TiledInterpreter(whole, _reader(whole, options), int(tile))
    try:
        whole = Whole.of("interpret", model, x0)
    except NotLocal:
        if may_fit(model, x0):
            return interpret(model, x0, **options)
        raise
    if fits(whole.traced.values):
        return interpret(model, x0, **options)
    return TiledInterpreter(whole, _reader(whole, options), size_of(whole))


def _reader(whole: Whole, options: dict[str, Any]) -> Reader:
    """The reader of all tiles, made at a crop around the middle of the image."""
    middle = tuple((n // 2, n // 2) for n in whole.outputs[1:])
    box, _, _ = Tiling(whole, 1).crop((middle[0], middle[1]))
    part = whole.x0[(slice(None), *box)]
    return prepare(whole.model, part.to(next(whole.model.parameters(), part).device), **options)


def side_of(model: nn.Module, x0: torch.Tensor) -> int:
    """The pixels to a side of a tile for several numbers in one pass, which hold twice as many values."""
    return size_of(Whole.of("tiles", model, x0), BUDGET // 2)
