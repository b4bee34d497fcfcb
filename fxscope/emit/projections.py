"""Emit back-projections from inside the network: P_i b for the constants of every layer (eq. 17 and 18)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.fx as fx

from ..graph.ir import info, mark
from ..passes.rewrite import Program, Record
from ..twins import (
    Add,
    AdjointContext,
    BatchNorm,
    Conv,
    Dense,
    Einsum,
    ForwardContext,
    Gate,
    Identity,
    Mask,
    MatmulLeft,
    MatmulRight,
    Normalize,
    Offset,
    Slope,
)
from .backward import Reversal, shape_of
from .outputs import finish
from .recorded import emit_record
from .sources import Slots, StateSource, parameter_of
from .tagging import Tagging
from .transposed import _prune, _Transposed, one_or_all

WEIGHTS = (Conv, Dense, MatmulLeft, MatmulRight, Einsum)
UNITS = (Mask, Slope, Gate)
PLAIN = (BatchNorm, Normalize, Offset, Identity, Add)


@dataclass(frozen=True)
class Projections:
    """Graphs that share one state.

    Attributes
    ----------
    record
        x0 -> (y0, state).
    shares
        (state, y2) -> (F^T y2, every constant times its cotangent, elementwise).
    masked
        (state,) -> for every layer its constants, pushed through the unit that follows (the paper's masked
        biases).
    back
        {layer: (state, values at its constants) -> their back-projection to the input}.
    masked_back
        The same, from where ``masked`` ends.
    layers
        {layer: positions of its constants in ``shares``}.
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
    layers = _positions([layer_of(r) for r in emission.records])
    ends = _Masked(program, slots, emission.records)
    masked = ends.run()
    back = {name: _back(program, slots, [emission.records[i] for i in at]) for name, at in layers.items()}
    masked_back = {name: _back(program, slots, [ends.ends[i] for i in at]) for name, at in layers.items()}
    return Projections(
        emit_record(program, "stacked", slots.order), shares, masked, back, masked_back, layers
    )


@dataclass(frozen=True)
class Joint:
    """A back-projection from all constants at once, (K, B, ...).

    Attributes
    ----------
    shares
        (state, y2) -> (F^T y2, every constant times its cotangent, elementwise).
    back
        (state, values at all constants) -> the sum of their back-projections; None without constants.
    layers
        {layer: positions of its constants in ``shares``}.
    """

    shares: fx.GraphModule
    back: fx.GraphModule | None
    layers: dict[str, tuple[int, ...]]


def emit_joint(program: Program, slots: Slots, names: list[str]) -> Joint:
    """The graphs of a joint back-projection, with the layers ``names`` of the records of the tape.

    What they need of x0 is appended to ``slots``.
    """
    emission = _StoredShares(program, slots)
    shares = emission.run()
    records = emission.records
    named = {id(r): name for r, name in zip(program.tape, names, strict=True)}
    layers = _positions([named[id(r)] for r in records])
    return Joint(shares, _back(program, slots, records) if records else None, layers)


def _positions(names: list[str]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for i, name in enumerate(names):
        found[name] = (*found.get(name, ()), i)
    return found


def layer_of(record: Record) -> str:
    """The layer of a constant: the linear layer in front of its batch norm and unit, or its own module."""
    walk: Any = record
    while isinstance(walk.twin, (BatchNorm, *UNITS)) and isinstance(walk.inputs[0], Record):
        walk = walk.inputs[0]
    base = info((walk if isinstance(walk.twin, WEIGHTS) else record).origin)
    return base.module or base.place or record.origin.name


class _StoredShares(_Transposed):
    constants = True

    def __init__(self, program: Program, slots: Slots):
        super().__init__(program, "shares", True, slots)

    def _output(self, reversal: Reversal, found: list) -> None:
        self.records = [r for r, _, _ in reversal.constants]
        shares: list[Any] = [reversal.terms(r, c, y) for r, c, y in reversal.constants]
        self.graph.output((one_or_all(found), tuple(s.node for s in shares)))


class _Masked:
    """Push every constant to the end of the unit that follows it; ``ends`` are the records there."""

    def __init__(self, program: Program, slots: Slots, records: list[Record]):
        self.program, self.records = program, records
        self.graph = fx.Graph()
        self.source = StateSource(program, self.graph, slots)
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
        """The unit that follows, and the constant behind it; the record and its constant if there is none."""
        start = value = self._constant(record).unsqueeze(0)
        following = self._next(record)
        while following is not None:
            twin = following.twin
            if not isinstance(twin, Add):
                value = twin.homogeneous().mapped(self.source.proxy).apply(ForwardContext(1, True), value)
            if isinstance(twin, UNITS) and not isinstance(twin, Normalize):
                return following, value
            following = self._next(following)
        return record, start

    def _next(self, end: Record) -> Record | None:
        """The only reader of a record, if it is a unit, a norm or a sum of the same rank."""
        users = self.users.get(end, [])
        if len(users) != 1 or users[0].rank != end.rank:
            return None
        return users[0] if isinstance(users[0].twin, (*UNITS, *PLAIN)) else None

    def _constant(self, record: Record) -> Any:
        """The additive constant of a record, in the shape of its value."""
        back = AdjointContext(1, parameter_of(self.program, self.source))
        likes = [shape_of(self.program, self.source, v) for v in record.inputs]
        constant = record.twin.mapped(self.source.proxy).constant(back, *likes)
        like = shape_of(self.program, self.source, record)
        full = constant.new_zeros(like.sizes()) if isinstance(constant, fx.Proxy) else back.blank(like)
        return full + constant


def _back(program: Program, slots: Slots, records: list[Record]) -> fx.GraphModule:
    """(state, values at the records) -> their back-projection to the input."""
    graph = fx.Graph()
    source = StateSource(program, graph, slots)
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
    graph.output(one_or_all(found))
    _prune(graph)
    return finish(program, graph, "back", True, source)
