"""Put a value that was written through a view back into its base: replace the entries of the view."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx
import torch.nn.functional as F

from ...errors import AliasingWrite
from ...frontend.symbolic import source_of
from ...graph.aliasing import operator_name
from ...graph.ir import info

Make = Callable[..., fx.Node]  # (target, args, kwargs) -> a new node; a target that is a string is a method

_IN_ORDER = {
    "view",
    "reshape",
    "_unsafe_view",
    "view_as",
    "reshape_as",
    "flatten",
    "unflatten",
    "ravel",
    "squeeze",
    "unsqueeze",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "expand",
    "expand_as",
    "broadcast_to",  # torch refuses a write where one entry of memory is read several times
}
_SAME = {
    "contiguous",
    "to",
    "type_as",
    "type",
    "float",
    "double",
    "half",
    "bfloat16",
    "cpu",
    "cuda",
    "alias",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "positive",
    "lift_fresh",
}
_OWN_INVERSE = {"transpose", "swapaxes", "swapdims", "t", "mT", "numpy_T"}
_PARTS = {"chunk": 0, "split": 0, "split_with_sizes": 0, "unbind": 0}


def put_back(make: Make, view: fx.Node, base: fx.Node, value: fx.Node) -> fx.Node:
    """The base with ``value`` in the place of ``view``; raises ``AliasingWrite`` if there is no such form."""
    name, now = operator_name(view), base
    if name in _IN_ORDER and not any(isinstance(a, torch.dtype) for a in view.args):
        return make("reshape_as", (value, now))
    if name in _SAME:
        return value
    if name == "detach":  # a write that autograd does not see is a constant to it
        difference = make(operator.sub, (make(torch.detach, (value,)), make(torch.detach, (now,))))
        return make(operator.add, (now, difference))
    if name in _OWN_INVERSE:
        return make(view.target, (value, *view.args[1:]), dict(view.kwargs))
    found = _WRITERS.get(name)
    result = found(make, view, base, now, value) if found is not None else None
    if result is None:
        raise cannot_follow(view, base, value)
    return result


def cannot_follow(view: fx.Node, base: fx.Node, value: fx.Node) -> AliasingWrite:
    """The error of a write whose effect on the view's base has no functional form here."""
    return AliasingWrite(
        f"an in-place write through a view cannot be expressed functionally: {source_of(value)} writes into"
        f" what was made at {source_of(view)}, and {info(base).place or base.name} is read later; write out"
        " of place (x = x + y) there"
    )


def _arguments(view: fx.Node, *names: str, **defaults: Any) -> list[Any]:
    """The arguments of a view after its tensor, by position or by name."""
    given = dict(zip(names, view.args[1:])) | {k: v for k, v in view.kwargs.items() if k in names}
    return [given.get(n, defaults.get(n)) for n in names]


