"""Emit forwards from the tape: the pair, the filter and the residual, branches interleaved so that masks die young."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..ir import info, mark
from ..rewrite import Probe, Program, Record, Structure, leaves, map_structure
from ..twins import Probes

_ASSERTS = {
    "shape": "{probe}: expected {form} in the shape of {place}, and got other trailing dimensions",
    "batch": "{probe}: the first dimension is not a multiple of the batch of {place}; probes are stacked probe-major, {form}",
    "batch_stacked": "{probe}: the second dimension is not the batch of {place}; expected {form}",
    "dtype": "{probe} and {place} differ in dtype",
    "device": "{probe} and {place} are on different devices",
    "real": "{probe} must be a real floating tensor",
}


def emit(program: Program, form: str, probes: str = "flat") -> fx.GraphModule:
    """The GraphModule of a program: form is "pair", "filter" or "residual"; probes is "flat" (K*B, ...) or "stacked" (K, B, ...)."""
    return _Emitter(program, form, probes).run()


class _Emitter:
    def __init__(self, program: Program, form: str, probes: str):
        self.program, self.form, self.stacked = program, form, probes == "stacked"
        self.graph = fx.Graph()
        self.tracer = fx.proxy.GraphAppendingTracer(self.graph)
        self.copies: dict[fx.Node, fx.Node] = {}
        self.names: dict[str, str] = {}
        self.values: dict[Any, fx.Proxy] = {}
        self.k: Probes | None = None

    def run(self) -> fx.GraphModule:
        needed = self._needed()
        waiting = _anchored(self.program)
        for node in self.program.gm.graph.nodes:
            if node.op == "placeholder":
                self._copy(node)
        self._placeholders()
        for node in self.program.gm.graph.nodes:
            if node.op == "output":
                break
            if node.op != "placeholder" and node in needed:
                self._copy(node)
            for probe in self.program.probes:
                if probe.node is node:
                    self._enter(probe)
            for record in waiting.get(node, ()):
                self._record(record)
        self._output()
        self.graph.lint()
        gm = fx.GraphModule(self.program.gm, self.graph, f"{type(self.program.gm).__name__}_{self.form}")
        gm.meta["fxscope"] = {"form": self.form, "probes": "stacked" if self.stacked else "flat"}
        return gm

    def _needed(self) -> set[fx.Node]:
        """Nodes of the original graph that an output, a live state or a probe's check reads."""
        roots = [n for r in self.program.tape for n in r.twin.states()]
        roots += [p.node for p in self.program.probes]
        if self.form == "pair":
            roots += leaves(self.program.outputs) + [n for n in self.program.gm.graph.nodes if _acts(n)]
        else:
            roots += [n for n in leaves(self.program.outputs) if n not in self.program.affine]
        seen: set[fx.Node] = set()
        while roots:
            node = roots.pop()
            if node not in seen:
                seen.add(node)
                roots += node.all_input_nodes
        return seen

    def _copy(self, node: fx.Node) -> None:
        name = node.name if info(node).origin or not info(node).place else "".join(c if c.isalnum() else "_" for c in info(node).place)
        if node.op == "placeholder" and [n for n in self.program.gm.graph.nodes if n.op == "placeholder"] == [node]:
            name = "x0"
        if node.op == "placeholder":
            new = self.graph.placeholder(name)  # no default: a probe follows, and every input is given
        else:
            new = self.graph.create_node(node.op, node.target, *fx.node.map_arg((node.args, node.kwargs), self.copies.__getitem__), name=name)
        new.meta.update(node.meta)
        new.meta.pop("recognized", None)
        new.meta.pop("val", None)
        origin = info(node).origin
        mark(new, branch="original", origin=self.names.get(origin, origin))
        self.copies[node] = new
        self.names[node.name] = new.name

    def _placeholders(self) -> None:
        self.raw = {}
        if self.form == "residual":
            return
        for probe in self.program.probes:
            node = self.graph.placeholder(probe.name)
            self.raw[probe] = mark(node, branch="interpreter", role="affine", place=info(probe.node).place, origin=self.copies[probe.node].name if probe.node in self.copies else probe.node.name)

    def _enter(self, probe: Probe) -> None:
        """Check a probe against the place it replaces, and give it its leading dimension K."""
        with _Tagging(self.graph, branch="interpreter", role="shape", place=info(probe.node).place):
            x0 = fx.Proxy(self.copies[probe.node], self.tracer)
            if self.form == "residual":
                x1 = torch.zeros_like(x0).unsqueeze(0)
                count = 1
            else:
                raw = fx.Proxy(self.raw[probe], self.tracer)
                _check(raw, x0, probe.name, info(probe.node).place or probe.node.name, self.stacked)
                x1 = raw if self.stacked else raw.unflatten(0, (-1, x0.size(0)))
                count = None
            if self.k is None:
                self.k = Probes(x1.size(0) if count is None else count, linear=self.form == "filter")
        mark(x1.node, branch="interpreter", role="affine", freezes={}, origin=self.copies[probe.node].name)
        self.values[probe] = x1

    def _record(self, record: Record) -> None:
        twin = record.twin.homogeneous() if self.form == "filter" else record.twin
        states = {self.copies[n].name: label for n, label in twin.states().items() if n in self.copies}
        base = info(record.origin)
        twin = twin.mapped(lambda n: fx.Proxy(self.copies[n], self.tracer))
        tags = dict(
            branch="interpreter", role="affine", rule=record.rule, variant=record.variant, twin=twin.kind,
            origin=self.copies[record.origin].name if record.origin in self.copies else record.origin.name,
            place=base.place, module=base.module, source=base.source,
        )
        with _Tagging(self.graph, states=states, **tags):
            y = twin.apply(self.k, *[self.values[v] for v in record.inputs])
        self.values[record] = y
        if y.node not in [self.values[v].node for v in record.inputs]:
            y.node._rename(f"{tags['origin']}_twin")

    def _output(self) -> None:
        y0 = map_structure(self.copies.get, self.program.outputs) if self.form == "pair" else None
        constant = {c.name: "constant" for n in leaves(self.program.outputs) if n not in self.program.affine for c in [self.copies.get(n)] if c is not None}
        with _Tagging(self.graph, constant, branch="interpreter", role="affine", twin="output"):
            y1 = map_structure(self._probe_output, self.program.outputs)
        results = {"pair": (y0, y1)}.get(self.form, y1)
        with _Tagging(self.graph, role="shape"):
            self.graph.output(_rebuild(self.graph, results))

    def _probe_output(self, node: fx.Node) -> fx.Node:
        rank = self.program.facts.rank(node)
        if node in self.program.affine:
            y = self.values[self.program.affine[node]]
        else:
            c = fx.Proxy(self.copies[node], self.tracer)
            y = self.k.spread(torch.zeros_like(c) if self.form == "filter" else c, rank)
        if self.form == "residual":
            return y.squeeze(0).node
        return y.node if self.stacked or rank == 0 else y.flatten(0, 1).node


