"""Which places of an input each place of a twin's output reads, along every dimension.

A ``Support`` is {dimension of the output: (dimension of the input, (first, last))}: the arrays hold, for
every place of the output, the first and the last place of the input that it reads; first > last where it
reads none. Along a dimension without an entry every place is read, so a ``Support`` may hold too much and
never too little. Dimensions are counted without K.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.fx as fx
import torch.nn.functional as F

from ..graph.ir import notes

Shape = tuple[int, ...]
Table = tuple[np.ndarray, np.ndarray]
Support = dict[int, tuple[int, Table]]


def own(n: int) -> Table:
    """Every place reads its own."""
    return np.arange(n), np.arange(n)


def kept(given: Shape, *dims: int) -> Support:
    """Dimensions of the input that stand in the same place of the output and are not moved along."""
    return {d: (d, own(given[d])) for d in dims}


def aligned(given: Shape, shape: Shape) -> Support:
    """Broadcasting: dimensions are counted from the end, and one of size 1 is read everywhere."""
    offset = len(shape) - len(given)
    return {
        d + offset: (d, own(n) if n == shape[d + offset] else (np.zeros(shape[d + offset], int),) * 2)
        for d, n in enumerate(given)
    }


def reshaped(given: Shape, shape: Shape) -> Support:
    """The leading and the trailing dimensions whose sizes a reshape keeps."""
    found: Support = {}
    for d, (n, m) in enumerate(zip(given, shape)):
        if n != m:
            break
        found[d] = (d, own(n))
    for back in range(1, min(len(given), len(shape)) + 1):
        if given[-back] != shape[-back]:
            break
        found[len(shape) - back] = (len(given) - back, own(given[-back]))
    return found


def of_product(given: Shape, shape: Shape, contracted: int) -> Support:
    """A matrix product: every dimension but the contracted one, which is counted from the end."""
    if len(given) < 2 or len(shape) < len(given):
        return {}
    found = aligned(given, shape)
    return {d: read for d, read in found.items() if read[0] != len(given) + contracted}


def holds_node(value: Any) -> bool:
    """Whether a nest holds a node, so that its value is known in the emitted graph alone."""
    found: list[fx.Node] = []
    fx.node.map_arg(value, found.append)
    return bool(found)


def shape_of(node: Any) -> Shape | None:
    """The shape of a node's value, where example inputs told it."""
    value = notes(node).get("val") if isinstance(node, fx.Node) else None
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def window_places(outputs: int, n: int, kernel: int, stride: int, padding: int, dilation: int) -> Table:
    """First and last place of the windows of a convolution or pooling."""
    first = np.arange(outputs) * stride - padding
    return first.clip(0, None), (first + dilation * (kernel - 1)).clip(None, n - 1)


def spread_places(outputs: int, n: int, kernel: int, stride: int, padding: int, dilation: int) -> Table:
    """First and last place that each output of a transposed convolution reads.

    Input i is added to the outputs i stride - padding + dilation t.
    """
    last = np.arange(outputs) + padding
    return (-(-(last - dilation * (kernel - 1)) // stride)).clip(0, None), (last // stride).clip(None, n - 1)


def of_windows(window: Any, front: int, given: Shape, shape: Shape) -> Support:
    """The windows of a max-pool, whose axes begin at dimension ``front``."""
    found: Support = {}
    axes = zip(window.kernel, window.stride, window.padding, window.dilation)
    for d, axis in enumerate(axes, front):
        found[d] = (d, window_places(shape[d], given[d], *axis))
    return found


def of_shuffle(function: Any, options: dict, given: Shape, shape: Shape) -> Support:
    """Channel and pixel shuffles; unfold and fold read everything."""
    if function is F.channel_shuffle:
        return kept(given, *(d for d in range(len(given)) if d != 1))
    found = kept(given, 0)
    for d in (2, 3):
        if function is F.pixel_shuffle:
            found[d] = (d, (np.arange(shape[d]) // options["upscale_factor"],) * 2)
        elif function is F.pixel_unshuffle:
            first = np.arange(shape[d]) * options["downscale_factor"]
            found[d] = (d, (first, first + options["downscale_factor"] - 1))
        else:
            return {}
    return found


def of_concatenation(dim: int, which: int, inputs: list[Shape], shape: Shape) -> Support:
    """Along ``dim`` the places that operand ``which`` fills read it, and the others read none of it."""
    dim, given = dim % len(shape), inputs[which]
    places = np.arange(shape[dim]) - sum(s[dim] for s in inputs[:which])
    inside = (places >= 0) & (places < given[dim])
    found = kept(given, *(d for d in range(len(given)) if d != dim))
    return found | {dim: (dim, (np.where(inside, places, 1), np.where(inside, places, 0)))}
