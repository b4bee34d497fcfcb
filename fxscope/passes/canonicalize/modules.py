"""Modules become functional calls: parameters and buffers as get_attr, everything else as plain arguments."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.fx as fx
from torch import nn
from torch.nn.utils import parametrize

from ...errors import TraceFailure
from ...frontend.symbolic import Tracer
from ...frontend.unchanged import unchanged
from ...graph.ir import info, mark
from ...graph.overridden import own_class
from ...rules import registry


def inline_modules(gm: fx.GraphModule, model: nn.Module) -> None:
    """Replace every call_module that a rule spells by a call_function of the rule's canonical operator."""
    for node in list(gm.graph.nodes):
        if node.op == "call_module":
            _inline(gm.graph, node, model.get_submodule(node.target), model)


def _inline(graph: fx.Graph, node: fx.Node, module: nn.Module, model: nn.Module) -> None:
    if own_class(module, (nn.Identity,)) is not None:
        node.replace_all_uses_with(node.args[0])
        graph.erase_node(node)
        return
    found = registry().of_module(module)
    if found is None:
        return
    rule, adapter = found
    names = list(rule.signature.parameters)
    # reading a weight may run its power method
    with unchanged(module) if parametrize.is_parametrized(module) else contextlib.nullcontext():
        values = (
            adapter(module)
            if adapter
            else {n: getattr(module, n) for n in names[len(node.args) :] if hasattr(module, n)}
        )
    prepare = values.pop("input", None)
    defaults = {n: p.default for n, p in rule.signature.parameters.items()}
    with graph.inserting_before(node):
        kwargs = {
            n: _argument(graph, node, module, v, model)
            for n, v in values.items()
            if n not in node.kwargs and not (v is None and defaults[n] is None)
        }
        if getattr(module, "inplace", False):
            kwargs["inplace"] = True
        args = node.args if prepare is None else (_prepared(graph, node, prepare), *node.args[1:])
        new = graph.call_function(rule.target, args, {**kwargs, **node.kwargs})
        if (
            isinstance(module, nn.modules.batchnorm._BatchNorm)
            and module.training
            and module.num_batches_tracked is not None
        ):
            counter = attribute(graph, node, f"{node.target}.num_batches_tracked")
            count = mark(
                graph.call_method("add_", (counter, 1)),
                place=info(node).place,
                module=info(node).module,
                source=info(node).source,
            )
            count.meta["counts"] = True
    new.meta.update(node.meta)
    new.meta["rank_hint"] = _rank_hint(type(module))
    node.replace_all_uses_with(new)
    new._rename(node.name)
    graph.erase_node(node)


def _prepared(graph: fx.Graph, node: fx.Node, prepare) -> fx.Node:
    """What a module does to its input before the canonical operator (padding modes), traced into the graph."""
    before = set(graph.nodes)
    result = prepare(fx.Proxy(node.args[0], fx.proxy.GraphAppendingTracer(graph))).node
    for new in graph.nodes:
        if new not in before:
            new.meta.update(node.meta)
    return result


def _argument(graph: fx.Graph, node: fx.Node, module: nn.Module, value, model: nn.Module):
    """A module's attribute as a graph argument; tensors are found by identity, so adapters may rename them."""
    if not isinstance(value, torch.Tensor):
        return value
    for name in [*module._parameters, *module._buffers]:
        if getattr(module, name) is value:
            return attribute(graph, node, f"{node.target}.{name}" if node.target else name)
    if parametrize.is_parametrized(module):
        return _parametrized(graph, node, module, value, model)
    raise TypeError(
        f"{node.target}: a tensor that is neither a parameter nor a buffer of {type(module).__name__}"
    )


def attribute(graph: fx.Graph, near: fx.Node, path: str) -> fx.Node:
    """A get_attr node for a parameter or buffer, one a path."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target == path:
            return node
        if node.op not in ("placeholder", "get_attr"):
            break
    first = next(n for n in graph.nodes if n.op not in ("placeholder", "get_attr"))
    with graph.inserting_before(first):
        return mark(graph.get_attr(path), place=path, module=path.rpartition(".")[0])


class _Constants(Tracer):
    """Traces a module without inputs: where its code decides on a value (``weight.ndim == 1``), the value is at hand."""

    def __init__(self, chain: nn.Module):
        super().__init__()
        self.proxy_buffer_attributes = True
        self.held = {**dict(chain.named_parameters()), **dict(chain.named_buffers())}

    def to_bool(self, obj: fx.Proxy) -> bool:
        return bool(self._value(obj.node))

    def _value(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._value)
        if node.op == "get_attr":
            return self.held[node.target]
        if node.op == "call_method":
            return getattr(args[0], node.target)(*args[1:], **kwargs)
        if node.op == "call_function":
            return node.target(*args, **kwargs)
        raise fx.proxy.TraceError(f"{node.target} is not looked into")


def _traced_weight(chain: nn.Module, path: str) -> fx.Graph:
    """The graph of a parametrisation, of parameters and buffers alone; refused where its code needs plain numbers, or makes constants of its own."""
    tracer = _Constants(chain)
    try:
        with unchanged(chain), torch.no_grad():
            inner = tracer.trace(chain)
    except (fx.proxy.TraceError, TypeError) as error:
        raise TraceFailure(
            f"{path} computes its weight in a way that symbolic tracing cannot see: {error}"
        ) from error
    if tracer.tensor_attrs.keys() - {*chain.parameters(), *chain.buffers()}:
        raise TraceFailure(
            f"{path} computes with a tensor of its own, which is neither a parameter nor a buffer"
        )
    return inner


def _equal(a: Any, b: torch.Tensor) -> bool:
    return isinstance(a, torch.Tensor) and a.shape == b.shape and torch.equal(a, b)


def _parametrized(graph: fx.Graph, node: fx.Node, module: nn.Module, value, model: nn.Module) -> fx.Node:
    """The computation of a parametrised tensor (weight norm, spectral norm), traced into the graph: constants of x0."""
    name = next((n for n in module.parametrizations if _equal(getattr(module, n), value)), None)
    if name is None:
        raise TraceFailure(
            f"{node.target} computes its weight anew at every call (spectral norm in train mode); call"
            " .eval()"
        )
    chain = module.parametrizations[name]
    path = f"{node.target}.parametrizations.{name}"
    inner = _traced_weight(chain, path)
    mapping: dict[fx.Node, fx.Node] = {}
    for n in inner.nodes:
        if n.op == "output":
            return mapping[n.args[0]]
        if n.op == "get_attr":
            mapping[n] = attribute(graph, node, f"{path}.{n.target}")
            continue
        mapping[n] = graph.node_copy(n, lambda m: mapping[m])
        if n.op == "call_module":
            mapping[n].target = f"{path}.{n.target}"
        mark(mapping[n], place=f"{info(node).place}.{name}", module=path, source=info(node).source)
    raise RuntimeError(f"{path} has no output")


def _rank_hint(kind: type) -> int | None:
    """BatchNorm2d takes 4 dimensions and BatchNorm3d 5; 1d forms take 2 or 3 and say nothing."""
    return {"2d": 4, "3d": 5}.get(kind.__name__[-2:])
