"""Modules become functional calls: parameters and buffers as get_attr, all else as plain arguments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import torch
import torch.fx as fx
from torch import nn
from torch.nn.utils import parametrize

from ...errors import TraceFailure
from ...frontend.proxies import InPlaceProxy, kind_of
from ...frontend.symbolic import Tracer
from ...frontend.unchanged import unchanged
from ...graph.interpreter import evaluated
from ...graph.ir import info, mark, notes
from ...graph.overridden import own_class
from ...rules import Rule, registry


def inline_modules(gm: fx.GraphModule, model: nn.Module) -> None:
    """Replace every call_module that a rule spells by a call_function of the rule's canonical operator."""
    for node in list(gm.graph.nodes):
        if node.op == "call_module":
            _inline(gm.graph, node, model.get_submodule(node.target), model)


def _inline(graph: fx.Graph, node: fx.Node, module: nn.Module, model: nn.Module) -> None:
    """Replace one call of a module, if a rule knows the module."""
    if own_class(module, (nn.Identity,)) is not None:
        x: Any = node.args[0]
        node.replace_all_uses_with(x)
        graph.erase_node(node)
        return
    if isinstance(module, parametrize.ParametrizationList):
        _replace_weight(graph, node, module)
        return
    found = registry().of_module(module)
    if found is None:
        return
    rule, adapter = found
    values = _values(module, rule, adapter, len(node.args))
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
        target: Any = rule.target
        new = graph.call_function(target, args, {**kwargs, **node.kwargs})
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
            _count(graph, node, module)
    new.meta.update(node.meta)
    notes(new)["rank_hint"] = _rank_hint(type(module))
    node.replace_all_uses_with(new)
    new._rename(node.name)
    graph.erase_node(node)


def _values(module: nn.Module, rule: Rule, adapter: Callable | None, given: int) -> dict[str, Any]:
    """{argument: value} of the canonical operator, from the attributes of the module."""
    names = list(rule.signature.parameters)[given:]
    # reading a weight may run its power method
    with unchanged(module) if parametrize.is_parametrized(module) else contextlib.nullcontext():
        if adapter is not None:
            return adapter(module)
        return {n: getattr(module, n) for n in names if hasattr(module, n)}


def _count(graph: fx.Graph, node: fx.Node, module: nn.modules.batchnorm._BatchNorm) -> None:
    """Count the batches that a batch norm in train mode has seen."""
    if module.num_batches_tracked is None:
        return
    counter = attribute(graph, node, f"{node.target}.num_batches_tracked")
    base, count = info(node), graph.call_method("add_", (counter, 1))
    mark(count, place=base.place, module=base.module, source=base.source)
    notes(count)["counts"] = True


def _prepared(graph: fx.Graph, node: fx.Node, prepare: Callable) -> fx.Node:
    """Trace what a module does to its input before the canonical operator (padding modes)."""
    before = set(graph.nodes)
    x: Any = node.args[0]
    result = prepare(fx.Proxy(x, fx.proxy.GraphAppendingTracer(graph))).node
    for new in graph.nodes:
        if new not in before:
            new.meta.update(node.meta)
    return result


def _argument(graph: fx.Graph, node: fx.Node, module: nn.Module, value, model: nn.Module):
    """An attribute of a module as a graph argument; a tensor is found by identity, under any name."""
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
    """The get_attr node of a parameter or buffer; each path has one."""
    for node in graph.nodes:
        if node.op == "get_attr" and node.target == path:
            return node
        if node.op not in ("placeholder", "get_attr"):
            break
    first = next(n for n in graph.nodes if n.op not in ("placeholder", "get_attr"))
    with graph.inserting_before(first):
        return mark(graph.get_attr(path), place=path, module=path.rpartition(".")[0])


class _Constants(Tracer):
    """Traces a module without inputs; its code may branch on a size (``weight.ndim == 1``)."""

    def __init__(self, chain: nn.Module):
        super().__init__()
        self.proxy_buffer_attributes = True
        self.held = {**dict(chain.named_parameters()), **dict(chain.named_buffers())}

    def to_bool(self, obj: fx.Proxy) -> bool:
        kind = kind_of(cast(InPlaceProxy, obj))
        if kind is None or not issubclass(kind, (int, float)):
            return super().to_bool(obj)  # a decision on values is made anew at every call
        return bool(self._value(obj.node))

    def _value(self, node: fx.Node) -> Any:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), self._value)
        if node.op == "get_attr":
            return self.held[str(node.target)]
        if node.op in ("call_method", "call_function"):
            return evaluated(node, args, kwargs)
        raise fx.proxy.TraceError(f"{node.target} is not looked into")


def _traced_weight(chain: nn.Module, path: str) -> fx.Graph:
    """The graph of a parametrisation, over parameters and buffers.

    Raises ``TraceFailure`` if its code needs plain numbers, or makes constants of its own.
    """
    tracer = _Constants(chain)
    try:
        with unchanged(chain), torch.no_grad():
            inner = tracer.trace(chain)
    except Exception as error:  # whatever its code raises where it gets a proxy
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
    """Trace the computation of a parametrised tensor (weight norm, spectral norm): a constant of x0."""
    parametrizations: Any = module.parametrizations
    name = next((n for n in parametrizations if _equal(getattr(module, n), value)), None)
    if name is None:
        raise TraceFailure(
            f"{node.target} computes its weight anew at every call (spectral norm in train mode); call"
            " .eval()"
        )
    return _weight(graph, node, parametrizations[name], f"{node.target}.parametrizations.{name}")


def _replace_weight(graph: fx.Graph, node: fx.Node, chain: nn.Module) -> None:
    """Replace the call of a parametrisation, which a forward of the user's own makes, by its operators."""
    with graph.inserting_before(node):
        weight = _weight(graph, node, chain, str(node.target))
    node.replace_all_uses_with(weight)
    graph.erase_node(node)


def _weight(graph: fx.Graph, node: fx.Node, chain: nn.Module, path: str) -> fx.Node:
    """The operators of a parametrisation; one call of it where its code is more than operators.

    It has no input, so that the call is a constant of x0 all the same.
    """
    known, place = info(node), f"{info(node).place}.{path.rpartition('.')[2]}"

    def marked(new: fx.Node) -> fx.Node:
        return mark(new, place=place, module=path, source=known.source)

    try:
        inner = _traced_weight(chain, path)
    except TraceFailure:
        return marked(graph.call_module(path))
    mapping: dict[fx.Node, fx.Node] = {}
    for n in inner.nodes:
        if n.op == "output":
            return mapping[n.args[0]]
        if n.op == "get_attr":
            mapping[n] = attribute(graph, node, f"{path}.{n.target}")
            continue
        mapping[n] = marked(graph.node_copy(n, lambda m: mapping[m]))
        if n.op == "call_module":
            mapping[n].target = f"{path}.{n.target}"
    raise RuntimeError(f"{path} has no output")


def _rank_hint(kind: type) -> int | None:
    """4 for BatchNorm2d and 5 for BatchNorm3d; None for BatchNorm1d, which takes 2 or 3 dimensions."""
    if issubclass(kind, nn.InstanceNorm1d):
        return 3
    return {"2d": 4, "3d": 5}.get(kind.__name__[-2:])
