"""Emit forwards from the tape: pair, filter, residual and replay.

The two branches are interleaved, so that a mask is freed directly after its use.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..graph.draws import draws
from ..graph.ir import acts, info, mark
from ..passes.rewrite import Probe, Program, Record, leaves, map_structure
from ..twins import ForwardContext
from .checks import check_probe, own_assertions
from .outputs import finish, probe_major, rebuild
from .reuse import mark_twin
from .sources import GraphSource, Slots, StateSource, new_input, updates_statistics
from .tagging import Tagging, tags_of

_ASSERTS = {
    "shape": "{probe}: expected {form} in the shape of {place}, and got other trailing dimensions",
    "batch": (
        "{probe}: the first dimension is not a multiple of the batch of {place}; probes are stacked"
        " probe-major, {form}"
    ),
    "batch_stacked": "{probe}: the second dimension is not the batch of {place}; expected {form}",
    "dtype": "{probe} and {place} differ in dtype",
    "device": "{probe} and {place} are on different devices",
    "real": "{probe} must be a real floating tensor",
}


def emit_forward(program: Program, form: str, probes: str) -> fx.GraphModule:
    """pair, filter or residual: the original branch is part of the graph."""
    return _Forward(program, form, probes == "stacked").run()


def emit_replay(program: Program, probes: str, slots: Slots) -> fx.GraphModule:
    """(state, x1) -> F x1; what the twins need of x0 is appended to ``slots``."""
    return _Forward(program, "replay", probes == "stacked", slots).run()


class _Forward:
    def __init__(self, program: Program, form: str, stacked: bool, slots: Slots | None = None):
        self.program, self.form, self.stacked = program, form, stacked
        self.linear = form in ("filter", "replay")
        self.graph = fx.Graph()
        self.source: GraphSource | StateSource
        if slots is None:
            self.source = GraphSource(program, self.graph, updates=form == "pair")
        else:
            self.source = StateSource(program, self.graph, slots)
        self.tracer = self.source.tracer
        self.values: dict[Any, Any] = {}
        self.k: Any = None  # a ``ForwardContext`` from the first probe on

    def run(self) -> fx.GraphModule:
        self.source.placeholders()
        self._placeholders()
        if isinstance(self.source, StateSource):
            self._from_states()
        else:
            self._interleaved(self.source)
        self._output()
        return finish(self.program, self.graph, self.form, self.stacked, self.source)

    def _from_states(self) -> None:
        for probe in self.program.probes:
            self._enter(probe)
        for record in self.program.tape:
            self._record(record)

    def _interleaved(self, source: GraphSource) -> None:
        """Copy the original branch, and put every record directly behind the last of its states."""
        needed, waiting = self._needed(), _anchored(self.program)
        for node in self.program.gm.graph.nodes:
            if node.op == "output":
                break
            if node in needed:
                source.copy(node)
            for probe in self.program.probes:
                if probe.node is node:
                    self._enter(probe)
            for record in waiting.get(node, ()):
                self._record(record)
        source.resolve()

    def _needed(self) -> set[fx.Node]:
        """Nodes of the original graph that an output, a state or the check of a probe depends on."""
        roots = [n for r in self.program.tape for n in self._twin(r).states()]
        roots += [p.node for p in self.program.probes] + own_assertions(self.program)
        if self.form == "pair":
            roots += leaves(self.program.outputs) + [n for n in self.program.gm.graph.nodes if _acts(n)]
        else:
            roots += [n for n in leaves(self.program.outputs) if n not in self.program.affine]
            roots += drawn(self.program)
        return upstream(roots)

    def _twin(self, record: Record):
        return (record.twin.homogeneous() if self.linear else record.twin).forward()

    def _placeholders(self) -> None:
        self.raw = {}
        if self.form == "residual":
            return
        for probe in self.program.probes:
            node, place = new_input(self.graph, probe.name), info(probe.node).place
            origin = self._origin(probe.node)
            self.raw[probe] = mark(node, branch="interpreter", role="affine", place=place, origin=origin)

    def _origin(self, node: fx.Node) -> str:
        copied = isinstance(self.source, GraphSource) and node in self.source
        return self.source[node].name if copied else node.name

    def _enter(self, probe: Probe) -> None:
        """Check a probe against the place it replaces, and give it its leading dimension K."""
        with Tagging(self.graph, branch="interpreter", role="shape", place=info(probe.node).place):
            x1 = self._zeros(probe) if self.form == "residual" else self._given(probe)
            if self.k is None:
                self.k = ForwardContext(1 if self.form == "residual" else x1.size(0), self.linear)
        mark(x1.node, branch="interpreter", role="affine", freezes={}, origin=self._origin(probe.node))
        self.values[probe] = x1

    def _zeros(self, probe: Probe) -> Any:
        x0: Any = self.source.proxy(probe.node)
        return torch.zeros_like(x0).unsqueeze(0)

    def _given(self, probe: Probe) -> fx.Proxy:
        raw = fx.Proxy(self.raw[probe], self.tracer)
        if isinstance(self.source, StateSource):
            check_probe(self.program, probe.node, raw, probe.name, self.stacked)
            batch = self._batch(raw, probe)
        else:
            x0 = self.source.proxy(probe.node)
            _check(raw, x0, probe.name, self.source.called(probe.node), self.stacked)
            batch = None if self.stacked else x0.size(0)
        return raw if self.stacked else raw.unflatten(0, (-1, batch))

    def _batch(self, x1: Any, probe: Probe) -> Any:
        """The number of images of a state, against which a probe is checked."""
        rank = self.program.facts.rank(probe.node)
        batch = self.source.like(probe.node, rank).size(0)
        said = _asserts(probe.name, "x0", stacked=False)
        if not self.stacked and rank is not None:
            torch._assert(x1.dim() == rank, said["shape"])
            torch._assert(x1.size(0) % batch == 0, said["batch"])
        return batch

    def _record(self, record: Record) -> None:
        """Apply a twin to the values of its inputs, with the states that it reads as freeze edges."""
        twin = self._twin(record)
        states = {
            self.source[n].name: label
            for n, label in twin.states().items()
            if n in self.source and isinstance(self.source[n], fx.Node)
        }
        tags = tags_of(record, twin, self._origin(record.origin))
        with Tagging(self.graph, states=states, **tags):
            given = [self.values[v] for v in record.inputs]
            y = twin.mapped(self.source.proxy).apply(self.k, *given)
        mark_twin(record, y, *given)
        self.values[record] = y
        if y.node not in [v.node for v in given]:
            y.node._rename(f"{tags['origin']}_twin")

    def _output(self) -> None:
        y0 = map_structure(lambda n: self.source[n], self.program.outputs) if self.form == "pair" else None
        constants = [self.source[n] for n in leaves(self.program.outputs) if n not in self.program.affine]
        constant = {node.name: "constant" for node in constants if isinstance(node, fx.Node)}  # or a shape
        with Tagging(self.graph, constant, branch="interpreter", role="affine", twin="output"):
            y1 = map_structure(self._probe_output, self.program.outputs)
        with Tagging(self.graph, role="shape"):
            self.graph.output(rebuild(self.graph, (y0, y1) if self.form == "pair" else y1))

    def _probe_output(self, node: fx.Node) -> fx.Node:
        if info(node).role == "shape":
            return self.source[node]  # a number, which passes through
        rank = self.program.facts.rank(node)
        if node in self.program.affine:
            y = self.values[self.program.affine[node]]
        else:
            c: Any = self.source.proxy(node)
            y = self.k.spread(torch.zeros_like(c) if self.linear else c, rank)
        if self.form == "residual":
            return y.squeeze(0).node
        return probe_major(y, rank, self.stacked).node


def drawn(program: Program) -> list[fx.Node]:
    """The nodes that draw: every form runs all of them in order, so that one seed gives one draw."""
    return [n for n in program.gm.graph.nodes if draws(n)]


def upstream(roots: list[fx.Node]) -> set[fx.Node]:
    """The nodes and everything they are computed from."""
    stack, seen = list(roots), set()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += node.all_input_nodes
    return seen


def _asserts(probe: str, place: str, stacked: bool) -> dict[str, str]:
    """What the assertions on a probe say."""
    form = "(K, B, ...)" if stacked else "(K*B, ...)"
    return {key: text.format(probe=probe, place=place, form=form) for key, text in _ASSERTS.items()}


def _check(x1: Any, x0: Any, probe: str, place: str, stacked: bool) -> None:
    """Assert that a probe has the dtype, the device and the sizes of the place that it replaces."""
    said = _asserts(probe, place, stacked)
    torch._assert(x1.is_floating_point(), said["real"])
    torch._assert(x1.dtype == x0.dtype, said["dtype"])
    torch._assert(x1.device == x0.device, said["device"])
    if stacked:
        torch._assert(x1.dim() == x0.dim() + 1, said["shape"])
        torch._assert(x1.size(1) == x0.size(0), said["batch_stacked"])
        torch._assert(x1.size()[2:] == x0.size()[1:], said["shape"])
    else:
        torch._assert(x1.dim() == x0.dim(), said["shape"])
        torch._assert(x1.size(0) % x0.size(0) == 0, said["batch"])
        torch._assert(x1.size()[1:] == x0.size()[1:], said["shape"])


def _acts(node: fx.Node) -> bool:
    """Whether a node has an effect: a counter, an update of running statistics, an assertion."""
    return node.op in ("call_function", "call_method") and (acts(node) or updates_statistics(node))


def _anchored(program: Program) -> dict[fx.Node, list[Record]]:
    """{node: records to emit directly behind it}: each behind the last of its states and inputs."""
    order = {node: i for i, node in enumerate(program.gm.graph.nodes)}
    nodes = list(order)
    at: dict[Any, int] = {p: order[p.node] for p in program.probes}
    first = max(at.values()) if len(at) == 1 else 0
    anchors: dict[fx.Node, list[Record]] = {}
    for record in program.tape:
        spots = (
            [order[n] for n in record.twin.states()]
            + [order[record.origin], first]
            + [at[v] for v in record.inputs]
        )
        at[record] = max(spots)
        anchors.setdefault(nodes[at[record]], []).append(record)
    return anchors
