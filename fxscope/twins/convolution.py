"""The transpose of a convolution is a transposed convolution, and the other way round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F

from .base import AdjointContext, ShapeRef
from .places import Shape, Support, kept, spread_places, window_places

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
SPATIAL = {function: n for table in (FORWARD, TRANSPOSED) for n, function in table.items()}


def transpose(k: AdjointContext, function: Callable, y, x: ShapeRef, weight, options: dict):
    """W^T y for y = W x: every stride, dilation, group and size.

    A stride loses up to stride - 1 places behind the last window. Their number depends on the size of x, and
    no exporter takes a symbolic output padding: so the largest one is taken, and what is too much is cut off.
    """
    n = SPATIAL[function]
    form = {
        name: per_axis(value, n)
        for name, value in options.items()
        if name in ("stride", "dilation", "padding", "output_padding")
    }
    spatial = [x.size(x.ndim - n + i) for i in range(n)]
    if function is TRANSPOSED[n]:
        y = FORWARD[n](y, weight, None, form["stride"], form["padding"], form["dilation"], options["groups"])
        return _cropped(y, n, form, spatial)
    if form["padding"] == "same":
        return _from_same(
            n, y, weight, [k.extent(weight, 2 + i) for i in range(n)], form["dilation"], options["groups"]
        )
    padding = [0] * n if form["padding"] == "valid" else form["padding"]
    most = [stride - 1 for stride in form["stride"]]
    y = TRANSPOSED[n](y, weight, None, form["stride"], padding, most, options["groups"], form["dilation"])
    for i in range(n):
        y = y.narrow(i - n, 0, spatial[i]) if most[i] else y
    return y


def _from_same(n: int, y, weight, kernel: list, dilation: list, groups: int):
    """padding="same" pads the odd place behind: the full transposed convolution, without the padding."""
    total = [d * (size - 1) for d, size in zip(dilation, kernel)]
    full = TRANSPOSED[n](y, weight, None, 1, 0, 0, groups, dilation)
    return F.pad(full, [-p for t in reversed(total) for p in (t // 2, t - t // 2)])


def _cropped(y, n: int, form: dict, spatial: list):
    """An output padding as large as the stride gives the convolution more places than the input had."""
    for i in range(n):
        if form["output_padding"][i] >= form["stride"][i]:
            y = y.narrow(i - n, 0, spatial[i])
    return y


def per_axis(value: Any, n: int) -> Any:
    """One value an axis."""
    if isinstance(value, str):
        return value
    value = list(value) if isinstance(value, (list, tuple)) else [value]
    return value * n if len(value) == 1 else value


def explicit_padding(padding: Any, kernel: Shape, dilation: list[int]) -> list[int]:
    """Padding in front, per axis; "same" puts the odd one behind."""
    if padding == "same":
        return [d * (k - 1) // 2 for k, d in zip(kernel, dilation)]
    return [0] * len(kernel) if padding == "valid" else per_axis(padding, len(kernel))


def of_convolution(function: Any, kernel: Shape, options: dict, given: Shape, shape: Shape) -> Support:
    """The windows of a batched convolution, or what a transposed one spreads; every channel is read."""
    n = SPATIAL[function]
    stride, dilation = per_axis(options["stride"], n), per_axis(options["dilation"], n)
    padding = explicit_padding(options["padding"], kernel, dilation)
    places = spread_places if function is TRANSPOSED[n] else window_places
    found = kept(given, 0)
    for i in range(n):
        table = places(shape[2 + i], given[2 + i], kernel[i], stride[i], padding[i], dilation[i])
        found[2 + i] = (2 + i, table)
    return found
