"""In-place writes become functional ones, with their aliasing respected.

After a write to ``v`` every later use of ``v`` sees the new value; so does every later use of the tensor that ``v`` is a
view of, and of that tensor's other views: the new value is scattered back into the base and the views are taken again.
Views that may be copies (reshape, flatten, contiguous) are taken for views; law 1 against the untouched model tells where
that was wrong.
"""

from __future__ import annotations

import operator
from typing import Callable

import torch
import torch.fx as fx
import torch.nn.functional as F

from ..draws import out_of_place
from ..errors import AliasingWrite
from ..ir import info
from ..trace import source_of

_AUGMENTED = {
    operator.iadd: operator.add, operator.isub: operator.sub, operator.imul: operator.mul, operator.itruediv: operator.truediv,
    operator.ifloordiv: operator.floordiv, operator.ipow: operator.pow, operator.iand: operator.and_, operator.ior: operator.or_,
    operator.ixor: operator.xor,
}
_SHAPED = {"view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "contiguous", "view_as", "reshape_as"}
_MOVED = {"transpose", "permute", "t", "swapaxes"}
_VIEWS = _SHAPED | _MOVED | {"getitem", "select", "narrow", "chunk", "split", "unbind", "expand", "detach", "tensor_split", "movedim"}


def functionalize(gm: fx.GraphModule) -> None:
    """Remove every in-place write from the graph; raises ``AliasingWrite`` where its effect cannot be expressed."""
    _Writes(gm.graph).run()


def operator_name(node: fx.Node) -> str:
    """The bare name of the operator a call node runs."""
    if isinstance(node.target, str):
        return node.target
    name = getattr(node.target, "__name__", "")
    return name.split(".")[0]


class _Writes:
    def __init__(self, graph: fx.Graph):
        self.graph = graph
        self.order = {node: i for i, node in enumerate(graph.nodes)}
        self.parent: dict[fx.Node, fx.Node] = {}
        self.views: dict[fx.Node, list[fx.Node]] = {}

    def run(self) -> None:
        sizes = size_nodes(self.graph)
        for node in list(self.graph.nodes):
            if node.op not in ("call_function", "call_method") or node.meta.get("counts"):
                continue
            if operator_name(node) in _VIEWS and node.args and isinstance(node.args[0], fx.Node) and node not in sizes:
                self._is_view(node, node.args[0])
            if node in sizes:
                if node.target in _AUGMENTED:
                    node.target = _AUGMENTED[node.target]
                continue
            self._write(node)

    def _write(self, node: fx.Node) -> None:
        """Replace one in-place call by its functional form and hand the new value to everybody who shares the memory."""
        if node.op == "call_function" and node.target is operator.setitem:
            return self._assign_item(node)
        functional = _functional_form(node)
        if functional is None:
            return
        destination = node.args[0]
        with self.graph.inserting_before(node):
            new = functional(self.graph, node)
        self._written(node, destination, new)

    def _assign_item(self, node: fx.Node) -> None:
        base, key, value = node.args
        with self.graph.inserting_before(node):
            if isinstance(key, fx.Node):
                new = self._create(node, "call_function", torch.where, (key, value, base))
                return self._written(node, base, new)
            view = self._create(node, "call_function", operator.getitem, (base, key))
            new = self._create(node, "call_method", "expand_as", (value, view)) if isinstance(value, fx.Node) else self._create(node, "call_function", torch.full_like, (view, value))
            self._is_view(view, base)
            self._written(node, view, new)

    def _written(self, node: fx.Node, destination: fx.Node, new: fx.Node) -> None:
        if destination.op == "get_attr":
            raise AliasingWrite(f"a parameter or buffer is written in place: {info(destination).place} at {source_of(node)}; write to a copy of it")
        new.meta.update(node.meta, written=True)  # it has the shape of what it overwrote
        updated = {destination: new}
        self.order[new] = self.order[node]
        with self.graph.inserting_before(node):
            self._propagate(node, destination, new, updated)
        self._stand_in(updated)
        updated[node] = new
        for old, current in updated.items():
            for user in list(old.users):
                if self.order.get(user, -1) > self.order[node]:
                    user.replace_input_with(old, current)
        node.replace_all_uses_with(new)
        self.graph.erase_node(node)

    def _stand_in(self, updated: dict) -> None:
        """New values are views of what their predecessors were views of; one that covers all of its base (y[:] = ...) is the new base itself."""
        for old, current in updated.items():
            base = updated.get(self.parent.get(old), self.parent.get(old))
            if base is not None and base is not current and current not in self.parent:
                self._is_view(current, base)

    def _propagate(self, node: fx.Node, destination: fx.Node, new: fx.Node, updated: dict) -> None:
        """Scatter ``new`` back through the chain of views, then take every other live view of the base again."""
        family = self._family(destination)
        live = {a for a in family if a is not destination and any(self.order.get(u, -1) > self.order[node] for u in a.users)}
        if not live:
            return
        view, value = destination, new
        while view in self.parent:
            value = self._scatter(node, view, self.parent[view], value)
            view = self.parent[view]
            updated[view] = value
        for alias in sorted(live, key=self.order.__getitem__):
            self._retake(node, alias, updated)

    def _family(self, node: fx.Node) -> list[fx.Node]:
        """The tensor that ``node`` is a view of, and all of its views, theirs included."""
        found = [self._root(node)]
        for member in found:  # which grows
            found += self.views.get(member, ())
        return found

    def _is_view(self, node: fx.Node, base: fx.Node) -> None:
        self.parent[node] = base
        self.views.setdefault(base, []).append(node)

    def _root(self, node: fx.Node) -> fx.Node:
        while node in self.parent:
            node = self.parent[node]
        return node

    def _retake(self, node: fx.Node, alias: fx.Node, updated: dict) -> fx.Node:
        if alias not in updated:
            base = self._retake(node, self.parent[alias], updated)
            updated[alias] = self._create(alias, alias.op, alias.target, (base, *alias.args[1:]), dict(alias.kwargs))
            self._is_view(updated[alias], base)
        return updated[alias]

    def _scatter(self, node: fx.Node, view: fx.Node, base: fx.Node, value: fx.Node) -> fx.Node:
        """The base with the view's part replaced by ``value``."""
        name = operator_name(view)
        if name in _SHAPED:
            return self._create(node, "call_method", "view_as", (value, base))
        if name in ("transpose", "swapaxes", "t"):
            return self._create(node, view.op, view.target, (value, *view.args[1:]), dict(view.kwargs))
        if name == "permute":
            dims = view.args[1] if isinstance(view.args[1], (list, tuple)) else view.args[1:]
            inverse = sorted(range(len(dims)), key=lambda i: dims[i] % len(dims))
            return self._create(node, "call_method", "permute", (value, *inverse))
        if name == "getitem":
            key = view.args[1] if isinstance(view.args[1], tuple) else (view.args[1],)
            if all(isinstance(k, (int, slice)) for k in key) and operator_name(base) not in ("chunk", "split", "unbind"):
                return self._scatter_key(node, base, key, 0, value)
        if name == "select":
            return self._create(node, "call_function", torch.select_scatter, (base, value, *view.args[1:]))
        raise AliasingWrite(
            f"an in-place write through a view cannot be expressed functionally: {source_of(node)} writes into the view made at "
            f"{source_of(view)}, and {info(base).place or base.name} is read later; write out of place (x = x + y) there"
        )

    def _scatter_key(self, node: fx.Node, base: fx.Node, key: tuple, dim: int, value: fx.Node) -> fx.Node:
        if not key:
            return value
        first, rest = key[0], key[1:]
        if isinstance(first, int):
            inner = self._create(node, "call_function", torch.select, (base, dim, first)) if rest else base
            return self._create(node, "call_function", torch.select_scatter, (base, self._scatter_key(node, inner, rest, dim, value), dim, first))
        if first == slice(None):
            return self._scatter_key(node, base, rest, dim + 1, value)
        start, stop, step = first.start, first.stop, first.step or 1
        part = (slice(None),) * dim + (first,)
        inner = self._create(node, "call_function", operator.getitem, (base, part)) if rest else base
        return self._create(node, "call_function", torch.slice_scatter, (base, self._scatter_key(node, inner, rest, dim + 1, value), dim, start, stop, step))

    def _create(self, like: fx.Node, op: str, target, args: tuple, kwargs: dict | None = None) -> fx.Node:
        new = self.graph.create_node(op, target, args, kwargs or {})
        new.meta.update(like.meta)
        self.order[new] = self.order[like]
        return new


def _functional_form(node: fx.Node) -> Callable | None:
    """A function that inserts the out-of-place form of an in-place call; None where the call is not one."""
    if node.op == "call_method" and node.target.endswith("_") and not node.target.endswith("__"):
        base = node.target[:-1]
        if base == "copy":
            return lambda g, n: g.call_method("expand_as", (n.args[1], n.args[0]))
        if base == "fill" and isinstance(node.args[1], fx.Node):
            return lambda g, n: g.call_method("expand_as", (n.args[1], n.args[0]))
        if base in ("fill", "zero"):
            return lambda g, n: g.call_function(torch.full_like, (n.args[0], n.args[1] if base == "fill" else 0))
        plain = None if hasattr(torch.Tensor, base) else out_of_place(base)
        if plain is not None:  # x.normal_(), x.uniform_(): tensors have no such method
            return lambda g, n: g.call_function(plain, n.args, n.kwargs)
        return lambda g, n: g.call_method(base, n.args, n.kwargs)
    if node.op != "call_function":
        return None
    if node.target in _AUGMENTED:
        return lambda g, n: g.call_function(_AUGMENTED[n.target], n.args, n.kwargs)
    if node.kwargs.get("inplace", False):
        kwargs = {k: v for k, v in node.kwargs.items() if k != "inplace"}
        return lambda g, n: g.call_function(n.target, n.args, kwargs)
    if node.kwargs.get("out") is not None:
        raise AliasingWrite(f"out= is written at {source_of(node)}; assign the result instead")
    name = getattr(node.target, "__name__", "")
    if name.endswith("_") and not name.endswith("__"):
        plain = getattr(torch, name[:-1], None) or getattr(F, name[:-1], None)
        if plain is not None:
            return lambda g, n: g.call_function(plain, n.args, n.kwargs)
    return None


def size_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose value is a size, an int or another plain Python value, never a tensor."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if is_size(node, found):
            found.add(node)
    return found


_SIZE_METHODS = ("size", "dim", "ndimension", "numel", "stride", "is_floating_point", "__len__", "get_device", "nelement", "element_size")
_SIZE_FIELDS = ("shape", "ndim", "dtype", "device", "is_cuda", "layout", "requires_grad", "is_sparse", "names")


def is_size(node: fx.Node, known: set[fx.Node]) -> bool:
    """Whether a node reads a size of a tensor, or computes with nothing but ``known`` sizes."""
    if node.op == "call_method" and node.target in _SIZE_METHODS:
        return True
    if node.op == "call_function" and node.target is getattr:
        return node.args[1] in _SIZE_FIELDS
    inputs = node.all_input_nodes if node.op in ("call_function", "call_method") else []
    return bool(inputs) and all(n in known for n in inputs) and _plain(node)


def _plain(node: fx.Node) -> bool:
    module = getattr(node.target, "__module__", "") or ""
    return node.op == "call_method" or module in ("_operator", "builtins", "math", "operator") or node.target in (torch.sym_max, torch.sym_min, torch._assert)
