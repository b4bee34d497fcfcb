"""The rewritten graph as a networkx graph."""

from __future__ import annotations

import networkx as nx
import torch.fx as fx

from ..ir import info


def to_networkx(gm: fx.GraphModule) -> nx.DiGraph:
    """Nodes with branch, role, rule, variant, twin, origin, place, module and source; edges with kind and label.

    Edge kinds: "data" within a branch, "freeze" from a frozen state of the original branch into the interpreter (with its
    label: mask, index, stats, gate, constant, size), "parameter" from a parameter or buffer.
    """
    graph = nx.DiGraph(name=type(gm).__name__)
    for node in gm.graph.nodes:
        i = info(node)
        graph.add_node(
            node.name, op=node.op, target=_target(node), branch=i.branch, role=i.role, rule=i.rule, variant=i.variant, twin=i.twin,
            origin=i.origin, place=i.place, module=i.module, source=i.source,
        )
        for source in node.all_input_nodes:
            graph.add_edge(source.name, node.name, **_edge(source, node))
    return graph


def crossings(graph: nx.DiGraph) -> list[tuple[str, str]]:
    """Edges that break law 9: from the interpreter into the original branch."""
    branch = nx.get_node_attributes(graph, "branch")
    return [(a, b) for a, b in graph.edges if branch.get(a) == "interpreter" and branch.get(b) == "original"]


def _edge(source: fx.Node, node: fx.Node) -> dict:
    if info(source).role == "const":
        return {"kind": "parameter", "label": ""}
    if source.name in info(node).freezes:
        return {"kind": "freeze", "label": info(node).freezes[source.name]}
    return {"kind": "data", "label": ""}


def _target(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
