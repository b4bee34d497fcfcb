"""Replace dataclass outputs by dicts and namedtuples by tuples, which every exporter takes."""

from __future__ import annotations

import copy
import dataclasses

import torch.fx as fx

from ..graph.ir import acts


def plain(graph: fx.GraphModule) -> fx.GraphModule:
    """The same graph with dicts and tuples as outputs; it shares the parameters."""
    copied = fx.GraphModule(graph, copy.deepcopy(graph.graph), type(graph).__name__)
    copied.train(graph.training)
    copied.meta.update(graph.meta)
    output = next(n for n in copied.graph.nodes if n.op == "output")
    output.args = (_plain(output.args[0]),)
    copied.graph.eliminate_dead_code(is_impure_node=acts)
    copied.recompile()
    return copied


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
