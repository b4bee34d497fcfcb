"""One row of a local network from the crop of x0 inside its receptive field: exact, at any size of the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import NotLocal, PlaceIndexError
from ..ir import info
from ..rewrite import Program
from ..rules import registry
from ..transform import program_of
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


def local_row(model: nn.Module, x0: torch.Tensor, index: tuple[int, ...], policy: Any = None) -> LocalRow:
    """A row of F at x0 (1, C, H, W), computed from the crop of x0 inside its receptive field alone.

    The rest of x0 is not looked at: time and memory are those of the crop, and the values are those of the whole
    computation, borders included. ``index`` is a place (c, y, x) of the un-batched output of the whole image.
    Raises ``NotLocal`` where the output, or a decision on the way, depends on the whole image (global pooling, instance norm).
    """
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
    cuts = [_cut(found[d], place[d - 1], x0.shape[d], shape[d], _grain(program)) for d in (2, 3)]
    box = (slice(0, x0.shape[1]), *(slice(a, b) for a, b, _ in cuts))
    lin = interpret(model, x0[(slice(None), *box)], policy=policy)
    inner = (place[0], *(p for _, _, p in cuts))
    values = lin.F.row(inner)
    return LocalRow(values, box, float(lin.y0[0][inner]), float(lin.residual[0][inner]))


def _refuse_global(program: Program) -> None:
    """Name what makes a decision depend on the whole image."""
    rules = registry().rules
    for node in program.gm.graph.nodes:
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


def _cut(reach: Any, place: int, n: int, outputs: int, grain: int) -> tuple[int, int, int]:
    """(first, end, place in the crop's output) along one axis; the first is a multiple of the grain, so that grids agree."""
    first, end = int(reach.first[place]), int(reach.last[place]) + 1
    first -= first % grain
    end = min(n, -(-end // grain) * grain)
    shift = first * outputs / n
    near = round(shift)
    if abs(shift - near) > 0.5 or outputs >= n and outputs % n:
        raise NotLocal("the output's size is no multiple of the input's: the crop's places are not known")
    per = outputs // n if outputs >= n else 0
    return first, end, place - (first * per if per else first // -(-n // outputs))

