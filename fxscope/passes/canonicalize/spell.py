"""One spelling per operator: every call that a rule knows becomes a call_function of the rule's canonical operator."""

from __future__ import annotations

import operator

import torch
import torch.fx as fx

from ...graph.ir import mark
from ...rules import Rule, registry
from .writes import size_nodes

_ATTRIBUTES = {
    "mT": (torch.transpose, (-2, -1)),
    "T": (torch.t, ()),
    "data": (torch.detach, ()),
    "real": (torch.real, ()),
    "imag": (torch.imag, ()),
}
_ITEMS = {"values": 0, "indices": 1}  # of max(dim), topk, sort


def spell(gm: fx.GraphModule) -> None:
    """Rewrite every call to its canonical spelling; calls that no rule knows stay as they are."""
    graph = gm.graph
    pending = list(graph.nodes)
    while pending:
        sizes = size_nodes(graph)
        created: list[fx.Node] = []
        for node in pending:
            if node in sizes:
                _spell_size(node)
            elif node.op in ("call_function", "call_method"):
                created += _spell_call(graph, node)
        pending = created


def _spell_size(node: fx.Node) -> None:
    if node.target is getattr and node.args[1] in ("shape", "ndim"):
        node.op, node.target, node.args = (
            "call_method",
            {"shape": "size", "ndim": "dim"}[node.args[1]],
            node.args[:1],
        )


def _spell_call(graph: fx.Graph, node: fx.Node) -> list[fx.Node]:
    """Spell one call; returns the nodes that an expansion created, which need spelling themselves."""
    if node.target is getattr and node.args[1] in _ATTRIBUTES:
        node.target, extra = _ATTRIBUTES[node.args[1]]
        node.args = (node.args[0], *extra)
    if node.target is getattr and node.args[1] in _ITEMS:
        node.target, node.args = operator.getitem, (node.args[0], _ITEMS[node.args[1]])
    rule = (
        registry().of_function(node.target)
        if node.op == "call_function"
        else registry().methods.get(node.target)
    )
    if rule is None:
        return []
    try:
        given = rule.given(node.args, node.kwargs)
        full = rule.bind(node.args, node.kwargs)
        new = None if rule.expand is None else _expand(graph, node, rule, full)
    except TypeError as error:
        # an error only where a probe arrives
        node.meta["unspelled"] = f"its rule {rule.name} does not know this form: {error}"
        return []
    if new is not None:
        return new
    required = [n for n, p in rule.signature.parameters.items() if p.default is p.empty]
    node.op, node.target = "call_method" if isinstance(rule.target, str) else "call_function", rule.target
    node.args = tuple(given[n] for n in required if n in given)
    node.kwargs = {n: v for n, v in given.items() if n not in required}
    node.meta.pop("is_wrapped", None)
    mark(node, rule=rule.name)
    return []


def _expand(graph: fx.Graph, node: fx.Node, rule: Rule, full: dict) -> list[fx.Node] | None:
    before = set(graph.nodes)
    tracer = fx.proxy.GraphAppendingTracer(graph)
    with graph.inserting_before(node):
        result = rule.expand(**fx.node.map_arg(full, lambda n: fx.Proxy(n, tracer)))
    if result is None:
        return None
    created = [n for n in graph.nodes if n not in before]
    for new in created:
        new.meta.update(node.meta)
        # torch.fx would wrap the new target, for every later trace of the process
        new.meta.pop("is_wrapped", None)
        mark(new, rule=None)
    if isinstance(result, tuple):
        _hand_out(graph, node, result)
    else:
        node.replace_all_uses_with(result.node)
        graph.erase_node(node)
    return created


def _hand_out(graph: fx.Graph, node: fx.Node, results: tuple) -> None:
    """Replace the items of a call that gives several tensors."""
    for user in list(node.users):
        if user.target is not operator.getitem or not isinstance(user.args[1], int):
            raise TypeError("its tensors are not taken one by one")
        user.replace_all_uses_with(results[user.args[1]].node)
        graph.erase_node(user)
    graph.erase_node(node)
