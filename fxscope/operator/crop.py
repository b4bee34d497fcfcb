"""One row of a local network from the crop of x0 inside its receptive field: exact, at any size of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..draws import draws
from ..errors import NotFloating, NotLocal, PlaceIndexError
from ..ir import info
from ..rewrite import Program
from ..rules import registry
from ..transform import program_of
from ..unchanged import leaves_unchanged
from .interpreter import interpret
from .reach import reaches
from .storage import shapes_at

# rules whose value on x0 depends on the whole image, so that a crop decides otherwise
_GLOBAL = ("mean", "sum", "amax", "amin", "max", "min", "softmax", "log_softmax", "logsumexp", "matmul", "einsum", "linear", "cumsum", "sort", "topk", "roll", "flip", "var", "std", "norm", "vector_norm")


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
    computation, borders included. ``index`` is a place (c, y, x) of the un-batched output of the whole image.
    Raises ``NotLocal`` where the output, or a decision on the way, depends on the whole image (global pooling, instance norm).
    """
    if not x0.is_floating_point():
        raise NotFloating(f"local_row takes a floating image, got {x0.dtype}; lin.F.row(index) probes where integers become floating")
    if x0.dim() != 4 or x0.shape[0] != 1:
        raise PlaceIndexError(f"local_row takes one image (1, C, H, W), got {tuple(x0.shape)}")
    program = program_of(model, policy=policy)
    _refuse_global(program)
    _size(program, x0)
    output = next(iter(program.affine))
    shape = tuple(output.meta["val"].shape)
    place = _place(index, shape[1:])
    found = reaches(program)[program.affine[output]]
    if not {2, 3} <= {r.axis for r in found.values()} or len(shape) != 4:
        raise NotLocal("F is not local: an output depends on the whole image")
    grain, sizes = _grain(program), x0.shape[2:]
    cuts = [_cut(found[d], place[d - 1], n, grain) for d, n in zip((2, 3), sizes)]
    (box, inner), (around, again) = (_crop(c, place, x0.shape, shape) for c in (cuts, [_wider(cut, n, grain) for cut, n in zip(cuts, sizes)]))
    try:
        lin = interpret(model, x0[(slice(None), *box)], policy=policy)
        found = LocalRow(lin.F.row(inner), box, float(lin.y0[0][inner]), float(lin.residual[0][inner]))
        with torch.no_grad():
            y0 = float(model(x0[(slice(None), *around)])[0][again])
    except (RuntimeError, IndexError, PlaceIndexError) as error:
        raise NotLocal(f"the network does not run on the crop {box[1:]} of the image as it does on the whole: {str(error).splitlines()[0]}") from error
    _check_translation(found, x0, y0)
    return found


def _crop(cuts: list[tuple[int, int]], place: tuple[int, ...], given: tuple[int, ...], out: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[int, ...]]:
    """The box of x0, (C, H, W), and where the place is in the crop's output."""
    at = (_inside(p, first, n, m) for p, (first, _), n, m in zip(place[1:], cuts, given[2:], out[2:]))
    return (slice(0, given[1]), *(slice(*cut) for cut in cuts)), (place[0], *at)


def _check_translation(found: LocalRow, x0: torch.Tensor, wider: float) -> None:
    """The output on a wider crop is the same, or something depends on the image's size or on where its grid begins.

    ``interpolate`` with align_corners or to a fixed size, a slice with a step: the graph tells what they read, not with which weights.
    """
    size = float((found.values * x0[0][found.box]).abs().sum()) + abs(found.r)
    if not abs(found.y0 - wider) <= 200 * torch.finfo(x0.dtype).eps * size:
        raise NotLocal(
            f"the output is {found.y0:.6g} on the crop and {wider:.6g} on a wider one: an operator depends on the image's size or on where its grid begins "
            "(align_corners, a fixed output size, a slice with a step); lin.F.row(index) takes all of the image"
        )


def _refuse_global(program: Program) -> None:
    """Name what makes a decision depend on the whole image."""
    rules = registry().rules
    for node in program.gm.graph.nodes:
        if draws(node):
            raise NotLocal(f"{info(node).place} draws random numbers, and those of a crop are not those of the whole image; lin.F.row(index) takes all of it")
        rule = rules.get(info(node).rule)
        if rule is None or info(node).role not in ("affine", "frozen") or info(node).origin:
            continue
        training = rule.name == "batch_norm" and node.kwargs.get("training", False)
        if rule.verb == "normalize" and (rule.name != "batch_norm" or training) or rule.name in _GLOBAL or rule.name.startswith("adaptive_"):
            raise NotLocal(f"{rule.name} at {info(node).place} depends on the whole image; lin.F.row(index) takes all of it")


def _size(program: Program, x0: torch.Tensor) -> None:
    """Write every shape at the whole image's size on the graph, without running it."""
    for name, value in shapes_at(program.gm, tuple(x0.shape), x0.dtype).items():
        if isinstance(value, torch.Tensor):
            next(n for n in program.gm.graph.nodes if n.name == name).meta["val"] = torch.empty(value.shape, dtype=value.dtype, device="meta")


def _place(index: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    if not isinstance(index, tuple) or len(index) != 3 or not all(-n <= i < n for i, n in zip(index, shape)):
        raise PlaceIndexError(f"index {index} is not a place of the output {shape}")
    return tuple(i % n for i, n in zip(index, shape))


def _grain(program: Program) -> int:
    """A step of the input that moves every grid of the network by whole places: the product of its strides."""
    grain = 1
    for record in program.tape:
        options = getattr(record.twin, "options", {})
        if "transpose" in getattr(getattr(record.twin, "function", None), "__name__", ""):
            continue
        window = getattr(record.twin, "window", None)
        strides = window.stride if window else options.get("stride", options.get("downscale_factor", 1))
        grain *= math.lcm(*[strides] if isinstance(strides, int) else strides)
    return grain


def _cut(reach: Any, place: int, n: int, grain: int) -> tuple[int, int]:
    """(first, end) along one axis, multiples of the grain or the image's end, so that grids agree."""
    first, end = int(reach.first[place]), int(reach.last[place]) + 1
    return first - first % grain, min(n, -(-end // grain) * grain)


def _wider(cut: tuple[int, int], n: int, grain: int) -> tuple[int, int]:
    """The cut with a grain more on every side where the image goes on."""
    return max(0, cut[0] - grain), min(n, cut[1] + grain)


def _inside(place: int, first: int, n: int, outputs: int) -> int:
    """Where a place of the output is in that of a crop that begins at ``first``."""
    if outputs >= n and outputs % n:
        raise NotLocal("the output's size is no multiple of the input's: the crop's places are not known")
    return place - (first * (outputs // n) if outputs >= n else first // -(-n // outputs))
