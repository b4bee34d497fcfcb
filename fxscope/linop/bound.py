"""Graphs that hold what they read: weights under names of their own, and what is computed of weights alone.

The way to a weight through the modules of the model takes a twentieth of the time of a small network at every
call, and the shifts of its batch norms another.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.fx as fx

from ..graph.constants import attribute_value


def bind(graph: fx.GraphModule) -> None:
    """Let a graph hold every tensor that it reads; ``Weights`` sees that the model holds another one."""
    held = vars(graph)
    for number, node in enumerate(graph.graph.find_nodes(op="get_attr")):
        if node.target not in held:
            name = f"_read_{number}"
            held[name] = attribute_value(graph, node.target)
            node.target = name
    graph.recompile()


class Bound:
    """A graph that holds what it reads, and what it computes of weights alone.

    Parameters
    ----------
    graph : GraphModule
        The graph, which is changed.
    pure : callable
        Whether a node is known to change nothing but its result.
    """

    def __init__(self, graph: fx.GraphModule, pure: Callable[[fx.Node], bool]):
        constant = _constant(graph, pure)
        wanted = [n for n in constant if n.op != "get_attr" and not set(constant).issuperset(n.users)]
        self._graph, self._values = graph, _alone(graph, constant, wanted)
        self._weights: object = None
        self._names = [f"_constant_{number}" for number in range(len(wanted))]
        vars(graph).update(dict.fromkeys(self._names))
        for name, node in zip(self._names, wanted):
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(graph.graph.create_node("get_attr", name), propagate_meta=True)
        for node in reversed(constant):
            if not node.users:
                graph.graph.erase_node(node)
        bind(graph)

    def of(self, weights: object) -> fx.GraphModule:
        """The graph with the values for these weights."""
        if self._weights is not weights:
            with torch.no_grad():
                vars(self._graph).update(zip(self._names, self._values()))
            self._weights = weights
        return self._graph


def _constant(graph: fx.GraphModule, pure: Callable[[fx.Node], bool]) -> dict[fx.Node, None]:
    """The nodes that read weights, and those that are computed of such nodes alone, in order."""
    found: dict[fx.Node, None] = {}
    for node in graph.graph.nodes:
        read = node.op == "get_attr"
        computed = node.op in ("call_function", "call_method") and node.all_input_nodes
        if read or (
            computed and pure(node) and not node.is_impure() and found.keys() >= {*node.all_input_nodes}
        ):
            found[node] = None
    return found


def _alone(graph: fx.GraphModule, constant: dict[fx.Node, None], wanted: list[fx.Node]) -> fx.GraphModule:
    """() -> the values of some of the constant nodes."""
    new = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in constant:
        copies[node] = new.node_copy(node, copies.__getitem__)
    new.output(tuple(copies[node] for node in wanted))
    new.eliminate_dead_code()
    return fx.GraphModule(graph, new)
