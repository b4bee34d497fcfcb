"""Rows and columns of a local network from the crop of x0 that they need, exact at any image size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ...errors import NotFloating, NotLocal, PlaceIndexError, ShapeError, TraceFailure, first_line
from ...frontend.quiet import quiet
from ...frontend.unchanged import leaves_unchanged
from ...graph.arguments import check_images, checked
from ...passes.attempts import canonical
from ..index import several
from ..interpreter import LinearInterpreter
from ..reader import Reader, prepare
from .locality import (
    WAY_OUT,
    Interval,
    Traced,
    check_alike,
    grain,
    hull,
    needed,
    offset,
    output_of,
    touched,
    trace_locality,
)
from .parts import LocalColumn, LocalRow

MARGINS = (0, 4, 16)  # grains around the field
Intervals = dict[int, Interval]
Place = tuple[int, ...]
Offsets = dict[int, int]


@checked
@leaves_unchanged
def local_row(model: nn.Module, x0: torch.Tensor, index: tuple[int, ...], policy: Any = None) -> LocalRow:
    """A row of F at x0, computed from the crop of x0 inside its receptive field (paper, eq. 7).

    Time and memory are those of the crop. The values equal those of the computation on the whole image, also
    at borders. The field covers all paths to the output, including those to decisions. Each operator on these
    paths must be known to be local, and must compute the same on the crop as on the whole image.

    Parameters
    ----------
    model : torch.nn.Module
        A network from one image to one image.
    x0 : torch.Tensor
        The image, (1, C, H, W).
    index : tuple of int
        A place (c, y, x) of the un-batched output of the whole image.
    policy
        As in ``fxscope.transform``.

    Returns
    -------
    LocalRow
        The row, its place in x0, and the residual.

    Raises
    ------
    NotLocal
        If an operator is not local, such as global pooling, instance norm, a median over the image,
        coordinates, or an output of fixed size. The message names the first one.
    ShapeError
        If x0 is not one image (1, C, H, W).
    PlaceIndexError
        If the index is no place of the output.

    Examples
    --------
    >>> found = local_row(nn.Conv2d(1, 1, 3, padding=1), torch.rand(1, 1, 64, 64), (0, 32, 32))
    >>> tuple(found.values.shape), found.box[1:]
    ((1, 3, 3), (slice(31, 34, None), slice(31, 34, None)))
    """
    whole = Whole.of("local_row", model, x0)
    return rows_of(whole, [place_of(index, whole.outputs, "output")], policy)[0]


@checked
@leaves_unchanged
def local_rows(
    model: nn.Module, x0: torch.Tensor, indices: list[tuple[int, ...]], policy: Any = None
) -> list[LocalRow]:
    """Several rows as ``local_row`` gives them; places whose crops overlap share one.

    Crops are joined where one around both has at most as many pixels as the two. All rows of one crop run
    together, and crops of one size share the graphs.

    Parameters
    ----------
    model, x0, policy
        As in ``local_row``.
    indices : list of tuple of int
        Places (c, y, x) of the output.

    Returns
    -------
    list of LocalRow
        In the order of the indices.

    Raises
    ------
    NotLocal, ShapeError, PlaceIndexError
        As ``local_row`` does.
    """
    whole = Whole.of("local_rows", model, x0)
    return rows_of(
        whole, [place_of(i, whole.outputs, "output") for i in several(indices, "local_rows")], policy
    )


@checked
@leaves_unchanged
def local_column(
    model: nn.Module, x0: torch.Tensor, index: tuple[int, ...], policy: Any = None
) -> LocalColumn:
    """A column of F at x0, computed from a crop of x0 (paper, eq. 9).

    The crop is the receptive field of all outputs that depend on the input, so that their decisions are those
    of the whole image. Otherwise as ``local_row``.

    Parameters
    ----------
    model, x0, policy
        As in ``local_row``.
    index : tuple of int
        A place (c, y, x) of the un-batched input.

    Returns
    -------
    LocalColumn
        The column, and its place in y0.

    Raises
    ------
    NotLocal, ShapeError
        As ``local_row`` does.
    PlaceIndexError
        If the index is no place of x0.

    Examples
    --------
    >>> found = local_column(nn.Conv2d(1, 2, 3), torch.rand(1, 1, 64, 64), (0, 32, 32))
    >>> tuple(found.values.shape), found.box[1:]
    ((2, 3, 3), (slice(30, 33, None), slice(30, 33, None)))
    """
    whole = Whole.of("local_column", model, x0)
    return columns_of(whole, [place_of(index, whole.inputs, "input")], policy)[0]


@checked
@leaves_unchanged
def local_columns(
    model: nn.Module, x0: torch.Tensor, indices: list[tuple[int, ...]], policy: Any = None
) -> list[LocalColumn]:
    """Several columns as ``local_column`` gives them; places whose crops overlap share one.

    Parameters
    ----------
    model, x0, policy
        As in ``local_row``.
    indices : list of tuple of int
        Places (c, y, x) of the un-batched input.

    Returns
    -------
    list of LocalColumn
        In the order of the indices.

    Raises
    ------
    NotLocal, ShapeError, PlaceIndexError
        As ``local_column`` does.
    """
    whole = Whole.of("local_columns", model, x0)
    return columns_of(
        whole, [place_of(i, whole.inputs, "input") for i in several(indices, "local_columns")], policy
    )


@dataclass(frozen=True)
class Whole:
    """A network on the whole image, by its shapes alone."""

    model: nn.Module
    x0: torch.Tensor
    graph: fx.GraphModule
    traced: Traced
    image: fx.Node
    output: fx.Node
    crops: dict[tuple[int, ...], Traced] = field(default_factory=dict)

    @classmethod
    def of(cls, caller: str, model: nn.Module, x0: torch.Tensor) -> Whole:
        """The network of a model on an image (1, C, H, W); raises ``NotLocal`` if it is not local."""
        check_images(f"{caller}: x0", x0)
        if not x0.is_floating_point():
            raise NotFloating(
                f"{caller} takes a floating image, got {x0.dtype}; lin.F.row(index) probes where integers"
                " become floating"
            )
        if x0.dim() != 4 or x0.shape[0] != 1:
            raise ShapeError(f"{caller} takes one image (1, C, H, W), got {tuple(x0.shape)}")
        graph = _graph(model)
        traced, output = _traced(graph, x0, "the image"), output_of(graph)
        image = next(n for n in graph.graph.nodes if n.op == "placeholder")
        shape = tuple(traced.values[output].shape)
        if len(shape) != 4 or shape[0] != 1:
            raise NotLocal(f"the output is {shape}, no image (1, C, H, W); {WAY_OUT}")
        return cls(model, x0, graph, traced, image, output)

    @property
    def inputs(self) -> tuple[int, ...]:
        """(C, H, W) of x0."""
        return tuple(self.x0.shape[1:])

    @property
    def outputs(self) -> tuple[int, ...]:
        """(C, H, W) of y0."""
        return tuple(self.traced.values[self.output].shape[1:])

    def crop(self, box: tuple[slice, ...]) -> Traced:
        """The same network on a crop; crops of one size share it."""
        shape = tuple(self.x0[(slice(None), *box)].shape)
        if shape not in self.crops:
            self.crops[shape] = _traced(self.graph, self.x0[(slice(None), *box)], f"the crop {box[1:]}")
        return self.crops[shape]

    def field(self, outputs: Intervals) -> Intervals:
        """The pixels from which these outputs are computed."""
        found = needed(self.traced, self.output, outputs).get(self.image, {})
        return {d: found.get(d, (0, 0)) for d in (2, 3)}

    def shift(self, d: int, start: dict[int, int]) -> int:
        """By how many places a dimension of the output of a crop is moved."""
        return offset(self.traced, self.output, d, start) if d in self.traced.follows[self.output] else 0

    def cut(self, field: Intervals, more: int = 0) -> dict[int, tuple[int, int]]:
        """(first, end) of a crop around a field, multiples of the grain or the end of the image."""
        step = grain(self.traced)
        return {d: _cut(field[d], step, more, self.x0.shape[d]) for d in (2, 3)}


@dataclass
class _Window:
    """Places that share a crop: their numbers, the hull of their outputs, and of their crops."""

    members: list[int]
    outputs: Intervals
    crop: Intervals

    def joined(self, other: _Window) -> _Window:
        return _Window(
            self.members + other.members, hull(self.outputs, other.outputs), hull(self.crop, other.crop)
        )

    @property
    def pixels(self) -> int:
        height, width = (last - first + 1 for first, last in self.crop.values())
        return height * width


def _windows(whole: Whole, outputs: list[Intervals]) -> list[_Window]:
    """The crops of several boxes of outputs; two are joined where that takes no more pixels."""
    found: list[_Window] = []
    each = [_Window([i], box, _last(whole.cut(whole.field(box)))) for i, box in enumerate(outputs)]
    for new in sorted(each, key=lambda w: tuple(w.crop.values())):
        joined = [(w.joined(new), at) for at, w in enumerate(found)]
        fits = [(j.pixels - found[at].pixels, at) for j, at in joined if j.pixels <= _both(found[at], new)]
        if fits:
            at = min(fits)[1]
            found[at] = joined[at][0]
        else:
            found.append(new)
    return found


def _both(a: _Window, b: _Window) -> int:
    return a.pixels + b.pixels


def _last(cut: dict[int, tuple[int, int]]) -> Intervals:
    return {d: (first, end - 1) for d, (first, end) in cut.items()}


def _interpreted(
    whole: Whole, windows: list[_Window], policy: Any, reader: Reader | None = None
) -> Iterator[tuple[_Window, dict[int, int], LinearInterpreter]]:
    """Every window with the start of its crop and the interpreter there."""
    for window in windows:
        need = needed(whole.traced, whole.output, window.outputs)
        box, start = box_of(whole, need)
        inside = whole.x0[(slice(None), *box)]
        reader = reader or prepare(whole.model, inside, policy=policy)
        yield window, start, reader(inside)


class Crops:
    """Interpreters of a local network at tiles of its outputs, each from the crop of x0 that it needs.

    All crops are as large as the largest, where the image is: a network is traced once for each size.
    Raise ``NotLocal`` if what the network decides is not local.

    Parameters
    ----------
    reader : Reader
        What makes the interpreters.
    x0 : torch.Tensor
        The image, (1, C, H, W).
    tiles : list of {dimension: (first, last)}
        Tiles of the output (1, C, H, W) that reach along each dimension as far as any does.
    """

    def __init__(self, reader: Reader, x0: torch.Tensor, tiles: list[Intervals]) -> None:
        self.whole, self.reader = Whole.of("crops", reader.model, x0), reader
        cuts = [self.whole.cut(self.whole.field(self._followed(tile))) for tile in tiles]
        self._least = {d: max(end - first for first, end in (cut[d] for cut in cuts)) for d in (2, 3)}

    def at(self, tile: Intervals) -> tuple[LinearInterpreter | None, Offsets, Offsets]:
        """The interpreter of a tile, where its crop begins in x0, and in the output.

        It is None where the crop is all of x0. Raise ``NotLocal`` if no crop does what the whole image does.
        """
        whole = self.whole
        need = needed(whole.traced, whole.output, self._followed(tile))
        box, start = box_of(whole, need, self._least)
        inside = whole.x0[(slice(None), *box)]
        if inside.shape == whole.x0.shape:
            return None, {2: 0, 3: 0}, {2: 0, 3: 0}
        return self.reader(inside), start, {d: whole.shift(d, start) for d in (2, 3)}

    def _followed(self, tile: Intervals) -> Intervals:
        return {d: ends for d, ends in tile.items() if d in self.whole.traced.follows[self.whole.output]}


def rows_of(whole: Whole, places: list[Place], policy: Any, reader: Reader | None = None) -> list[LocalRow]:
    """The rows of places of the output; a reader spares the trace."""
    follows = whole.traced.follows[whole.output]
    boxes = [{d: (p, p) for d, p in enumerate(place, 1) if d in follows} for place in places]
    found: dict[int, LocalRow] = {}
    for window, start, lin in _interpreted(whole, _windows(whole, boxes), policy, reader):
        inner = [tuple(p - whole.shift(d, start) for d, p in enumerate(places[i], 1)) for i in window.members]
        for i, (index, row) in zip(window.members, lin.F.iter_rows(inner, progress=False)):
            cut = whole.cut(whole.field(boxes[i]))
            own = [slice(first - start[d], end - start[d]) for d, (first, end) in cut.items()]
            box = (slice(0, whole.inputs[0]), *(slice(*ends) for ends in cut.values()))
            values = row[(slice(None), *own)].clone()
            found[i] = LocalRow(values, box, float(lin.y0[0][index]), float(lin.residual[0][index]))
    return [found[i] for i in range(len(places))]


def columns_of(
    whole: Whole, places: list[Place], policy: Any, reader: Reader | None = None
) -> list[LocalColumn]:
    """The columns of places of the input; a reader spares the trace."""
    boxes = [touched(whole.traced, whole.image, whole.output, dict(enumerate(p[1:], 2))) for p in places]
    used = [i for i, box in enumerate(boxes) if box is not None]
    found = {i: _unused(whole) for i in range(len(places)) if i not in used}
    windows = _windows(whole, [box for box in boxes if box is not None])
    for window, start, lin in _interpreted(whole, windows, policy, reader):
        members = [used[m] for m in window.members]
        inner = [(places[i][0], *(p - start[d] for d, p in enumerate(places[i][1:], 2))) for i in members]
        columns = lin.F.T.iter_rows(inner, progress=False)
        for i, (_, column) in zip(members, columns):
            known = boxes[i] or {}
            ends = [known.get(d, (0, n - 1)) for d, n in enumerate(whole.outputs[1:], 2)]
            shifts = [whole.shift(d, start) for d in (2, 3)]
            own = [slice(a - s, b + 1 - s) for (a, b), s in zip(ends, shifts)]
            box = (slice(0, whole.outputs[0]), *(slice(a, b + 1) for a, b in ends))
            found[i] = LocalColumn(column[(slice(None), *own)].clone(), box)
    return [found[i] for i in range(len(places))]


def _unused(whole: Whole) -> LocalColumn:
    """The column of a pixel that no output reads."""
    channels = whole.outputs[0]
    return LocalColumn(whole.x0.new_zeros(channels, 0, 0), (slice(0, channels), slice(0, 0), slice(0, 0)))


def _graph(model: nn.Module) -> fx.GraphModule:
    """The canonical graph of a model of one image, without sizes."""
    try:
        graph = canonical(model, None, "symbolic", rank=4)
    except TraceFailure as error:
        raise NotLocal(
            f"{type(model).__name__} is not traced without sizes, so that what it does on a crop is not"
            f" known; {WAY_OUT}"
        ) from error
    inputs = [n.name for n in graph.graph.nodes if n.op == "placeholder"]
    if len(inputs) != 1:
        raise NotLocal(
            f"{type(model).__name__} takes {len(inputs)} inputs ({', '.join(inputs)}); rows and columns of"
            f" crops are about networks of one image; {WAY_OUT}"
        )
    return graph


def _traced(graph: fx.GraphModule, x: torch.Tensor, what: str) -> Traced:
    try:
        with quiet():  # torch logs a size that does not suit an operator; it is said below
            return trace_locality(graph, tuple(x.shape), x.dtype)
    except NotLocal:
        raise
    except Exception as error:  # an operator may raise anything at sizes that do not suit it
        raise NotLocal(
            f"the network does not run on {what}, {tuple(x.shape)}: {first_line(error)}; {WAY_OUT}"
        ) from error


def place_of(index: Any, shape: Iterable[int], what: str) -> Place:
    """A place (c, y, x) without negative numbers; raises ``PlaceIndexError`` if it is none."""
    sizes = tuple(shape)
    fits = isinstance(index, tuple) and len(index) == len(sizes)
    if not fits or not all(
        hasattr(i, "__index__") and not isinstance(i, bool) and -n <= int(i) < n for i, n in zip(index, sizes)
    ):
        raise PlaceIndexError(f"index {index} is not a place (c, y, x) of the {what} {sizes}")
    return tuple(int(i) % n for i, n in zip(index, sizes))


def box_of(
    whole: Whole, need: dict[fx.Node, Intervals], least: dict[int, int] | None = None
) -> tuple[tuple[slice, ...], dict[int, int]]:
    """The box of x0, (C, H, W), on which the network computes the same as on all of x0, and its start.

    It is the box of the field, or a wider one if a slice that counts from the end needs a margin, or if
    ``least`` asks for so many pixels along a dimension.
    """
    field = {d: need.get(whole.image, {}).get(d, (0, 0)) for d in (2, 3)}
    first_error: NotLocal | None = None
    for more in MARGINS:
        cuts = {
            d: _widened(whole, d, cut, (least or {}).get(d, 0)) for d, cut in whole.cut(field, more).items()
        }
        box = (slice(0, whole.inputs[0]), *(slice(*cut) for cut in cuts.values()))
        if first_error is not None and all(cut == (0, whole.x0.shape[d]) for d, cut in cuts.items()):
            break
        start = {d: cut[0] for d, cut in cuts.items()}
        try:
            check_alike(whole.traced, whole.crop(box), need, start)
            return box, start
        except NotLocal as error:
            first_error = first_error or error
    assert first_error is not None  # the first margin returned or raised
    raise first_error


def _widened(whole: Whole, d: int, cut: tuple[int, int], least: int) -> tuple[int, int]:
    """A cut of at least so many pixels, or of all there are; it begins at a multiple of the grain."""
    (first, end), n, step = cut, whole.x0.shape[d], grain(whole.traced)
    first = min(first, max(0, n - least) // step * step)
    longest = min(n, first + least)
    return first, end if longest <= end else longest


def _cut(field: Interval, step: int, more: int, n: int) -> tuple[int, int]:
    first, last = field[0] // step - more, -(-(field[1] + 1) // step) + more
    return max(0, first * step), min(n, last * step)
