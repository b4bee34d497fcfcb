"""What every exporter can read: dicts, tuples, and tensors in place of computed weights."""

from __future__ import annotations

import copy
import dataclasses

import torch
import torch.fx as fx
from torch.nn.utils.parametrize import ParametrizationList

from ..graph.ir import acts


def plain(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with dicts and tuples as outputs; it shares the parameters."""
    copied = fx.GraphModule(graph, copy.deepcopy(graph.graph), type(graph).__name__)
    copied.train(graph.training)
    copied.meta.update(graph.meta)
    _fix_weights(copied)
    output = next(n for n in copied.graph.nodes if n.op == "output")
    output.args = (_plain(output.args[0]),)
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


def _plain(value):
    if isinstance(value, fx.Node) and value.op == "call_function" and isinstance(value.target, type):
        if dataclasses.is_dataclass(value.target):
            names = [f.name for f in dataclasses.fields(value.target)]
            return {
                **{n: _plain(v) for n, v in zip(names, value.args)},
                **{k: _plain(v) for k, v in value.kwargs.items()},
            }
        return tuple(_plain(v) for v in value.args)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(v) for v in value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
