"""One row of a local network from the crop of x0 inside its receptive field: exact, at any size of the image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...emit.pipeline import canonical
from ...errors import NotFloating, NotLocal, PlaceIndexError, TraceFailure
from ...frontend.unchanged import leaves_unchanged
from ..interpreter import interpret
from .locality import WAY_OUT, Traced, check_alike, grain, needed, offset, output_of, trace_locality

MARGINS = (0, 4, 16)  # grains around the field


@dataclass(frozen=True)
class LocalRow:
    """A row of F inside its receptive field; everything outside is 0.

    values  (C, h, w), the row on the crop;  box  where the crop lies in x0, one slice a dimension of (C, H, W)
    y0, r   the output, and its residual: <values, x0[box]> + r = y0
    """

    values: torch.Tensor
    box: tuple[slice, ...]
    y0: float
    r: float


@leaves_unchanged
def local_row(model: nn.Module, x0: torch.Tensor, index: tuple[int, ...], policy: Any = None) -> LocalRow:
    """A row of F at x0 (1, C, H, W), computed from the crop of x0 inside its receptive field alone.

    The rest of x0 is not looked at: time and memory are those of the crop, and the values are those of the whole
    computation, borders included. ``index`` is a place (c, y, x) of the un-batched output of the whole image. The field is
    that of every path to the output, the decisions' included, and each operator on the way must be known to be local and
    to do on the crop what it does on the whole image.

    Raises ``NotLocal``, with the first operator that is not (global pooling, instance norm, a median over the image,
    coordinates, an output of a fixed size).
    """
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
    lin = interpret(model, inside, policy=policy, frontend="symbolic")
    return LocalRow(lin.F.row(inner), box, float(lin.y0[0][inner]), float(lin.residual[0][inner]))


def _graph(model: nn.Module) -> torch.fx.GraphModule:
    """The canonical graph of a model that takes one image, free of sizes."""
    try:
        graph = canonical(model, None, "symbolic")
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
        return trace_locality(graph, tuple(x.shape), x.dtype)
    except NotLocal:
        raise
    except Exception as error:  # whatever an operator raises at sizes that do not suit it
        raise NotLocal(
            f"the network does not run on {what}, {tuple(x.shape)}:"
            f" {(str(error) or type(error).__name__).splitlines()[0]}; {WAY_OUT}"
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
    """The box of x0, (C, H, W), on which the network does what it does on the whole image, and where it begins.

    That of the field; where a slice that counts from an end needs more around it, a wider one.
    """
    image, first_error = next(n for n in graph.graph.nodes if n.op == "placeholder"), None
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
    raise first_error


def _cut(field: tuple[int, int], step: int, more: int, n: int) -> tuple[int, int]:
    """(first, end) of a field and what is around it, multiples of the grain or the image's end, so that grids agree."""
    first, last = field[0] // step - more, -(-(field[1] + 1) // step) + more
    return max(0, first * step), min(n, last * step)
