"""The narrowest cut of the tape: the value of fewest numbers through which every path from the probe goes.

F = A B there, with B from the inputs to the cut and A from the cut to the outputs, so that the rank of F is
at most the width of the cut.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch.fx as fx

from ..graph.ir import notes
from ..twins import Conv, Dense
from ..twins.places import shape_of
from .rewrite import Probe, Program, Record


def narrowest(program: Program) -> Record | None:
    """The record of fewest numbers among the cuts; None if no cut is narrower than inputs and outputs."""
    ends = [p.node for p in program.probes], list(program.affine)
    sizes = [[shape_of(n) for n in nodes] for nodes in ends]
    if any(s is None for side in sizes for s in side):
        return None
    limit = min(sum(_count(s) for s in side) for side in sizes)
    widths = {r: _count(shape_of(r.like)) for r in cuts(program) if shape_of(r.like) is not None}
    best = min(widths, key=widths.__getitem__, default=None)
    return best if best is not None and widths[best] < limit else None


def cuts(program: Program) -> list[Record]:
    """The records that are the only values read after them."""
    last: dict[Any, int] = {}
    for i, record in enumerate(program.tape):
        for value in record.inputs:
            last[value] = i
    for value in program.affine.values():
        last[value] = len(program.tape)
    live: set[Any] = {p for p in program.probes if p in last}
    found = []
    for i, record in enumerate(program.tape):
        live = {v for v in live if last[v] > i}
        if last.get(record, -1) > i:
            live.add(record)
        if live == {record}:
            found.append(record)
    return found


def split(program: Program, cut: Record) -> tuple[Program, Program]:
    """The programs of B, from the probes to the cut, and of A, from the cut to the outputs."""
    assert cut.like is not None
    at = program.tape.index(cut) + 1
    body = dataclasses.replace(program, tape=program.tape[:at], outputs=cut.like, affine={cut.like: cut})
    probe = Probe("h1", cut.like)
    done: dict[Any, Any] = {cut: probe}
    for record in program.tape[at:]:
        done[record] = dataclasses.replace(record, inputs=tuple(done[v] for v in record.inputs))
    head = dataclasses.replace(
        program,
        probes=[probe],
        tape=list(done.values())[1:],
        affine={n: done[v] for n, v in program.affine.items()},
    )
    return body, head


def work(program: Program) -> float:
    """Multiplications of one pass: those of convolutions and dense layers, and one for each other number."""
    return sum(_of_record(r) for r in program.tape)


def _of_record(record: Record) -> float:
    shape, twin = shape_of(record.like), record.twin
    if shape is None:
        return 0
    weight = _of_weight(twin.weight) if isinstance(twin, (Conv, Dense)) else None
    if weight is None:
        return _count(shape)
    if isinstance(twin, Conv) and "output_padding" in twin.options:
        before = record.inputs[0]
        given = shape_of(before.node if isinstance(before, Probe) else before.like)
        return _count(given or shape) * _count(weight) / weight[0]
    return _count(shape) * _count(weight) / weight[0]


def _of_weight(node: Any) -> tuple[int, ...] | None:
    """The shape of a weight, or of the one that a batch norm was folded into."""
    while isinstance(node, fx.Node) and notes(node).get("folded"):
        node = node.args[0]
    return shape_of(node)


def _count(shape: tuple[int, ...] | None) -> int:
    total = 1
    for n in shape or ():
        total *= n
    return total
