"""The functional form of an in-place call: what its arguments hold afterwards, as values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx
import torch.nn.functional as F

from ...errors import AliasingWrite
from ...frontend.symbolic import source_of
from ...graph import aliasing
from ...graph.aliasing import operator_name
from ...rules import registry
from .write_back import Make, chosen

Values = list[tuple[fx.Node, fx.Node]]  # (a tensor that is written, what it holds then)

_FILLS = {"zero_": 0, "zeros_": 0, "ones_": 1}
_INIT = "torch.nn.init"


def functional_values(make: Make, node: fx.Node) -> Values:
    """What an in-place call writes, and where; raises ``AliasingWrite`` if it has no functional form."""
    plain = aliasing.augmented(node)
    if plain is not None:
        return [(_first(node), make(plain, node.args, dict(node.kwargs)))]
    if node.kwargs.get("out") is not None:
        return _out(make, node)
    if aliasing.in_place_flag(node):
        args, kwargs = _without_flag(node)
        return [(_first(node), make(node.target, args, kwargs))]
    return [(_first(node), _underscore(make, node))]


def _first(node: fx.Node) -> fx.Node:
    found = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
    if not isinstance(found, fx.Node):
        raise _unknown(node)
    return found


def _unknown(node: fx.Node) -> AliasingWrite:
    return AliasingWrite(
        f"{operator_name(node)} writes into its argument, and has no functional form here, at"
        f" {source_of(node)}; write out of place there"
    )


def _out(make: Make, node: fx.Node) -> Values:
    """torch.add(a, b, out=y): y becomes the sum, in y's dtype."""
    out = node.kwargs["out"]
    if not isinstance(out, fx.Node):
        raise AliasingWrite(f"out= is written at {source_of(node)}; assign the result instead")
    kwargs = {k: v for k, v in node.kwargs.items() if k != "out"}
    return [(out, make(node.target, node.args, kwargs))]


def one_by_one(graph: fx.Graph) -> None:
    """Write torch._foreach_add_(xs, ys) as x.add_(y) for every tensor, one after the other."""
    for node in list(graph.nodes):
        name = operator_name(node)
        if not name.startswith("_foreach_") or not aliasing.writes(node):
            continue
        if not node.args or not isinstance(node.args[0], (list, tuple)):
            raise _unknown(node)
        for i, tensor in enumerate(node.args[0]):
            args = [a[i] if isinstance(a, (list, tuple)) else a for a in node.args[1:]]
            with graph.inserting_before(node):
                call = graph.call_method(name.removeprefix("_foreach_"), (tensor, *args), dict(node.kwargs))
            call.meta.update(node.meta)
        if node.users:
            raise _unknown(node)
        graph.erase_node(node)


def _without_flag(node: fx.Node) -> tuple[tuple, dict]:
    """The arguments of a call without ``inplace``; those behind it are passed by name."""
    kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
    if "inplace" in node.kwargs:
        return node.args, kwargs
    names = aliasing.parameters(node.target)
    place = names.index("inplace")
    return node.args[:place], {**dict(zip(names[place + 1 :], node.args[place + 1 :])), **kwargs}


def _underscore(make: Make, node: fx.Node) -> fx.Node:
    """relu_, copy_, fill_, normal_ and the rest, as functions, methods or initialisers."""
    name, tensor = operator_name(node), _first(node)
    if node.target is getattr(torch.nn.init, "constant_", None):
        return make(torch.full_like, (tensor, _second(node)))
    if name in ("copy_", "fill_"):
        return filled(make, tensor, _second(node))
    if name in _FILLS:
        return make(torch.full_like, (tensor, _FILLS[name]))
    if name == "requires_grad_":
        return tensor
    if _is_draw(node):
        return _drawn(make, node, tensor)
    plain = _plain(node, name[:-1])
    if plain is None:
        raise _unknown(node)
    return make(plain, node.args, dict(node.kwargs))


def filled(make: Make, tensor: fx.Node, value: Any) -> fx.Node:
    """What a tensor holds after a value, a tensor or a number, is copied into all of it."""
    if isinstance(value, fx.Node):
        return make("expand_as", (value, tensor))
    return make(torch.full_like, (tensor, value))


def _second(node: fx.Node) -> Any:
    """The value that copy_, fill_ and constant_ write."""
    if len(node.args) > 1:
        return node.args[1]
    return next(v for k, v in node.kwargs.items() if k in ("src", "value", "other", "val"))


