"""Emit the tape in reverse: every twin is replaced by its adjoint, as a graph of ordinary operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ..errors import FxscopeError
from ..graph.ir import notes
from ..passes.rewrite import Probe, Program, Record
from ..twins import AdjointContext, Item, ShapeRef, join
from .reuse import mark_same, mark_twin
from .sources import GraphSource, StateSource, parameter_of
from .tagging import Tagging, tags_of


class Reversal:
    """The transpose of a program's linear part: fan-out becomes a sum, every twin its adjoint.

    Parameters
    ----------
    program, source
        The program, and the source of the values that its adjoints need.
    K
        The number of cotangents: a size of the emitted graph.
    constants
        Whether to collect additive constants. ``constants`` then holds, after ``run``, (record, additive
        constant, its cotangent) in the order of the tape.
    """

    def __init__(self, program: Program, source: GraphSource | StateSource, K: Any, constants: bool = False):
        self.program, self.source, self.wanted = program, source, constants
        self.k = AdjointContext(K, parameter_of(program, source))
        self.sums: dict[Any, Any] = {}
        self.parts: dict[Any, dict[int, Any]] = {}
        self.constants: list[tuple[Record, Any, Any]] = []

    def run(self, seeds: dict[Any, Any]) -> dict[Probe, Any]:
        """{probe: x2} from {tape value: y2}; zeros for a probe that no seed depends on."""
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
        with Tagging(self.source.graph, states, **tags_of(record, affine, record.origin.name)):
            self._reverse(record, affine)

    def _reverse(self, record: Record, twin: Any) -> None:
        """Add the adjoint of a twin, or of a call that gives several tensors (``join``), to its inputs."""
        likes = [self._like(v) for v in record.inputs]
        # a complex factor's transpose, of the real inner product, is its conjugate
        conjugate = _is_complex(record)
        given = twin.mapped(self.source.proxy)
        twin = twin.mapped(self._conjugate(twin)) if conjugate else given
        if record in self.parts:
            parts = self.parts.pop(record)
            self._add(record.inputs[0], join(self.k, twin.function, parts, *likes, *twin.args))
            return
        y = self.sums.pop(record)
        if isinstance(twin, Item):
            self.parts.setdefault(record.inputs[0], {})[twin.index] = y
            return
        if self.wanted:
            constant = given.constant(self.k, *likes)
            if constant is not None:
                self.constants.append((record, constant, y))
        shares = twin.adjoint(self.k, y, *likes)
        if len(record.inputs) == 1:
            mark_twin(record, shares, y)
        for value, share in zip(record.inputs, shares if isinstance(shares, tuple) else (shares,)):
            self._add(value, torch.real(share) if conjugate and _is_real(value) else share)

    def _conjugate(self, twin: Any) -> Callable[[fx.Node], Any]:
        labels = twin.states()

        def read(node: fx.Node) -> Any:
            value: Any = self.source.proxy(node)
            return torch.conj_physical(value) if labels.get(node) in ("gate", "stats") else value

        return read

    def _like(self, value: Any) -> ShapeRef:
        return shape_of(self.program, self.source, value)


def _is_complex(record: Record) -> bool:
    """Whether the example showed the operator's value to be complex."""
    value = notes(record.origin).get("val")
    return value is not None and value.is_complex() and record.twin.kind != "linear"


def _is_real(value: Any) -> bool:
    node = value.node if isinstance(value, Probe) else value.origin
    known = notes(node).get("val")
    return known is not None and not known.is_complex()


def shape_of(program: Program, source: GraphSource | StateSource, value: Any) -> ShapeRef:
    """The sizes of a tape value in an emitted graph."""
    if isinstance(value, Probe):
        return source.like(value.node, program.facts.rank(value.node))
    if value.like is None:
        return ShapeRef(_unknown(value), None, _unknown(value))
    return source.like(value.like, value.rank)


def _unknown(record: Record) -> Callable[..., Any]:
    def read(*args: Any) -> Any:
        raise FxscopeError(
            f"the rule {record.rule} recorded a value whose shape is not told; give call.record(..., like=) a"
            " value of that shape"
        )

    return read
