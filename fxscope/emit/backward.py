"""Emit backwards: the tape in reverse, with every twin's adjoint in its place, as a graph of ordinary operators."""

from __future__ import annotations

from typing import Any

import torch.fx as fx

from ..errors import FxscopeError
from ..graph.ir import info
from ..passes.rewrite import Probe, Program, Record
from ..twins import Back, Item, Like, Twin, join
from .reuse import mark_same, mark_twin
from .sources import Copied, Stored, parameter_of
from .tagging import Tagging


class Reversal:
    """The transpose of a program's linear part: fan-out becomes a sum, every twin its adjoint.

    seeds      {tape value: y2}, what the outputs are given
    constants  after ``run``: (record, additive constant, the cotangent that it meets), in the order of the tape
    """

    def __init__(self, program: Program, source: Copied | Stored, K: Any, constants: bool = False):
        self.program, self.source, self.wanted = program, source, constants
        self.k = Back(K, parameter_of(program, source))
        self.sums: dict[Any, Any] = {}
        self.parts: dict[Any, dict[int, Any]] = {}
        self.constants: list[tuple[Record, Any, Any]] = []

    def run(self, seeds: dict[Any, Any]) -> dict[Probe, Any]:
        """{probe: x2}; zeros where nothing leads to a probe."""
        for value, y in seeds.items():
            self._add(value, y)
        for record in reversed(self.program.tape):
            self._record(record)
        self.constants.reverse()
        any_y = next(iter(seeds.values()))
        return {
            p: self.sums[p] if p in self.sums else self.k.zeros(any_y, self._like(p))
            for p in self.program.probes
        }

    def _add(self, value: Any, y: Any) -> None:
        if value in self.sums:
            y = self.sums[value] + y
            mark_same(y, operands=2)
        self.sums[value] = y

    def _record(self, record: Record) -> None:
        if record not in self.sums and record not in self.parts:
            return
        affine = record.twin if self.wanted else record.twin.homogeneous()
        states = {
            self.source[n].name: label
            for n, label in affine.states().items()
            if isinstance(self.source[n], fx.Node)
        }
        base = info(record.origin)
        tags = dict(
            branch="interpreter",
            role="affine",
            rule=record.rule,
            variant=record.variant,
            twin=affine.kind,
            origin=record.origin.name,
            place=base.place,
            module=base.module,
            source=base.source,
        )
        with Tagging(self.source.graph, states, **tags):
            self._reverse(record, affine)

    def _reverse(self, record: Record, twin: Twin) -> None:
        likes = [self._like(v) for v in record.inputs]
        twin = twin.mapped(self.source.proxy)
        if record in self.parts:
            self._add(
                record.inputs[0], join(self.k, twin.function, self.parts.pop(record), *likes, *twin.args)
            )
            return
        y = self.sums.pop(record)
        if isinstance(twin, Item):
            self.parts.setdefault(record.inputs[0], {})[twin.index] = y
            return
        if self.wanted:
            constant = twin.constant(self.k, *likes)
            if constant is not None:
                self.constants.append((record, constant, y))
        shares = twin.adjoint(self.k, y, *likes)
        if len(record.inputs) == 1:
            mark_twin(record, shares, y)
        for value, share in zip(record.inputs, shares if isinstance(shares, tuple) else (shares,)):
            self._add(value, share)

    def _like(self, value: Any) -> Like:
        node, rank = (
            (value.node, self.program.facts.rank(value.node))
            if isinstance(value, Probe)
            else (value.like, value.rank)
        )
        if node is None:
            return Like(_unknown(value), None, _unknown(value))
        return self.source.like(node, rank)


def _unknown(record: Record):
    def read(*args):
        raise FxscopeError(
            f"the rule {record.rule} recorded a value whose shape is not told; give call.record(..., like=) a"
            " value of that shape"
        )

    return read
