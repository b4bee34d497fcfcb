"""How far every axis reaches: which input places each output place can depend on, from the tape alone, without probing.

For every value of the tape and every dimension of it, a ``Reach`` holds the interval of places of one input dimension; a
dimension without one depends on everything. Each twin says how an axis of its output reads an axis of its input; what is
not known to be local is taken to read everything, so the boxes are supersets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.fx as fx
import torch.nn.functional as F

from ...passes.rewrite import Probe, Program, Record
from ...rules._local import explicit_padding, spread_places, window_places
from ...twins import (
    Add,
    Average,
    BatchNorm,
    Choose,
    Concat,
    Conv,
    Dense,
    Dims,
    Index,
    Pad,
    Rearrange,
    Resample,
    Reshape,
    Select,
    TangentProduct,
    Twin,
)
from ...twins.convolution import per_axis
from ...twins.separable import axis_matrix

Table = tuple[np.ndarray, np.ndarray]  # first and last place that every place reads; first > last: none
Reading = dict[int, tuple[int, Table]]  # {dimension of the output: (dimension of the input, table)}


@dataclass(frozen=True)
class Reach:
    """Along one dimension: the input dimension it follows, and the interval of its places for each of its own."""

    axis: int
    first: np.ndarray
    last: np.ndarray


def reaches(program: Program) -> dict[Any, dict[int, Reach]]:
    """{tape value: {its dimension: Reach}} for a program of one probe whose shapes are known from example inputs."""
    probe = program.probes[0]
    shape = _shape(probe.node)
    found: dict[Any, dict[int, Reach]] = {
        probe: {} if shape is None else {d: Reach(d, np.arange(n), np.arange(n)) for d, n in enumerate(shape)}
    }
    for record in program.tape:
        found[record] = _of_record(record, found)
    return found


def _of_record(record: Record, found: dict[Any, dict[int, Reach]]) -> dict[int, Reach]:
    shape = _shape(record.like)
    inputs = [_shape(v.node if isinstance(v, Probe) else v.like) for v in record.inputs]
    if shape is None or None in inputs:
        return {}
    parts = []
    for i, value in enumerate(record.inputs):
        reading = _reading(record.twin, i, inputs, shape)
        parts.append(
            {
                d: _through(found[value][source], table)
                for d, (source, table) in reading.items()
                if source in found[value]
            }
        )
    return _union(parts)


def _through(reach: Reach, table: Table) -> Reach:
    """What is read of the input, through what its places read themselves."""
    size = len(reach.first)
    if (np.diff(reach.first) >= 0).all() and (np.diff(reach.last) >= 0).all():
        a, b = table[0].clip(0, size - 1), table[1].clip(0, size - 1)
        none = table[0] > table[1]
        return Reach(
            reach.axis, np.where(none, np.iinfo(int).max, reach.first[a]), np.where(none, -1, reach.last[b])
        )
    pairs = [(a, b) for a, b in zip(*table)]
    first = np.array(
        [reach.first[max(a, 0) : b + 1].min() if a <= b and a < size else np.iinfo(int).max for a, b in pairs]
    )
    last = np.array([reach.last[max(a, 0) : b + 1].max() if a <= b and a < size else -1 for a, b in pairs])
    return Reach(reach.axis, first, last)


def _union(parts: list[dict[int, Reach]]) -> dict[int, Reach]:
    """A sum depends on what its operands depend on; where one of them depends on everything, so does it."""
    found = {}
    for d in set.intersection(*(set(p) for p in parts)) if parts else ():
        reaches = [p[d] for p in parts]
        if len({r.axis for r in reaches}) == 1:
            found[d] = Reach(
                reaches[0].axis,
                np.minimum.reduce([r.first for r in reaches]),
                np.maximum.reduce([r.last for r in reaches]),
            )
    return found


def _shape(node: fx.Node | None) -> tuple[int, ...] | None:
    value = None if node is None else node.meta.get("val")
    return tuple(value.shape) if isinstance(value, torch.Tensor) else None


def _reading(twin: Twin, which: int, inputs: list[tuple[int, ...]], shape: tuple[int, ...]) -> Reading:
    """How input ``which`` of a twin is read; dimensions that are left out read everything."""
    given = inputs[which]
    for kinds, function in _READINGS:
        if isinstance(twin, kinds):
            return function(twin, which, inputs, shape)
    return (
        _aligned(given, shape)
        if twin.keeps_shape and not hasattr(twin, "dims") and not hasattr(twin, "dim")
        else {}
    )


def _same(n: int) -> Table:
    return np.arange(n), np.arange(n)


def _aligned(given: tuple[int, ...], shape: tuple[int, ...]) -> Reading:
    """Broadcasting: dimensions counted from the end; one of size 1 is read everywhere."""
    offset = len(shape) - len(given)
    return {
        d + offset: (d, _same(n) if n == shape[d + offset] else (np.zeros(shape[d + offset], int),) * 2)
        for d, n in enumerate(given)
    }


def _elementwise(twin, which, inputs, shape) -> Reading:
    return _aligned(inputs[which], shape)


def _conv(twin: Conv, which, inputs, shape) -> Reading:
    given = inputs[0]
    spatial = 3 if "3d" in twin.function.__name__ else 1 if "1d" in twin.function.__name__ else 2
    weight = _shape(twin.weight)
    if weight is None or not twin.batched:
        return {}
    stride, dilation = per_axis(twin.options["stride"], spatial), per_axis(twin.options["dilation"], spatial)
    padding = explicit_padding(twin.options["padding"], weight[2:], dilation)
    table = spread_places if "transpose" in twin.function.__name__ else window_places
    rest = {
        2 + i: (2 + i, table(shape[2 + i], given[2 + i], weight[2 + i], stride[i], padding[i], dilation[i]))
        for i in range(spatial)
    }
    return {0: (0, _same(given[0])), **rest}


def _select(twin: Select, which, inputs, shape) -> Reading:
    given, n = inputs[0], twin.dims
    front = {d: (d, _same(given[d])) for d in range(len(given) - n)}
    w = twin.window
    if w is None:
        return front
    start = len(given) - n
    return front | {
        start + i: (
            start + i,
            window_places(
                shape[start + i], given[start + i], w.kernel[i], w.stride[i], w.padding[i], w.dilation[i]
            ),
        )
        for i in range(n)
    }


def _resample(twin: Resample, which, inputs, shape) -> Reading:
    given = inputs[0]
    spatial = len(given) - 2
    options = dict(twin.options)
    if _holds_node(options.get("size")):
        options["size"] = list(shape[2:])
    like = torch.empty(0, dtype=torch.float64)
    tables = {0: (0, _same(given[0])), 1: (1, _same(given[1]))}
    for i in range(spatial):
        matrix = axis_matrix(twin.function, options, i, spatial, given[2 + i], like) != 0
        tables[2 + i] = (2 + i, _of_matrix(matrix.numpy()))
    return tables


def _holds_node(value: Any) -> bool:
    found: list = []
    fx.node.map_arg(value, lambda n: found.append(n))
    return bool(found)


def _of_matrix(nonzero: np.ndarray) -> Table:
    """From (inputs, outputs) of what is not zero."""
    n = nonzero.shape[0]
    any_ = nonzero.any(0)
    return np.where(any_, nonzero.argmax(0), 1), np.where(any_, n - 1 - nonzero[::-1].argmax(0), 0)


def _rearrange(twin: Rearrange, which, inputs, shape) -> Reading:
    given = inputs[0]
    if twin.function is F.channel_shuffle:
        return {d: (d, _same(n)) for d, n in enumerate(given) if d != 1}
    if twin.function is F.pixel_shuffle:
        r = twin.options["upscale_factor"]
        return {0: (0, _same(given[0])), **{d: (d, (np.arange(shape[d]) // r,) * 2) for d in (2, 3)}}
    if twin.function is F.pixel_unshuffle:
        r = twin.options["downscale_factor"]
        return {
            0: (0, _same(given[0])),
            **{d: (d, (np.arange(shape[d]) * r, np.arange(shape[d]) * r + r - 1)) for d in (2, 3)},
        }
    return {}


def _pad(twin: Pad, which, inputs, shape) -> Reading:
    given, rank = inputs[0], len(inputs[0])
    if _holds_node(twin.pad):
        return {}
    tables = {}
    for d in range(rank):
        axis = rank - 1 - d
        before, behind = (twin.pad[2 * axis], twin.pad[2 * axis + 1]) if 2 * axis < len(twin.pad) else (0, 0)
        places = torch.arange(given[d], dtype=torch.float64)[None, None]
        padded = (
            F.pad(
                places, [before, behind], twin.mode, **({"value": -1.0} if twin.mode == "constant" else {})
            )[0, 0]
            .long()
            .numpy()
        )
        tables[d] = (d, (np.where(padded < 0, 1, padded), np.where(padded < 0, 0, padded)))
    return tables


def _concat(twin: Concat, which, inputs, shape) -> Reading:
    dim = twin.dim % len(shape)
    start = sum(s[dim] for s in inputs[:which])
    places = np.arange(shape[dim]) - start
    inside = (places >= 0) & (places < inputs[which][dim])
    own = {d: (d, _same(n)) for d, n in enumerate(inputs[which]) if d != dim}
    return own | {dim: (dim, (np.where(inside, places, 1), np.where(inside, places, 0)))}


def _dense(twin, which, inputs, shape) -> Reading:
    return {d: (d, _same(n)) for d, n in enumerate(inputs[0][:-1])}


def _dims(twin: Dims, which, inputs, shape) -> Reading:
    """Permutations, reductions, and what keeps its trailing or leading dimensions; the rest reads everything."""
    given = inputs[which]
    if twin.function is torch.permute:
        order = [d % (len(given) + 1) - 1 for d in twin.args[0]][1:]
        return {i: (d, _same(given[d])) for i, d in enumerate(order)}
    if twin.function in (torch.mean, torch.sum) and len(given) == len(shape):
        return {d: (d, _same(n)) for d, n in enumerate(given) if (shape[d] == n and n > 1) or n == 1}
    return {}


def _reshape(twin, which, inputs, shape) -> Reading:
    """Trailing dimensions that a reshape leaves as they are."""
    given, kept = inputs[0], {}
    for back in range(1, min(len(given), len(shape)) + 1):
        if given[-back] != shape[-back]:
            break
        kept[len(shape) - back] = (len(given) - back, _same(given[-back]))
    return kept


def _index(twin: Index, which, inputs, shape) -> Reading:
    key = twin.key if isinstance(twin.key, tuple) else (twin.key,)
    if _holds_node(key) or not all(isinstance(k, slice) or k is Ellipsis for k in key):
        return {}
    given = inputs[0]
    where = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    full = [
        *key[:where],
        *[slice(None)] * (len(given) - sum(k is not Ellipsis for k in key)),
        *key[where + 1 :],
    ]
    return {d: (d, (np.arange(given[d])[k],) * 2) for d, k in enumerate(full)}


_READINGS: list[tuple[Any, Callable]] = [
    (Conv, _conv),
    (Select, _select),
    (Rearrange, _rearrange),
    (Resample, _resample),
    (Pad, _pad),
    (Concat, _concat),
    (Dense, _dense),
    (Dims, _dims),
    (Reshape, _reshape),
    (Index, _index),
    ((Add, Choose, Average, TangentProduct, BatchNorm), _elementwise),
]
