"""The ends of an emitted graph: output structures, and the GraphModule around it."""

from __future__ import annotations

from typing import Any

import torch.fx as fx

from ..graph import interpretation
from ..graph.assumptions import assumptions
from ..graph.ir import graph_notes, info, mark
from ..passes.rewrite import Program, Structure
from .checks import check_inputs
from .reuse import in_place
from .sources import GraphSource, StateSource


def rebuild(graph: fx.Graph, value: Any) -> Any:
    """An output structure as arguments of the output node; dataclasses and namedtuples are built again."""
    if isinstance(value, Structure):
        args = tuple(rebuild(graph, v) for v in value.args)
        kwargs = {k: rebuild(graph, v) for k, v in value.kwargs.items()}
        if value.is_torchs_own:
            args = (args,)
        return _built(graph.call_function(value.kind, args, kwargs))
    if isinstance(value, (list, tuple)):
        return type(value)(rebuild(graph, v) for v in value)
    if isinstance(value, dict):
        return {k: rebuild(graph, v) for k, v in value.items()}
    return value


def _built(node: fx.Node) -> fx.Node:
    """A structure of values is of the interpreter branch if one of its values is."""
    of_x0 = [n for n in node.all_input_nodes if info(n).branch == "original"]
    if len(of_x0) == len(node.all_input_nodes):
        return mark(node, branch="original", role="frozen")
    return mark(
        node, branch="interpreter", role="affine", twin="output", freezes={n.name: "constant" for n in of_x0}
    )


def probe_major(y: fx.Proxy, rank: int | None, stacked: bool) -> fx.Proxy:
    """(K, B, ...) as an output: flat, (K*B, ...), or stacked; a number of each probe has shape (K,)."""
    return y if stacked or rank == 0 else y.flatten(0, 1)


def finish(
    program: Program, graph: fx.Graph, form: str, stacked: bool, source: GraphSource | StateSource
) -> fx.GraphModule:
    """The GraphModule of an emitted graph; it shares parameters with the model and checks its assumptions."""
    if isinstance(source, GraphSource):
        known = check_inputs(program, graph, source.copies)
    else:
        known = assumptions(program.gm)
    if program.in_place:
        in_place(graph)
    graph.lint()
    gm = fx.GraphModule(program.gm, graph, f"{type(program.gm).__name__}_{form}")
    graph_notes(gm)["fxscope"] = {
        "form": form,
        "probes": "stacked" if stacked else "flat",
        "frontend": graph_notes(program.gm).get("frontend"),
        "assumptions": known,
        "interpretation": interpretation.VERSION,
    }
    return gm
