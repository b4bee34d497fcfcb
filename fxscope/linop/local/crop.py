"""One row of a local network from the crop of x0 inside its receptive field, exact at any image size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import NotFloating, NotLocal, PlaceIndexError, TraceFailure, first_line
from ...frontend.quiet import quiet
from ...frontend.unchanged import leaves_unchanged
from ...graph.arguments import check_images, checked
from ...passes.attempts import canonical
from ..reader import interpret
from .locality import WAY_OUT, Traced, check_alike, grain, needed, offset, output_of, trace_locality

MARGINS = (0, 4, 16)  # grains around the field


@dataclass(frozen=True)
class LocalRow:
    """A row of F on its receptive field; outside of it the row is 0.

    Attributes
    ----------
    values : torch.Tensor
        The row on the crop, (C, h, w), in output units per input unit.
    box : tuple of slice
        The crop in x0, one slice for each dimension of (C, H, W).
    y0 : float
        The output.
    r : float
        The residual of the output: <values, x0[box]> + r = y0.
    """

    values: torch.Tensor
    box: tuple[slice, ...]
    y0: float
    r: float


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
    check_images("local_row: x0", x0)
    if not x0.is_floating_point():
        raise NotFloating(
            f"local_row takes a floating image, got {x0.dtype}; lin.F.row(index) probes where integers become"
            " floating"
        )
    if x0.dim() != 4 or x0.shape[0] != 1:
        raise PlaceIndexError(f"local_row takes one image (1, C, H, W), got {tuple(x0.shape)}")
    graph = _graph(model)
    whole, output = _traced(graph, x0, "the image"), output_of(graph)
    place = _place(index, tuple(whole.values[output].shape))
    box, start = _box(whole, graph, x0, needed(whole, output, (0, *place)))
    inside = x0[(slice(None), *box)]
    inner = tuple(
        p - (offset(whole, output, d, start) if d in whole.follows[output] else 0)
        for d, p in enumerate(place, 1)
    )
    lin = interpret(model, inside, policy=policy)
    return LocalRow(lin.F.row(inner), box, float(lin.y0[0][inner]), float(lin.residual[0][inner]))


def _graph(model: nn.Module) -> torch.fx.GraphModule:
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
            f"{type(model).__name__} takes {len(inputs)} inputs ({', '.join(inputs)}); local_row is about"
            f" networks of one image; {WAY_OUT}"
        )
    return graph


def _traced(graph: torch.fx.GraphModule, x: torch.Tensor, what: str) -> Traced:
    try:
        with quiet():  # torch logs a size that does not suit an operator; it is said below
            return trace_locality(graph, tuple(x.shape), x.dtype)
    except NotLocal:
        raise
    except Exception as error:  # an operator may raise anything at sizes that do not suit it
        raise NotLocal(
            f"the network does not run on {what}, {tuple(x.shape)}: {first_line(error)}; {WAY_OUT}"
        ) from error


def _place(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) != 4 or shape[0] != 1:
        raise NotLocal(f"the output is {shape}, no image (1, C, H, W); {WAY_OUT}")
    if (
        not isinstance(index, tuple)
        or len(index) != 3
        or not all(-n <= i < n for i, n in zip(index, shape[1:]))
    ):
        raise PlaceIndexError(f"index {index} is not a place of the output {shape[1:]}")
    return tuple(i % n for i, n in zip(index, shape[1:]))


def _box(
    whole: Traced, graph: torch.fx.GraphModule, x0: torch.Tensor, need: dict
) -> tuple[tuple[slice, ...], dict[int, int]]:
    """The box of x0, (C, H, W), on which the network computes the same as on all of x0, and its start.

    It is the box of the field, or a wider one if a slice that counts from the end needs a margin.
    """
    image = next(n for n in graph.graph.nodes if n.op == "placeholder")
    first_error: NotLocal | None = None
    for more in MARGINS:
        cuts = {d: _cut(need.get(image, {}).get(d, (0, 0)), grain(whole), more, x0.shape[d]) for d in (2, 3)}
        box = (slice(0, x0.shape[1]), *(slice(*cut) for cut in cuts.values()))
        if first_error is not None and all(cut == (0, x0.shape[d]) for d, cut in cuts.items()):
            break
        start = {d: cut[0] for d, cut in cuts.items()}
        try:
            check_alike(whole, _traced(graph, x0[(slice(None), *box)], f"the crop {box[1:]}"), need, start)
            return box, start
        except NotLocal as error:
            first_error = first_error or error
    assert first_error is not None  # the first margin returned or raised
    raise first_error


def _cut(field: tuple[int, int], step: int, more: int, n: int) -> tuple[int, int]:
    """(first, end) of a field and its margin, multiples of the grain or the end of the image."""
    first, last = field[0] // step - more, -(-(field[1] + 1) // step) + more
    return max(0, first * step), min(n, last * step)
