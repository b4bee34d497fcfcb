"""Emit the three parts of a deployed operator.

They are record x0 -> (y0, state), replay (state, x1) -> F x1 and pullback (state, y2) -> F^T y2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.fx as fx

from ..graph.ir import emitted, mark, notes
from ..passes.optimize import optimized
from ..passes.rewrite import Probe, Program, leaves, map_structure
from ..twins import Select
from .checks import own_assertions
from .forward import drawn, emit_replay, upstream
from .outputs import finish, rebuild
from .sources import GraphSource, Slots, State, sizes_of
from .tagging import Tagging
from .transposed import emit_pullback

PARTS = ("record", "replay", "pullback")


def emit_parts(program: Program, probes: str) -> dict[str, fx.GraphModule]:
    """{"record", "replay", "pullback"}: graphs that share a state.

    The state is a flat tuple of tensors, which ``meta["fxscope"]["state"]`` names.
    """
    program, slots = optimized(program), Slots()
    parts = {"replay": emit_replay(program, probes, slots), "pullback": emit_pullback(program, probes, slots)}
    parts["record"] = emit_record(program, probes, slots.order)
    names = tuple(name for name, _, _ in slots.order)
    folded = tuple(name for name, node, _ in slots.order if notes(node).get("folded"))
    for part in parts.values():
        emitted(part).update({"state": names, "folded": folded})
    return parts


def windows_of(program: Program, states: Sequence[State]) -> dict[int, tuple]:
    """{position of a max-pool's index in the state: (its windows, the pooled sizes)}, if sizes are known."""
    slots = [node if whole else None for _, node, whole in states]
    found = {}
    for record in program.tape:
        twin = record.twin
        if not isinstance(twin, Select) or twin.window is None or twin.index not in slots:
            continue
        before = record.inputs[0]
        node = before.node if isinstance(before, Probe) else before.like
        value = None if node is None else notes(node).get("val")
        if isinstance(value, torch.Tensor):
            found[slots.index(twin.index)] = (twin.window, tuple(value.shape[-twin.dims :]))
    return found


def winners_of(program: Program, states: Sequence[State]) -> dict[int, tuple[int, int]]:
    """{position of a max-pool's winners in the state: (position of its index, pooled dimensions)}."""
    slots = {node: i for i, (_, node, whole) in enumerate(states) if whole}
    pools = (r.twin for r in program.tape if isinstance(r.twin, Select) and r.twin.winners in slots)
    return {slots[pool.winners]: (slots[pool.index], pool.dims) for pool in pools}


def slots_of(program: Program) -> Slots:
    """The states that replay and pullback of an optimized program need."""
    slots = Slots()
    emit_replay(program, "stacked", slots)
    emit_pullback(program, "stacked", slots)
    return slots


def emit_record(program: Program, probes: str, states: Sequence[State]) -> fx.GraphModule:
    """x0 -> (y0, the states)."""
    graph = fx.Graph()
    source = GraphSource(program, graph)
    source.placeholders()
    kept = [*leaves(program.outputs), *own_assertions(program)]
    source.copy_all(upstream([*kept, *drawn(program), *(node for _, node, _ in states)]))
    with Tagging(graph, branch="original", role="frozen", rule="state"):
        state = tuple(_entry(program, source, node, whole) for _, node, whole in states)
    y0 = map_structure(lambda n: source[n], program.outputs)
    graph.output(rebuild(graph, (y0, state)))
    return finish(program, graph, "record", probes == "stacked", source)


def emit_folded(program: Program, states: Sequence[State]) -> fx.GraphModule:
    """() -> the states that are weights folded with their batch norm."""
    graph = fx.Graph()
    source = GraphSource(program, graph)
    source.copy_all(upstream([node for _, node, _ in states]))
    graph.output(tuple(source[node] for _, node, _ in states))
    return fx.GraphModule(program.gm, graph, f"{type(program.gm).__name__}_folded")


def _entry(program: Program, source: GraphSource, node: fx.Node, whole: bool) -> fx.Node:
    """One entry of the state: the value itself, or an empty tensor that carries its sizes."""
    if whole:
        return source[node]
    copy = source[node]
    value = source.proxy(node)
    rank = program.facts.need_rank(node, "its size as a state")
    if copy.op == "placeholder":
        return mark(sizes_of(value, rank).node, branch="original", role="shape")
    with source.graph.inserting_after(copy):  # the value need not live on for its sizes
        sizes = [source.like(node, rank).size(d) for d in range(rank)]
        # a scalar has none
        last = max((s.node for s in sizes), default=copy)  # the last in the graph's order
    with source.graph.inserting_after(last):
        return mark(value.new_zeros([0, *sizes]).node, branch="original", role="shape")
