"""What every exporter can read: tensors in dicts and tuples, also in place of computed weights.

Dataclasses become dicts and namedtuples tuples. What is no tensor (None, numbers, text, sizes) is left out.
"""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import torch
import torch.fx as fx
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils import _pytree as pytree

from ..graph.ir import acts
from ..passes.canonicalize import size_nodes


def plain(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with its outputs in dicts and tuples of tensors alone; parameters stay shared."""
    copied = fx.GraphModule(graph, copy.deepcopy(graph.graph), type(graph).__name__)
    copied.train(graph.training)
    copied.meta.update(graph.meta)
    _fix_weights(copied)
    output = next(n for n in copied.graph.nodes if n.op == "output")
    output.args = (_plain(output.args[0], size_nodes(copied.graph)),)
    copied.graph.eliminate_dead_code(is_impure_node=acts)
    copied.recompile()
    return copied


def _fix_weights(graph: fx.GraphModule) -> None:
    """Replace calls of parametrisations, which have no inputs, by their results: a file's weights stay."""
    for node in [n for n in graph.graph.nodes if n.op == "call_module"]:
        chain = graph.get_submodule(str(node.target))
        if isinstance(chain, ParametrizationList):
            with torch.no_grad():
                graph.register_buffer(node.name, chain())
            with graph.graph.inserting_before(node):
                value = graph.graph.get_attr(node.name)
            value.meta.update(node.meta)
            node.replace_all_uses_with(value)
            graph.graph.erase_node(node)
    graph.delete_all_unused_submodules()


_NOTHING = object()


def _plain(value: Any, sizes: set[fx.Node]) -> Any:
    """An output of a file: tensors in dicts and tuples; ``_NOTHING`` where there is no tensor."""
    if isinstance(value, fx.Node) and value.op == "call_function" and isinstance(value.target, type):
        return _fields(value, sizes)
    if isinstance(value, fx.Node):
        return _NOTHING if value in sizes else value
    if isinstance(value, (list, tuple)):
        return tuple(kept for v in value if (kept := _plain(v, sizes)) is not _NOTHING) or _NOTHING
    if isinstance(value, dict):
        return {k: kept for k, v in value.items() if (kept := _plain(v, sizes)) is not _NOTHING} or _NOTHING
    return _NOTHING


def _fields(node: fx.Node, sizes: set[fx.Node]) -> Any:
    """What a constructor of an output structure takes."""
    kind: Any = node.target
    if pytree.is_structseq_class(kind):
        return _plain(node.args[0], sizes)
    names = getattr(kind, "_fields", None) or tuple(kind.__dataclass_fields__)
    given = {**dict(zip(names, node.args)), **node.kwargs}
    ordered = {name: given[name] for name in names if name in given}
    return _plain(ordered if dataclasses.is_dataclass(kind) else tuple(ordered.values()), sizes)
