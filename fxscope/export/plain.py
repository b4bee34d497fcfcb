"""Outputs of saved forms: dataclasses become dicts and namedtuples tuples, which every exporter can read."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch.fx as fx


def plain(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with its output constructors replaced by dicts and tuples; parameters stay shared.

    Type annotations go as well: those of the user's own output classes cannot be scripted.
    """
    copied = fx.GraphModule(graph, copy.deepcopy(graph.graph), type(graph).__name__)
    copied.meta.update(graph.meta)
    for node in copied.graph.nodes:
        node.type = None
    output = output_of(copied)
    output.args = (_plain(output.args[0]),)
    copied.graph.eliminate_dead_code()
    copied.recompile()
    return copied


def output_of(graph: fx.GraphModule) -> fx.Node:
    """The output node of a graph."""
    return next(n for n in graph.graph.nodes if n.op == "output")


def _plain(value: Any) -> Any:
    if isinstance(value, fx.Node):
        return _fields(value) if value.op == "call_function" and isinstance(value.target, type) else value
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value


def _fields(node: fx.Node) -> Any:
    """What a constructor call holds: a dict for a dataclass, a tuple for a namedtuple; defaults that were left out come last."""
    kind = node.target
    if dataclasses.is_dataclass(kind):
        names = [f.name for f in dataclasses.fields(kind) if f.init]
        given = {**dict(zip(names, node.args)), **node.kwargs}
        return {name: _plain(given[name]) for name in names if name in given}
    if not hasattr(kind, "_fields"):
        return node
    given = {**kind._field_defaults, **dict(zip(kind._fields, node.args)), **node.kwargs}
    return tuple(_plain(given[name]) for name in kind._fields)
