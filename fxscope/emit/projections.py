"""Emit back-projections from inside the network: P_i b for the constants of every layer (paper, eq. 17 and 18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx

from ..graph.ir import info, mark
from ..passes.rewrite import Probe, Program, Record
from ..twins import (
    Add,
    Back,
    BatchNorm,
    Conv,
    Dense,
    Einsum,
    Gate,
    Identity,
    Mask,
    MatmulLeft,
    MatmulRight,
    Normalize,
    Offset,
    Probes,
    Slope,
)
from .backward import Reversal
from .outputs import finish
from .recorded import emit_record
from .sources import Slots, Stored, parameter_of
from .tagging import Tagging
from .transposed import _prune, _Transposed

WEIGHTS = (Conv, Dense, MatmulLeft, MatmulRight, Einsum)
UNITS = (Mask, Slope, Gate)
PLAIN = (BatchNorm, Normalize, Offset, Identity, Add)


@dataclass(frozen=True)
class Projections:
    """Graphs that share one state.

    record  x0 -> (y0, state)
    shares  (state, y2) -> (F^T y2, every constant times the cotangent that it meets, at its own places)
    masked  (state,) -> for every layer its constants, pushed through the unit that follows (the paper's masked biases)
    back    {layer: (state, values at its constants) -> their back-projection to the input}
    masked_back   the same from where ``masked`` ends
    layers  {layer: positions of its constants in ``shares``}
    """

    record: fx.GraphModule
    shares: fx.GraphModule
    masked: fx.GraphModule
    back: dict[str, fx.GraphModule]
    masked_back: dict[str, fx.GraphModule]
    layers: dict[str, tuple[int, ...]]


def emit_projections(program: Program) -> Projections:
    """All graphs of the pixel discussion, stacked (K, B, ...)."""
    slots = Slots()
    emission = _StoredShares(program, slots)
    shares = emission.run()
    layers: dict[str, tuple[int, ...]] = {}
    for i, record in enumerate(emission.records):
        name = layer_of(record)
        layers[name] = (*layers.get(name, ()), i)
    ends = _Masked(program, slots, emission.records)
    masked = ends.run()
    back = {name: _back(program, slots, [emission.records[i] for i in at]) for name, at in layers.items()}
    masked_back = {name: _back(program, slots, [ends.ends[i] for i in at]) for name, at in layers.items()}
    return Projections(emit_record(program, "stacked", slots), shares, masked, back, masked_back, layers)


def layer_of(record: Record) -> str:
    """The layer that a constant belongs to: the linear layer whose output it shifts, through batch norm and its unit; else its own module."""
    walk: Any = record
    while (
        not isinstance(walk.twin, WEIGHTS)
        and isinstance(walk.twin, (BatchNorm, *UNITS))
        and isinstance(walk.inputs[0], Record)
    ):
        walk = walk.inputs[0]
    base = info((walk if isinstance(walk.twin, WEIGHTS) else record).origin)
    return base.module or base.place or record.origin.name


class _StoredShares(_Transposed):
    constants = True

    def __init__(self, program: Program, slots: Slots):
        super().__init__(program, "shares", True, slots)

    def _output(self, reversal: Reversal, found: list) -> None:
        self.records = [r for r, _, _ in reversal.constants]
        shares = [torch.where(y == 0, 0.0, y * c) for _, c, y in reversal.constants]
        self.graph.output(
            (
                found[0].node if len(found) == 1 else tuple(x.node for x in found),
                tuple(s.node for s in shares),
            )
        )


class _Masked:
    """The constants of the records, each pushed to the end of the unit that follows it; ``ends`` are the records there."""

    def __init__(self, program: Program, slots: Slots, records: list[Record]):
        self.program, self.records = program, records
        self.graph = fx.Graph()
        self.source = Stored(program, self.graph, slots)
        self.users: dict[Any, list[Record]] = {}
        for record in program.tape:
            for value in record.inputs:
                self.users.setdefault(value, []).append(record)

    def run(self) -> fx.GraphModule:
        self.source.placeholders()
        with Tagging(self.graph, branch="interpreter", role="affine"):
            found = [self._push(r) for r in self.records]
        self.ends = [end for end, _ in found]
        self.graph.output(tuple(value.node for _, value in found))
        _prune(self.graph)
        return finish(self.program, self.graph, "masked", True, self.source)

    def _push(self, record: Record) -> tuple[Record, Any]:
        back = Back(1, parameter_of(self.program, self.source))
        likes = [self._like(v) for v in record.inputs]
        constant = record.twin.mapped(self.source.proxy).constant(back, *likes)
        like = self._like(record)
        full = constant.new_zeros(like.sizes()) if isinstance(constant, fx.Proxy) else back.blank(like)
        start = value = (full + constant).unsqueeze(0)
        path = [record]
        while len(self.users.get(path[-1], [])) == 1:
            following = self.users[path[-1]][0]
            twin = following.twin
            if not isinstance(twin, (*UNITS, *PLAIN)) or following.rank != path[-1].rank:
                break
            path.append(following)
            if not isinstance(twin, Add):
                value = twin.homogeneous().mapped(self.source.proxy).apply(Probes(1, True), value)
            if isinstance(twin, UNITS) and not isinstance(twin, Normalize):
                return following, value
        return record, start  # no unit before the next layer: the constant as it is

    def _like(self, value: Any) -> Any:
        node, rank = (
            (value.node, self.program.facts.rank(value.node))
            if isinstance(value, Probe)
            else (value.like, value.rank)
        )
        return self.source.like(node, rank)


def _back(program: Program, slots: Slots, records: list[Record]) -> fx.GraphModule:
    graph = fx.Graph()
    source = Stored(program, graph, slots)
    source.placeholders()
    given = [
        fx.Proxy(
            mark(graph.placeholder(f"value_{i}"), branch="interpreter", role="affine", place=r.origin.name),
            source.tracer,
        )
        for i, r in enumerate(records)
    ]
    seeds: dict[Any, Any] = {}
    with Tagging(graph, branch="interpreter", role="affine"):
        for record, value in zip(records, given):
            seeds[record] = value if record not in seeds else seeds[record] + value
        K = given[0].size(0)
    found = list(Reversal(program, source, K).run(seeds).values())
    graph.output(found[0].node if len(found) == 1 else tuple(x.node for x in found))
    _prune(graph)
    return finish(program, graph, "back", True, source)
