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
    """What an in-place call writes, and where; raises ``AliasingWrite`` for one that has no functional form."""
    plain = aliasing.augmented(node)
    if plain is not None:
        return [(node.args[0], make(plain, node.args, dict(node.kwargs)))]
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
    """torch._foreach_add_(xs, ys) as x.add_(y) for every tensor, with its own item of every list; these write one after the other."""
    for node in list(graph.nodes):
        name = operator_name(node)
        if not name.startswith("_foreach_") or not aliasing.writes(node):
            continue
        if not node.args or not isinstance(node.args[0], (list, tuple)):
            raise _unknown(node)
        for i, tensor in enumerate(node.args[0]):
            args = [a[i] if isinstance(a, (list, tuple)) else a for a in node.args[1:]]
            with graph.inserting_before(node):
                graph.call_method(
                    name.removeprefix("_foreach_"), (tensor, *args), dict(node.kwargs)
                ).meta.update(node.meta)
        if node.users:
            raise _unknown(node)
        graph.erase_node(node)


def _without_flag(node: fx.Node) -> tuple[tuple, dict]:
    """The arguments of a call without ``inplace``; what stood behind it is named."""
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
        return make(
            torch.full_like, (tensor, node.kwargs.get("val", node.args[1] if len(node.args) > 1 else None))
        )
    if name in ("copy_", "fill_"):
        value = (
            node.args[1]
            if len(node.args) > 1
            else next(v for k, v in node.kwargs.items() if k in ("src", "value", "other"))
        )
        return (
            make("expand_as", (value, tensor))
            if isinstance(value, fx.Node)
            else make(torch.full_like, (tensor, value))
        )
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


def _is_draw(node: fx.Node) -> bool:
    """Whether every value is a draw, whatever the tensor held (normal_), and not an operator that draws on its way (dropout_, rrelu_)."""
    base = operator_name(node)[:-1]
    if getattr(node.target, "__module__", None) == _INIT:
        return base in ("normal", "uniform")
    return aliasing.draws(node) and (
        base == "bernoulli" or registry().of_function(getattr(torch, base, None)) is None
    )


def _drawn(make: Make, node: fx.Node, tensor: fx.Node) -> fx.Node:
    """The same draws into new memory: what the tensor held is not read."""
    base = operator_name(node)[:-1]
    found = aliasing.packet(f"{base}_functional") or aliasing.packet(base)
    if found is None:
        raise _unknown(node)
    args, kwargs = (
        node.args[1:],
        {k: v for k, v in node.kwargs.items() if k not in ("tensor", "self") and v is not None},
    )
    if base == "bernoulli" and not args and "p" not in kwargs:
        args = (0.5,)  # without a probability the functional form reads it from the tensor
    if getattr(node.target, "__module__", None) == _INIT:
        names = ("mean", "std") if base == "normal" else ("a", "b")
        args, kwargs = tuple(kwargs.get(n, d) for n, d in zip(names, (0.0, 1.0))), {}
    return make(found, (make(torch.empty_like, (tensor,)), *args), kwargs)


def _plain(node: fx.Node, name: str) -> Callable | str | None:
    """What computes the value that an operator with an underscore writes: a method or a function of its name."""
    if node.op == "call_method":
        if name in registry().methods or hasattr(torch.Tensor, name):
            return name
        return aliasing.packet(name)
    if getattr(node.target, "__module__", None) == _INIT:
        return None
    places = (torch, F, torch._C._nn, torch.special)
    return next((getattr(p, name) for p in places if hasattr(p, name)), None) or aliasing.packet(name)


def assigned(make: Make, node: fx.Node, sizes: set[fx.Node]) -> Values:
    """x[key] = value, where the key holds a mask or indices: which entries are written, and with which entry of the value, is a constant of x0."""
    base, key, value = node.args
    places = _places(key, sizes)
    if places is None or isinstance(value, (list, tuple)):
        raise AliasingWrite(
            f"x[...] = y with this index cannot be expressed functionally, at {source_of(node)}; use"
            " torch.where, or x.index_copy"
        )
    if not isinstance(value, fx.Node):
        none = make(torch.zeros_like, (base,), {"dtype": torch.bool})
        written = make(
            torch.ops.aten.index_put.default,
            (
                none,
                places,
                make(torch.ones, ((),), {"dtype": torch.bool, "device": make(getattr, (base, "device"))}),
            ),
        )
        return [(base, make(torch.where, (make("expand_as", (written, base)), value, base)))]
    number = make(
        "reshape_as",
        (make(torch.arange, (make("numel", (value,)),), {"device": make(getattr, (base, "device"))}), value),
    )
    none = make(torch.full_like, (base, -1), {"dtype": torch.int64})
    source = make("expand_as", (make(torch.ops.aten.index_put.default, (none, places, number)), base))
    return [(base, chosen(make, base, value, source))]


def _places(key: Any, sizes: set[fx.Node]) -> list | None:
    """An index as index_put takes it: tensors, and None for dimensions that are taken whole; None for other indices."""
    keys = key if isinstance(key, tuple) else (key,)
    found: list[Any] = []
    for k in keys:
        if isinstance(k, fx.Node) and k not in sizes:
            found.append(k)
        elif isinstance(k, slice) and k == slice(None):
            found.append(None)
        else:
            return None
    return found
