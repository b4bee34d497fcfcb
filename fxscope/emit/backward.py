"""Emit the tape in reverse: every twin is replaced by its adjoint, as a graph of ordinary operators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ..errors import FxscopeError
from ..passes.rewrite import Probe, Program, Record
from ..rules._complex import complex_values
from ..twins import AdjointContext, Identity, Item, ShapeRef, join
from ..twins.applied import Applied
from .reuse import mark_same, mark_twin
from .sources import GraphSource, StateSource, parameter_of
from .tagging import Tagging, tags_of


class Reversal:
    """The transpose of a program's linear part: fan-out becomes a sum, every twin its adjoint.

    A cotangent y of complex values stands for the real inner product Re sum conj(y) x. Within the tape its
    conjugate is carried: the adjoint of an operator that is linear in complex numbers is then its plain
    transpose, so that no frozen factor is conjugated.

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
        self.complex = complex_values(program.gm.graph)
        self.sums: dict[Any, Any] = {}
        self.parts: dict[Any, dict[int, Any]] = {}
        self.constants: list[tuple[Record, Any, Any]] = []

    def run(self, seeds: dict[Any, Any]) -> dict[Probe, Any]:
        """{probe: x2} from {tape value: y2}; zeros for a probe that no seed depends on."""
        for value, y in seeds.items():
            self._add(value, torch.conj_physical(y) if self._is_complex(value) else y)
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
        twin = twin.mapped(self.source.proxy)
        if record in self.parts:
            parts = self.parts.pop(record)
            self._add(record.inputs[0], join(self.k, twin.function, parts, *likes, *twin.args))
            return
        y = self.sums.pop(record)
        if isinstance(twin, Item):
            self.parts.setdefault(record.inputs[0], {})[twin.index] = y
            return
        if self.wanted:
            constant = twin.constant(self.k, *likes)
            if constant is not None:
                self.constants.append((record, constant, y))
        mixed = self._is_complex(record) and not isinstance(twin, Applied)
        if mixed and isinstance(twin, Identity) and not self._is_complex(record.inputs[0]):
            y, mixed = torch.real(y), False  # before a cast to real numbers, which would warn
        shares = twin.adjoint(self.k, y, *likes)
        if len(record.inputs) == 1:
            mark_twin(record, shares, y)
        for value, share in zip(record.inputs, shares if isinstance(shares, tuple) else (shares,)):
            self._add(value, torch.real(share) if mixed and not self._is_complex(value) else share)

    def _is_complex(self, value: Any) -> bool:
        return (value.node if isinstance(value, Probe) else value.origin) in self.complex

    def terms(self, record: Record, constant: Any, y: Any) -> Any:
        """The terms of <y, c> for an additive constant c with the cotangent y; they are real."""
        found = torch.where(y == 0, 0.0, y * constant)  # a score masked with -inf, which nothing reads
        return torch.real(found) if self._is_complex(record) else found

    def _like(self, value: Any) -> ShapeRef:
        return shape_of(self.program, self.source, value)


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
