"""The reach of every axis: the input places on which each output place can depend.

It is found in the tape alone, without a pass. For every dimension of every value of the tape, a ``Reach``
holds the interval of places of one input dimension; a dimension without a ``Reach`` depends on everything.
Each twin tells how an axis of its output reads an axis of its input (``Twin.support``). A twin that does not
tell reads everything, so the boxes are supersets of the true ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...passes.rewrite import Probe, Program, Record
from ...twins.places import Shape, Table, shape_of

ShapeOf = Callable[[Any], Shape | None]


@dataclass(frozen=True)
class Reach:
    """The reach of one dimension: the input dimension that it follows, and its interval for each place."""

    axis: int
    first: np.ndarray
    last: np.ndarray


def reaches(program: Program, shape_of: ShapeOf = shape_of) -> dict[Any, dict[int, Reach]]:
    """{value of the tape: {dimension: Reach}} for a program of one probe.

    ``shape_of`` gives the shape of a node's value, by default that on the example inputs.
    """
    probe = program.probes[0]
    shape = shape_of(probe.node)
    found: dict[Any, dict[int, Reach]] = {
        probe: {} if shape is None else {d: Reach(d, np.arange(n), np.arange(n)) for d, n in enumerate(shape)}
    }
    for record in program.tape:
        found[record] = _of_record(record, found, shape_of)
    return found


def own_images(found: dict[int, Reach], batch: int) -> bool:
    """Whether each image of a value reads its own image of the input, by the reach of its dimensions."""
    reach, own = found.get(0), np.arange(batch)
    if reach is None or reach.axis != 0 or len(reach.first) != batch:
        return False
    return not ((reach.first < own).any() or (reach.last > own).any())


def _of_record(record: Record, found: dict[Any, dict[int, Reach]], shape_of: ShapeOf) -> dict[int, Reach]:
    shape = shape_of(record.like)
    known = [shape_of(v.node if isinstance(v, Probe) else v.like) for v in record.inputs]
    inputs = [s for s in known if s is not None]
    if shape is None or len(inputs) < len(known):
        return {}
    parts = []
    for i, value in enumerate(record.inputs):
        support = record.twin.support(i, inputs, shape)
        parts.append(
            {
                d: _through(found[value][source], table)
                for d, (source, table) in support.items()
                if source in found[value]
            }
        )
    return _union(parts)


def _through(reach: Reach, table: Table) -> Reach:
    """The reach in the input of what reads the given places of a value with this reach."""
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
    """The reach of a sum: the union over its operands; everything, if one of them depends on everything."""
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