def _is_draw(node: fx.Node) -> bool:
    """Whether the new values are draws alone (normal_); dropout_ and rrelu_ also read the tensor."""
    base = operator_name(node)[:-1]
    if getattr(node.target, "__module__", None) == _INIT:
        return base in ("normal", "uniform")
    function = getattr(torch, base, None)
    without_rule = function is None or registry().of_function(function) is None
    return aliasing.draws(node) and (base == "bernoulli" or without_rule)


def _drawn(make: Make, node: fx.Node, tensor: fx.Node) -> fx.Node:
    """The same draws, in new memory, without a read of the tensor."""
    base = operator_name(node)[:-1]
    found = aliasing.packet(f"{base}_functional") or aliasing.packet(base)
    if found is None:
        raise _unknown(node)
    args = node.args[1:]
    kwargs = {k: v for k, v in node.kwargs.items() if k not in ("tensor", "self") and v is not None}
    if base == "bernoulli" and not args and "p" not in kwargs:
        args = (0.5,)  # without a probability the functional form reads it from the tensor
    if getattr(node.target, "__module__", None) == _INIT:
        names = ("mean", "std") if base == "normal" else ("a", "b")
        args, kwargs = tuple(kwargs.get(n, d) for n, d in zip(names, (0.0, 1.0))), {}
    return make(found, (make(torch.empty_like, (tensor,)), *args), kwargs)


def _plain(node: fx.Node, name: str) -> Callable | str | None:
    """The method or function that computes what an operator with an underscore writes."""
    if node.op == "call_method":
        if name in registry().methods or hasattr(torch.Tensor, name):
            return name
        return aliasing.packet(name)
    if getattr(node.target, "__module__", None) == _INIT:
        return None
    places = (torch, F, torch._C._nn, torch.special)
    return next((getattr(p, name) for p in places if hasattr(p, name)), None) or aliasing.packet(name)


def assigned(make: Make, node: fx.Node, sizes: set[fx.Node]) -> Values:
    """x[key] = value, where the key holds a mask or indices.

    Which entries are written, and with which entry of the value, is a constant of x0.
    """
    base: Any = node.args[0]
    key, value = node.args[1:]
    places = _places(make, base, key, sizes)
    if places is None or isinstance(value, (list, tuple)):
        raise AliasingWrite(
            f"x[...] = y with this index cannot be expressed functionally, at {source_of(node)}; use"
            " torch.where, or x.index_copy"
        )
    if isinstance(value, fx.Node):
        return [(base, _assigned_tensor(make, base, places, value))]
    return [(base, _assigned_number(make, base, places, value))]


def _assigned_number(make: Make, base: fx.Node, places: list, value: Any) -> fx.Node:
    """where(written, value, base), with a mask of the entries that are written."""
    none = make(torch.zeros_like, (base,), {"dtype": torch.bool})
    true = make(torch.ones, ((),), {"dtype": torch.bool, "device": make(getattr, (base, "device"))})
    written = make(torch.ops.aten.index_put, (none, places, true))
    return make(torch.where, (make("expand_as", (written, base)), value, base))


def _assigned_tensor(make: Make, base: fx.Node, places: list, value: fx.Node) -> fx.Node:
    """Every entry of the base reads the entry of the value that is written there, or stays."""
    count, device = make("numel", (value,)), make(getattr, (base, "device"))
    number = make("reshape_as", (make(torch.arange, (count,), {"device": device}), value))
    none = make(torch.full_like, (base, -1), {"dtype": torch.int64})
    source = make("expand_as", (make(torch.ops.aten.index_put, (none, places, number)), base))
    return chosen(make, base, value, source)


def _places(make: Make, base: fx.Node, key: Any, sizes: set[fx.Node]) -> list | None:
    """An index in the form of index_put (tensors, and None for whole dimensions), or None if it has none."""
    keys = key if isinstance(key, tuple) else (key,)
    found: list[Any] = []
    for k in keys:
        if isinstance(k, fx.Node) and k not in sizes:
            found.append(k)
        elif isinstance(k, slice) and k == slice(None):
            found.append(None)
        elif isinstance(k, list) and all(isinstance(i, int) for i in k):
            found.append(make(torch.tensor, (k,), {"device": make(getattr, (base, "device"))}))
        else:
            return None
    return found
