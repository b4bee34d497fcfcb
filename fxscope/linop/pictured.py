"""What interpreters and operators show in a notebook: x0 and y0, and spaces with the map between them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..results.pictures import bars, chain, image, is_image, side_by_side
from ..results.tables import said

FIRST = 5  # scores that are drawn


def about(lin: Any) -> list[tuple[str, Any]]:
    """What is known of an interpreter without a run of its network."""
    F = lin.F
    return [
        ("network", type(lin.model).__name__),
        ("x0", said(lin.x0)),
        ("F", f"{F.shape[0]:,} x {F.shape[1]:,}, {shapes(F.inputs)} to {shapes(F.outputs)}"),
        ("policy", str(lin.policy)),
        *((f"output {key}", "does not depend on the probe") for key in lin.constant_outputs),
        *(("linearised by its derivative", name) for name in getattr(lin, "linearised", ())),
        (f"states, kept as {lin.memory!r} [MiB]", lin.nbytes / 2**20),
    ]


def shapes(space: Any) -> str:
    """The shapes of a space in a few letters."""
    each = [str(tuple(s)) for s in space.shapes]
    return each[0] if len(each) == 1 else f"{len(each)} tensors {' '.join(each)}"


def seen(lin: Any) -> str:
    """The first image and what the network makes of it; for what is no image, the spaces of F."""
    first = lin.x0[0]
    if not is_image(first):
        return mapped(lin.F, "F")
    name = type(lin.model).__name__
    pictures = [("x0", image(first, f"x0 of {name}"))]
    y0 = next(iter(pytree.tree_leaves(lin.y0)), None)
    if isinstance(y0, torch.Tensor) and y0.dim() and y0.shape[0]:
        pictures += _output(y0[0].detach(), name)
    return side_by_side(pictures)


def _output(y: torch.Tensor, name: str) -> list[tuple[str, str]]:
    if is_image(y):
        return [("y0", image(y, f"y0 of {name}"))]
    if y.dim() != 1:
        return []
    best = y.topk(min(FIRST, len(y)))
    pairs = zip(best.indices.tolist(), best.values.tolist())
    rows = [(f"score {k}", v, f"{v:.4g}") for k, v in pairs]
    return [("the largest scores in y0", bars(rows, f"the largest scores of {name}"))]


def mapped(F: Any, name: str) -> str:
    """The spaces of an operator, and the operator between them."""
    parts = [
        f"{F.inputs.name} {shapes(F.inputs)}",
        f"{name}, {F.shape[0]:,} x {F.shape[1]:,}",
        shapes(F.outputs),
    ]
    return chain(parts, f"{name} from {shapes(F.inputs)} to {shapes(F.outputs)}")