def _check(x1, x0, probe: str, place: str, stacked: bool) -> None:
    form = "(K, B, ...)" if stacked else "(K*B, ...)"
    said = {key: text.format(probe=probe, place=place, form=form) for key, text in _ASSERTS.items()}
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
    """Nodes that act besides giving a value: updates of running statistics, assertions."""
    return node.op == "call_method" and node.target.endswith("_") or node.op == "call_function" and (node.is_impure() or info(node).rule == "batch_norm" and node.kwargs.get("training", False))


def _anchored(program: Program) -> dict[fx.Node, list[Record]]:
    """{node: records to emit right behind it}: each at the last of its states, never before its inputs."""
    order = {node: i for i, node in enumerate(program.gm.graph.nodes)}
    nodes = list(order)
    at: dict[Any, int] = {p: order[p.node] for p in program.probes}
    first = max(at.values()) if len(at) == 1 else 0
    anchors: dict[fx.Node, list[Record]] = {}
    for record in program.tape:
        spots = [order[n] for n in record.twin.states()] + [order[record.origin], first] + [at[v] for v in record.inputs]
        at[record] = max(spots)
        anchors.setdefault(nodes[at[record]], []).append(record)
    return anchors


def _rebuild(graph: fx.Graph, value: Any) -> Any:
    """An output structure as arguments of the output node, dataclasses and namedtuples constructed again."""
    if isinstance(value, Structure):
        args = tuple(_rebuild(graph, v) for v in value.args)
        return graph.call_function(value.kind, args, {k: _rebuild(graph, v) for k, v in value.kwargs.items()})
    if isinstance(value, (list, tuple)):
        return type(value)(_rebuild(graph, v) for v in value)
    if isinstance(value, dict):
        return {k: _rebuild(graph, v) for k, v in value.items()}
    return value


class _Tagging:
    """Marks every node created inside the block, and declares the freeze edges that enter it."""

    def __init__(self, graph: fx.Graph, states: dict[str, str] | None = None, **fields):
        self.graph, self.states, self.fields = graph, states or {}, fields

    def __enter__(self):
        self.last = next(iter(reversed(self.graph.nodes)), None)

    def __exit__(self, *exc):
        for node in reversed(self.graph.nodes):
            if node is self.last:
                break
            freezes = {n.name: self.states.get(n.name, "size") for n in node.all_input_nodes if info(n).branch == "original" and info(n).role != "const"}
            mark(node, freezes=freezes, **{k: v for k, v in self.fields.items()})
