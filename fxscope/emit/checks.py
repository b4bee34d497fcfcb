"""Assertions of an emitted graph, directly behind its placeholders: what the trace assumed of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.fx as fx

from ..graph.assumptions import (
    CONDITION,
    DTYPE,
    RANK,
    SIZE,
    WAY_OUT,
    Assumption,
    Assumptions,
    Size,
    assumptions,
)
from ..graph.ir import info, mark
from ..passes.rewrite import Program


def check_inputs(program: Program, graph: fx.Graph, copies: Mapping[fx.Node, fx.Node]) -> Assumptions:
    """Assert every assumption of the program's trace; returns them with the input names of the emitted graph.

    A rank is asserted before the sizes that need it. ``torch._assert`` scripts, and torch.export turns it
    into a check of its own; its message contains the value that was found.
    """
    inputs = {node.name: copies[node] for node in program.gm.graph.nodes if node.op == "placeholder"}
    names = {name: copy.name for name, copy in inputs.items()}
    known = tuple(a.renamed(names) for a in assumptions(program.gm))
    if known:
        _insert(graph, {copy.name: copy for copy in inputs.values()}, known)
    return known


def _insert(graph: fx.Graph, inputs: dict[str, fx.Node], known: Iterable[Assumption]) -> None:
    last = [n for n in graph.nodes if n.op == "placeholder"][-1]
    end, tracer = last.next, fx.proxy.GraphAppendingTracer(graph)
    sizes: dict[Size, Any] = {}
    with graph.inserting_before(end):
        for assumption in sorted(known, key=lambda a: a.kind == CONDITION):
            before = end.prev
            _assert(assumption, fx.Proxy(inputs[assumption.input], tracer), inputs, sizes, tracer)
            _mark(before.next, end, inputs[assumption.input])


def _assert(
    assumption: Assumption, x: fx.Proxy, inputs: dict[str, fx.Node], sizes: dict[Size, Any], tracer: Any
) -> None:
    def size(of: Size) -> fx.Proxy:
        if of not in sizes:
            sizes[of] = fx.Proxy(inputs[of.input], tracer).size(of.dimension)
        return sizes[of]

    if assumption.kind == RANK:
        got = x.dim()
        held = got == assumption.value
    elif assumption.kind == DTYPE:
        got, held = None, x.dtype == assumption.value
    elif assumption.kind == SIZE:
        got = size(Size(assumption.input, assumption.dimension))  # type: ignore[arg-type]  # is an int
        held = got == assumption.value
    else:
        got, held = size(min(assumption.value.sizes(), key=str)), assumption.value.value(size)
    torch._assert(held, _message(assumption, got, tracer))


def _message(assumption: Assumption, got: Any, tracer: Any) -> Any:
    """What was found, what the graph was made for, why, and the way out; the number comes at run time."""
    text = f"{_said(assumption)} ({assumption.why}); {WAY_OUT}"
    if got is None:
        return text
    escaped = text.replace("{", "{{").replace("}", "}}").replace(_GOT, "{}", 1)
    return tracer.create_proxy("call_method", "format", (escaped, got), {})


_GOT = "<got>"


def _said(assumption: Assumption) -> str:
    name, made_for = assumption.input, f"and this graph was made for {assumption.value}"
    if assumption.kind == RANK:
        return f"{name} has {_GOT} dimensions, {made_for}"
    if assumption.kind == DTYPE:
        return f"{name} is of another dtype, {made_for}"
    if assumption.kind == SIZE:
        return f"{name} has size {_GOT} in dimension {assumption.dimension}, {made_for}"
    return f"{min(assumption.value.sizes(), key=str)} is {_GOT}, {made_for}"


def check_probe(program: Program, node: fx.Node, x1: fx.Proxy, name: str, stacked: bool) -> None:
    """Assert the sizes of a probe where x0 is not available, because the graph takes a recorded state."""
    for a in assumptions(program.gm):
        if a.kind == SIZE and a.input == node.name and a.dimension:
            at = a.dimension + stacked
            got = x1.size(at)
            text = f"{name} has size {{}} in dimension {at}, and this graph was made for {a.value}"
            torch._assert(got == a.value, x1.tracer.create_proxy("call_method", "format", (text, got), {}))


def _mark(node: fx.Node, end: fx.Node, input: fx.Node) -> None:
    while node is not end:
        mark(node, branch="original", role="shape", origin=input.name, place=info(input).place)
        node = node.next


def own_assertions(program: Program) -> list[fx.Node]:
    """The model's assertions on sizes of its inputs, which every form keeps; others need computed values."""
    asserted = [n for n in program.gm.graph.nodes if n.target is torch._assert and info(n).role == "shape"]
    return [n for n in asserted if _of_inputs(n)]


def _of_inputs(node: fx.Node) -> bool:
    return all(
        n.op == "placeholder" or (info(n).role == "shape" and _of_inputs(n)) for n in node.all_input_nodes
    )