def _permute(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node:
    dims: Any = view.kwargs.get("dims", view.args[1:])
    if len(dims) == 1 and isinstance(dims[0], (list, tuple)):
        dims = dims[0]
    return make("permute", (value, *sorted(range(len(dims)), key=lambda i: dims[i] % len(dims))))


def _movedim(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node:
    source, destination = _arguments(view, "source", "destination")
    return make(torch.movedim, (value, destination, source))


def _select(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node:
    return make(torch.select_scatter, (now, value, *_arguments(view, "dim", "index")))


def _slice(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node:
    return make(
        torch.slice_scatter, (now, value, *_arguments(view, "dim", "start", "end", "step", dim=0, step=1))
    )


def _narrow(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node | None:
    dim, start, length = _arguments(view, "dim", "start", "length")
    if not isinstance(start, int) or start < 0:
        return None
    return make(torch.slice_scatter, (now, value, dim, start, _plus(make, start, length), 1))


def _diagonal(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node:
    return make(
        torch.diagonal_scatter,
        (now, value, *_arguments(view, "offset", "dim1", "dim2", offset=0, dim1=0, dim2=1)),
    )


def _windows(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node | None:
    """Windows that do not overlap: every entry of the base reads what was written there, or stays."""
    dim, size, step = _arguments(view, "dimension", "size", "step")
    if not isinstance(size, int) or not isinstance(step, int) or step < size:
        return None
    return by_number(make, now, value, lambda places: make(view.target, (places, dim, size, step)))


def _item(make: Make, view: fx.Node, base: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node | None:
    key = view.args[1] if isinstance(view.args[1], tuple) else (view.args[1],)
    if all(isinstance(k, (int, slice)) for k in key):
        return _by_key(make, now, key, 0, value)
    if any(isinstance(k, str) for k in key):
        return None
    return by_number(make, now, value, lambda places: make(operator.getitem, (places, view.args[1])))


def _by_key(make: Make, base: fx.Node, key: tuple, dim: int, value: fx.Node) -> fx.Node:
    if not key:
        return value
    first, rest = key[0], key[1:]
    if isinstance(first, int):
        inner = make(torch.ops.aten.select, (base, dim, first)) if rest else base
        return make(torch.select_scatter, (base, _by_key(make, inner, rest, dim, value), dim, first))
    if first == slice(None):
        return _by_key(make, base, rest, dim + 1, value)
    inner = make(operator.getitem, (base, (slice(None),) * dim + (first,))) if rest else base
    return make(
        torch.slice_scatter,
        (base, _by_key(make, inner, rest, dim + 1, value), dim, first.start, first.stop, first.step or 1),
    )


def by_number(make: Make, now: fx.Node, value: fx.Node, taken: Callable[[fx.Node], fx.Node]) -> fx.Node:
    """The base with ``value`` in the place of a view, found by numbering the entries of the base.

    ``taken`` applies the view to these numbers, which gives the place of every entry of ``value``.
    """
    count = make("numel", (now,))
    device = make(getattr, (now, "device"))
    numbers = make("reshape_as", (make(torch.arange, (count,), {"device": device}), now))
    places = make("reshape", (taken(numbers), -1))
    number = make(torch.arange, (make("numel", (places,)),), {"device": device})
    none = make(torch.full, ([count], -1), {"device": device})
    source = make("reshape_as", (make(torch.ops.aten.index_put, (none, [places], number)), now))
    return chosen(make, now, value, source)


def chosen(make: Make, now: fx.Node, value: fx.Node, source: fx.Node) -> fx.Node:
    """At every place, the entry of ``value`` whose number is in ``source``; the entry of the base for -1."""
    index = make("reshape", (make(torch.clamp, (source,), {"min": 0}), -1))
    values = make(
        F.pad, (make("reshape", (value, -1)), [0, 1])
    )  # one to read where no value is written at all
    read = make(torch.ops.aten.index_select, (values, 0, index))
    return make(torch.where, (make(operator.ge, (source, 0)), make("reshape_as", (read, now)), now))


def put_back_part(make: Make, parts: fx.Node, item: fx.Node, now: fx.Node, value: fx.Node) -> fx.Node | None:
    """``put_back`` for a part of chunk, split or unbind; None for other calls that give several tensors."""
    name, number = operator_name(parts), item.args[1]
    if not isinstance(number, int) or number < 0 or parts.op not in ("call_function", "call_method"):
        return None
    if name == "unbind":
        return make(torch.select_scatter, (now, value, _arguments(parts, "dim", dim=0)[0], number))
    if name not in _PARTS:
        return None
    dim: Any = parts.kwargs.get("dim", parts.args[2] if len(parts.args) > 2 else 0)
    start = _start(make, name, parts, number, now, dim)
    if start is None:
        return None
    return make(
        torch.slice_scatter, (now, value, dim, start, _plus(make, start, make("size", (value, dim))), 1)
    )


def _start(make: Make, name: str, parts: fx.Node, number: int, now: fx.Node, dim: int) -> Any:
    """Where a part begins: number times the size of a part; chunk rounds the size up."""
    given = [*parts.args[1:2], *(v for k, v in parts.kwargs.items() if k != "dim")]
    size = given[0] if given else None
    if isinstance(size, (list, tuple)):
        return sum(size[:number]) if all(isinstance(s, int) for s in size[:number]) else None
    if number == 0:
        return 0
    if name == "chunk":
        whole = _plus(make, make("size", (now, dim)), size - 1) if isinstance(size, int) else None
        size = None if whole is None else make(operator.floordiv, (whole, size))
    if size is None:
        return None
    return size * number if isinstance(size, int) else make(operator.mul, (size, number))


def _plus(make: Make, a: Any, b: Any) -> Any:
    return a + b if isinstance(a, int) and isinstance(b, int) else make(operator.add, (a, b))


_WRITERS: dict[str, Callable] = {
    "permute": _permute,
    "movedim": _movedim,
    "moveaxis": _movedim,
    "select": _select,
    "slice": _slice,
    "narrow": _narrow,
    "diagonal": _diagonal,
    "unfold": _windows,
    "getitem": _item,
}
