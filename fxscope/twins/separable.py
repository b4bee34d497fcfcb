"""Operators that act on each axis by a matrix of its own: pooling by averages, every interpolation.

The matrix of an axis is the operator applied to the identity along it, so no formula of a mode is written
twice; the transpose is a product with it, at any size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.fx as fx
import torch.nn.functional as F

from ..graph.ir import stands_for_sizes
from .base import AdjointContext, ShapeRef
from .places import Shape, Support, Table, holds_node, kept

# {option: what it is on an axis of size one}
_NEUTRAL = {"kernel_size": 1, "stride": 1, "padding": 0, "output_size": 1, "size": 1, "scale_factor": 1.0}
_SPATIAL = {
    F.avg_pool1d: 1,
    F.avg_pool2d: 2,
    F.avg_pool3d: 3,
    F.adaptive_avg_pool1d: 1,
    F.adaptive_avg_pool2d: 2,
    F.adaptive_avg_pool3d: 3,
}
_WHOLE_WINDOW = (F.avg_pool2d, F.avg_pool3d)


def transpose(k: AdjointContext, function: Callable, options: dict, y, x: ShapeRef):
    """The transpose of a separable operator: x2 = M_1^T ... M_d^T y2."""
    spatial = _SPATIAL.get(function) or x.ndim - 2
    if _is_global(options.get("output_size"), spatial):
        return _spread_mean(y, x, spatial)
    if options.get("divisor_override") is not None:
        y = y / options["divisor_override"]
        options = options | {"divisor_override": 1}
    for axis in range(spatial):
        matrix = axis_matrix(function, options, axis, spatial, x.size(x.ndim - spatial + axis), y)
        y = torch.matmul(y.transpose(axis - spatial, -1), matrix.transpose(0, 1)).transpose(
            axis - spatial, -1
        )
    return y


def _is_global(size: Any, spatial: int) -> bool:
    """Whether the output has one place by the numbers in the code."""
    each = list(size) if isinstance(size, (list, tuple)) else [size] * spatial
    return all(isinstance(n, int) and n == 1 for n in each)


def _spread_mean(y, x: ShapeRef, spatial: int):
    """The transpose of a global mean."""
    sizes = [x.size(d) for d in range(x.ndim - spatial, x.ndim)]
    count = sizes[0]
    for size in sizes[1:]:
        count = count * size
    return (y / count).expand([-1] * (x.ndim - spatial + 1) + sizes)


def axis_matrix(function: Callable, options: dict, axis: int, spatial: int, n: Any, like):
    """(n, outputs): row j is what a one at place j of the axis becomes."""
    return on_axis(
        function, options, axis, spatial, torch.eye(n, dtype=like.dtype, device=like.device)
    ).reshape([n, -1])


def on_axis(function: Callable, options: dict, axis: int, spatial: int, rows):
    """(k, outputs): what each of k rows (k, n) along one axis becomes."""
    k, n = rows.shape
    other = 2 if options.get("antialias") else 1  # torch's antialiased kernels err on an axis of size one
    rows = rows.reshape([1, k] + [n if i == axis else 1 for i in range(spatial)])
    rows = rows.expand([-1, -1] + [-1 if i == axis else other for i in range(spatial)])
    made = function(
        rows, **{name: _on_axis(name, value, axis, spatial, other) for name, value in options.items()}
    )
    for i in reversed(range(spatial)):
        made = made if i == axis else made.select(2 + i, 0)
    return made[0]


def _on_axis(name: str, value: Any, axis: int, spatial: int, other: int) -> Any:
    """An option of the whole operator, as it applies to one axis alone; the others keep their size."""
    if name not in _NEUTRAL or value is None:
        return value
    each = (
        [value] * spatial
        if _is_one(value)
        else [value[i] for i in range(min(spatial, _length(value, spatial)))]
    )
    each = each * spatial if len(each) == 1 else each
    neutral = other if name == "size" else _NEUTRAL[name]
    picked = [each[i] if i == axis else neutral for i in range(spatial)]
    return picked if spatial > 1 or name in ("size", "scale_factor") else picked[0]


def _is_one(value: Any) -> bool:
    """Whether an option is one number for all axes.

    That is a plain number, or one size of a tensor: x.size(-1), unlike x.shape[2:].
    """
    return isinstance(value, (int, float)) or (
        isinstance(value, fx.Proxy) and not stands_for_sizes(value.node)
    )


def _length(value: Any, spatial: int) -> int:
    return len(value) if isinstance(value, (list, tuple)) else spatial


def of_separable(function: Any, options: dict, given: Shape, shape: Shape) -> Support:
    """Where the matrix of every spatial axis is not 0."""
    for name in ("size", "output_size"):
        if holds_node(options.get(name)):
            options = options | {name: list(shape[2:])}
    if any(holds_node(value) for value in options.values()):
        return {}  # a window whose size is a value of the graph
    like = torch.empty(0, dtype=torch.float64)
    found = kept(given, 0, 1)
    for i in range(len(given) - 2):
        matrix = axis_matrix(function, options, i, len(given) - 2, given[2 + i], like) != 0
        found[2 + i] = (2 + i, _of_matrix(matrix.numpy()))
    return found


def _of_matrix(nonzero: np.ndarray) -> Table:
    """From (inputs, outputs) of what is not zero."""
    n = nonzero.shape[0]
    any_ = nonzero.any(0)
    return np.where(any_, nonzero.argmax(0), 1), np.where(any_, n - 1 - nonzero[::-1].argmax(0), 0)
