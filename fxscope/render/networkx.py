"""A graph as a networkx graph, and law 9 (no edge from x1 to y0) checked on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.fx as fx

from ..graph.arguments import check_graph, checked
from ..graph.ir import info
from .notebook import drawn

if TYPE_CHECKING:
    import networkx as nx

    from .network import Network


@checked
def to_networkx(gm: fx.GraphModule) -> Network:
    """A graph as a networkx graph: nodes with their roles, edges with their kinds.

    Nodes have the attributes op, target, branch, role, rule, variant, twin, origin, place, module and source.
    Edges have a ``kind``: "data" within a branch, "freeze" from the original branch into the interpreter
    branch, or "parameter" from a node that depends on no input. A freeze edge has a ``label``: mask, index,
    stats, gate, constant or size. A graph that ``fxscope.transform`` did not make has data edges and no
    branches.

    Parameters
    ----------
    gm : torch.fx.GraphModule
        The result of ``fxscope.transform``, or any other graph.

    Returns
    -------
    networkx.DiGraph
        One node for each node of the graph, under its name. A notebook shows its counts and its drawing.

    Raises
    ------
    FxscopeError
        If ``gm`` is no graph.

    Examples
    --------
    >>> import torch, fxscope
    >>> graph = fxscope.to_networkx(fxscope.transform(torch.nn.ReLU()))
    >>> sorted({label for *_, label in graph.edges(data="label") if label})
    ['mask', 'size']
    """
    from .network import Network

    graph = Network(name=type(gm).__name__)
    graph._drawn = lambda: drawn(gm)
    for node in check_graph("to_networkx", gm).graph.nodes:
        i = info(node)
        graph.add_node(
            node.name,
            op=node.op,
            target=_target(node),
            branch=i.branch,
            role=i.role,
            rule=i.rule,
            variant=i.variant,
            twin=i.twin,
            origin=i.origin,
            place=i.place,
            module=i.module,
            source=i.source,
        )
        for source in node.all_input_nodes:
            kind, label = _edge(source, node)
            graph.add_edge(source.name, node.name, kind=kind, label=label)
    return graph


def crossings(graph: nx.DiGraph) -> list[tuple[str, str]]:
    """The edges of ``to_networkx`` that break law 9; none in a graph that fxscope emitted.

    No edge may lead from the interpreter branch into the original branch. An edge in the other direction must
    be declared: from a parameter, as a freeze edge, or as a size that is only used to compute sizes.

    Parameters
    ----------
    graph : networkx.DiGraph
        The result of ``to_networkx``.

    Returns
    -------
    list of (str, str)
        The edges, by the names of their nodes.
    """
    return [(a, b) for a, b, edge in graph.edges(data=True) if _breaks(graph.nodes[a], graph.nodes[b], edge)]


def _breaks(a: dict, b: dict, edge: dict) -> bool:
    if (a["branch"], b["branch"]) == ("interpreter", "original"):
        return True
    if (a["branch"], b["branch"]) != ("original", "interpreter") or edge["kind"] == "parameter":
        return False
    return not edge["label"] or (edge["label"] == "size" and "shape" not in (a["role"], b["role"]))


def _edge(source: fx.Node, node: fx.Node) -> tuple[str, str]:
    """Kind and label of the edge between two nodes."""
    if info(source).role == "const":
        return "parameter", ""
    if info(node).branch == "interpreter" and source.name in info(node).freezes:
        return "freeze", info(node).freezes[source.name]
    return "data", ""


def _target(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
