"""Spell every call that a rule knows as a call of the rule's canonical operator."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ...graph.ir import mark, notes
from ...rules import Rule, registry
from .writes import size_nodes

_SIZES = {"shape": "size", "ndim": "dim"}
_ATTRIBUTES: dict[str, tuple[Callable, tuple[int, ...]]] = {
    "mT": (torch.transpose, (-2, -1)),
    "mH": (torch.adjoint, ()),
    "H": (torch.adjoint, ()),
    "T": (torch.t, ()),
    "data": (torch.detach, ()),
    "real": (torch.real, ()),
    "imag": (torch.imag, ()),
}
_ITEMS = {"values": 0, "indices": 1, "min": 0, "max": 1}  # of max(dim), topk, sort, aminmax


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
    """Spell ``x.shape`` and ``x.ndim`` as the methods ``size()`` and ``dim()``."""
    if node.target is getattr and node.args[1] in _SIZES:
        node.op, node.target, node.args = "call_method", _SIZES[str(node.args[1])], node.args[:1]


def _spell_call(graph: fx.Graph, node: fx.Node) -> list[fx.Node]:
    """Spell one call; returns the nodes that an expansion created, which need spelling themselves."""
    if node.target is getattr:
        _spell_attribute(node)
    rule = _rule(node)
    if rule is None:
        return []
    try:
        given = rule.given(node.args, node.kwargs)
        full = rule.bind(node.args, node.kwargs)
        created = None if rule.expand is None else _expand(graph, node, rule.expand, full)
    except TypeError as error:  # classify raises an error if the node is on the path of a probe
        notes(node)["unspelled"] = f"its rule {rule.name} does not know this form: {error}"
        return []
    if created is not None:
        return created
    _call(node, rule, given)
    return []


def _spell_attribute(node: fx.Node) -> None:
    """Spell ``x.mT`` as a function, and ``x.values`` as an item."""
    x, name = node.args[0], str(node.args[1])
    if name in _ATTRIBUTES:
        node.target, extra = _ATTRIBUTES[name]
        node.args = (x, *extra)
    elif name in _ITEMS:
        node.target, node.args = operator.getitem, (x, _ITEMS[name])


def _rule(node: fx.Node) -> Rule | None:
    if callable(node.target):
        return registry().of_function(node.target)
    return registry().methods.get(node.target)


def _call(node: fx.Node, rule: Rule, given: dict[str, Any]) -> None:
    """Call the canonical operator: required arguments by position, optional ones by name."""
    required = [n for n, p in rule.signature.parameters.items() if p.default is p.empty]
    node.op, node.target = "call_method" if isinstance(rule.target, str) else "call_function", rule.target
    node.args = tuple(given[n] for n in required if n in given)
    node.kwargs = {n: v for n, v in given.items() if n not in required}
    node.meta.pop("is_wrapped", None)
    mark(node, rule=rule.name)


def _expand(graph: fx.Graph, node: fx.Node, expand: Callable, full: dict) -> list[fx.Node] | None:
    """Replace a call by what the rule's ``expand`` traces; returns the new nodes, or None for no change."""
    before = set(graph.nodes)
    tracer = fx.proxy.GraphAppendingTracer(graph)

    def proxy(argument: fx.Node) -> Any:
        return fx.Proxy(argument, tracer)

    with graph.inserting_before(node):
        result = expand(**fx.node.map_arg(full, proxy))
    if result is None:
        return None
    created = [n for n in graph.nodes if n not in before]
    for new in created:
        new.meta.update(node.meta)
        new.meta.pop("val", None)  # that of the whole call
        new.meta.pop("is_wrapped", None)  # with it, torch.fx wraps the new target for all later traces
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
        if user.target is getattr:
            _spell_attribute(user)
        if user.target is not operator.getitem or not isinstance(user.args[1], int):
            raise TypeError("its tensors are not taken one by one")
        user.replace_all_uses_with(results[user.args[1]].node)
        graph.erase_node(user)
    graph.erase_node(node)
