"""In-place writes become functional ones, with their aliasing respected.

After a write to ``v``, every later use of ``v`` reads the new value. So does every later use of the tensor
that ``v`` is a view of, and of the other views of that tensor: the new value is put back into the base, and
the views are made again.

The schemas of torch tell which results are views (``aliasing.py``). If a call may be a view or a copy, and a
later read depends on it, the example decides. Without an example, a tensor is assumed to be contiguous if
that decides it, and the graph asserts the assumption; else the write is refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.fx as fx

from ...errors import AliasingWrite
from ...frontend.symbolic import source_of
from ...graph import aliasing
from ...graph.aliasing import Shares, operator_name
from ...graph.ir import info, mark, notes
from .functional import assigned, filled, functional_values, one_by_one
from .write_back import cannot_follow, put_back, put_back_part

# from (call, argument) to: whether the call gives a view, whether the argument is contiguous
Decide = Callable[[list[tuple[fx.Node, fx.Node]]], "dict[tuple[fx.Node, fx.Node], tuple[bool, bool]]"]


def functionalize(gm: fx.GraphModule, decide: Decide | None = None) -> None:
    """Remove every in-place write from the graph; raises ``AliasingWrite`` if a write has no functional form.

    ``decide`` runs the graph on an example. For each (call, argument) it tells whether the result shares the
    memory of the argument.
    """
    sizes = size_nodes(gm.graph)
    for node in sizes:
        plain = aliasing.augmented(node)
        if plain is not None:
            node.op, node.target = "call_function", plain
    if any(aliasing.writes(node) for node in gm.graph.nodes if node not in sizes):
        one_by_one(gm.graph)
        _one_node_an_attribute(gm.graph)
        _Writes(gm.graph, sizes, decide).run()


def _one_node_an_attribute(graph: fx.Graph) -> None:
    """Give a parameter or buffer that is read twice one node, since a write into it is seen by both."""
    first: dict[str, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op == "get_attr" and node.target in first:
            node.replace_all_uses_with(first[node.target])
            graph.erase_node(node)
        elif node.op == "get_attr":
            first[node.target] = node
    places = {n: i for i, n in enumerate(graph.nodes)}
    start = next((n for n in graph.nodes if n.op not in ("placeholder", "get_attr")), None)
    for node in first.values():
        if start is not None and places[node] > places[start]:
            start.prepend(node)


class _Writes:
    """Replaces the in-place writes of a graph one after the other.

    parent  {view: its base};  views  {base: its views};  order  {node: its place in the original order}
    shown   {what was written into a view: the call that made the view}
    edges   {call: (argument whose memory it may share, whether it does)}
    """

    def __init__(self, graph: fx.Graph, sizes: set[fx.Node], decide: Decide | None):
        self.graph, self.sizes, self.decide = graph, sizes, decide
        self.order = {node: i for i, node in enumerate(graph.nodes)}
        self.parent: dict[fx.Node, fx.Node] = {}
        self.views: dict[fx.Node, list[fx.Node]] = {}
        self.shown: dict[fx.Node, fx.Node] = {}
        self.edges = {node: aliasing.bases(node, sizes) for node in graph.nodes if not aliasing.writes(node)}

    def run(self) -> None:
        self._settle()
        for node in list(self.graph.nodes):
            called = node.op in ("call_function", "call_method")
            if not called or node in self.sizes or notes(node).get("counts"):
                continue
            for base, shares in self.edges.get(node, ()):
                if shares is Shares.ALWAYS:
                    self._is_view(node, base)
            if aliasing.writes(node):
                self._write(node)

    def _settle(self) -> None:
        """Decide whether a call is a view or a copy, for the calls where a write depends on it."""
        asked = self._asked()
        if not asked:
            return
        pairs = [(node, base, shares) for node in asked for base, shares in self.edges[node]]
        told = self.decide([(node, base) for node, base, _ in pairs]) if self.decide is not None else {}
        for node in asked:
            self.edges[node] = []
        for node, base, shares in pairs:
            view, contiguous = told.get((node, base), (True, True))
            if (node, base) not in told:
                self._assume_contiguous(node, base, shares)
            if shares is Shares.CONTIGUOUS and view == contiguous:
                self._assert_contiguous(node, base, contiguous)
            self.edges[node].append((base, Shares.ALWAYS if view else Shares.NEVER))

    def _assume_contiguous(self, node: fx.Node, base: fx.Node, shares: Shares) -> None:
        """Without an example, accept a call that is a view of a contiguous argument; refuse all others."""
        if shares is Shares.CONTIGUOUS and not self._turned(base):
            return
        raise AliasingWrite(
            f"{self._between(node)}: the graph alone does not tell whether {operator_name(node)} gives a view"
            " or a copy of its tensor; write out of place (x = x + y) there, or pass example_inputs=(x0,"
            " ...) to fxscope.transform, which tell"
        )

    def _between(self, node: fx.Node) -> str:
        later = (w for w in self.graph.nodes if self.order[w] > self.order[node] and self._is_write(w))
        write = next(later, node)
        return f"an in-place write at {source_of(write)} is, or is not, seen behind {source_of(node)}"

    def _turned(self, node: fx.Node) -> bool:
        """Whether a value is a view that may not be contiguous although its base is."""
        for base, shares in self.edges.get(node, ()):
            if shares is not Shares.NEVER and (not aliasing.keeps_contiguity(node) or self._turned(base)):
                return True
        return False

    def _assert_contiguous(self, node: fx.Node, base: fx.Node, contiguous: bool) -> None:
        """Assert in the graph, at this place, that the memory of the argument is as it was assumed."""
        said = "a view" if contiguous else "a copy"
        with self.graph.inserting_before(node):
            seen = self.graph.call_method("is_contiguous", (base,))
            seen = seen if contiguous else self.graph.call_function(operator.not_, (seen,))
            message = (
                f"this graph takes {operator_name(node)} at {info(node).place} for {said}: its input must"
                f" {'' if contiguous else 'not '}be contiguous, as in what it was made for"
            )
            check = self.graph.call_function(torch._assert, (seen, message))
        for new in (seen, check, *seen.all_input_nodes):
            if new is not base:
                mark(new, place=info(node).place, module=info(node).module, source=info(node).source)
                self.sizes.add(new)
                self.order[new] = self.order[node]

    def _asked(self) -> list[fx.Node]:
        """The calls that may be views or copies and that are between a write and a tensor read after it."""
        doubtful = (Shares.CONTIGUOUS, Shares.UNKNOWN, Shares.TANGLED)
        near: dict[fx.Node, list[tuple[fx.Node, fx.Node | None]]] = {}
        for node in self.graph.nodes:
            pairs = self.edges.get(node, [])
            if self._is_write(node):
                pairs = [(d, Shares.ALWAYS) for d in written_nodes(node, self.sizes)]
            for base, shares in pairs:
                through = node if shares in doubtful else None
                near.setdefault(node, []).append((base, through))
                near.setdefault(base, []).append((node, through))
        if not any(through for pairs in near.values() for _, through in pairs):
            return []
        found: set[fx.Node] = set()
        for node in self.graph.nodes:
            if self._is_write(node):
                for destination in written_nodes(node, self.sizes):
                    found |= self._crossed(node, destination, near)
        return sorted(found, key=self.order.__getitem__)

    def _is_after(self, node: fx.Node, write: fx.Node) -> bool:
        return self.order.get(node, -1) > self.order[write]

    def _read_after(self, node: fx.Node, write: fx.Node) -> bool:
        return any(self._is_after(user, write) for user in node.users)

    def _is_write(self, node: fx.Node) -> bool:
        return node not in self.sizes and aliasing.writes(node)

    def _crossed(self, write: fx.Node, destination: fx.Node, near: dict) -> set[fx.Node]:
        """The doubtful calls on the paths from a written tensor to aliases that are read after the write."""
        found: set[fx.Node] = set()
        paths: dict[fx.Node, frozenset[fx.Node]] = {destination: frozenset()}
        stack = [destination]
        while stack:
            member = stack.pop()
            if member not in (destination, write) and self._read_after(member, write):
                found |= paths[member]
            for other, through in near.get(member, ()):
                if other not in paths and self.order[other] <= self.order[write]:
                    paths[other] = paths[member] | ({through} if through is not None else set())
                    stack.append(other)
        return {n for n in found if self.order[n] < self.order[write]}

    def _write(self, node: fx.Node) -> None:
        """Replace one in-place call by its functional form, and give the new value to every alias."""
        if aliasing.changes_shape_alone(node):
            return self._reshaped(node)
        if aliasing.is_assignment(node) and aliasing.is_basic(node.args[1], self.sizes):
            return self._assign_item(node)
        with self.graph.inserting_before(node):
            if aliasing.is_assignment(node):
                values = assigned(self._make(node), node, self.sizes)
            else:
                values = functional_values(self._make(node), node)
        for destination, new in values:
            if new is not destination:
                self._written(node, destination, new)
        self._replace(node, values[0][1])

    def _replace(self, node: fx.Node, new: fx.Node) -> None:
        """Replace the result of a call that wrote by the value that it wrote."""
        for user in list(node.users):
            self._reads(user, node, new)
        self.graph.erase_node(node)

    def _assign_item(self, node: fx.Node) -> None:
        """x[key] = value with basic indexing: a write into the view x[key]."""
        base: Any = node.args[0]
        key, value = node.args[1:]
        with self.graph.inserting_before(node):
            make = self._make(node)
            view = make(operator.getitem, (base, key))
            new = filled(make, view, value)
        self._is_view(view, base)
        self._written(node, view, new)
        self.graph.erase_node(node)

    def _reshaped(self, node: fx.Node) -> None:
        """x.squeeze_(): from here on, the name x is a view of what it was."""
        name = operator_name(node)
        if not _gives_view(name[:-1]):
            raise AliasingWrite(
                f"{name} gives a tensor other memory, at {source_of(node)}; make a new tensor there"
            )
        old: Any = node.args[0]
        with self.graph.inserting_before(node):
            new = self._make(node)(name[:-1], node.args, dict(node.kwargs))
        self._is_view(new, old)
        self._hand_over(node, {old: new})
        self._replace(node, new)

    def _written(self, node: fx.Node, destination: fx.Node, new: fx.Node) -> None:
        """Replace the written tensor and its aliases by their new values."""
        notes(new)["written"] = True  # it has the shape of what it overwrote
        updated = {destination: new}
        with self.graph.inserting_before(node):
            self._propagate(node, destination, new, updated)
            self._stand_in(updated)
        self._hand_over(node, updated)

    def _hand_over(self, node: fx.Node, updated: dict[fx.Node, fx.Node]) -> None:
        """Let every later use of a tensor read its new value."""
        for old, current in updated.items():
            for user in list(old.users):
                if self._is_after(user, node):
                    self._reads(user, old, current)

    def _reads(self, user: fx.Node, old: fx.Node, new: fx.Node) -> None:
        """Let a call read another value, also where it is a view of it."""
        user.replace_input_with(old, new)
        if user in self.edges:
            self.edges[user] = [(new if b is old else b, shares) for b, shares in self.edges[user]]

    def _stand_in(self, updated: dict) -> None:
        """Make a new value a view of the old one's base, unless it is the new base itself (y[:] = ...)."""
        for old, current in list(updated.items()):
            if old not in self.parent or current in self.parent:
                continue
            base = self._now(self.parent[old], updated)
            if base is not current:
                self._is_view(current, base)
                self.shown[current] = self.shown.get(old, old)

    def _now(self, base: fx.Node, updated: dict) -> fx.Node:
        """The value of a base after a write; the parts of a written tensor (chunk) are made again."""
        above = base
        while above not in updated and above in self.parent:
            above = self.parent[above]
        return self._retake(base, updated) if above in updated else base

    def _propagate(self, node: fx.Node, destination: fx.Node, new: fx.Node, updated: dict) -> None:
        """Put ``new`` back through the chain of views, then make every other live view of the base again."""
        family = self._family(destination)
        live = {a for a in family if a is not destination and self._read_after(a, node)}
        if not live:
            return
        view, value, make = destination, new, self._make(node)
        while view in self.parent:
            base, view = self.parent[view], self.shown.get(view, view)
            if base in self.parent and operator_name(view) == "getitem" and gives_several(base):
                view, parts, item = self.parent[base], base, view
                whole = put_back_part(make, parts, item, view, value)
                if whole is None:
                    raise cannot_follow(item, view, new)
                value = whole
            else:
                value = put_back(make, view, base, value)
                view = base
            updated[view] = value
        for alias in sorted(live, key=self.order.__getitem__):
            self._retake(alias, updated)

    def _family(self, node: fx.Node) -> list[fx.Node]:
        """The tensor that ``node`` is a view of, and all of its views and their views."""
        while node in self.parent:
            node = self.parent[node]
        found = [node]
        for member in found:  # the list grows
            found += self.views.get(member, ())
        return found

    def _is_view(self, node: fx.Node, base: fx.Node) -> None:
        self.parent[node] = base
        self.views.setdefault(base, []).append(node)

    def _retake(self, alias: fx.Node, updated: dict) -> fx.Node:
        """Make a view again, from the new value of its base."""
        if alias not in updated:
            call = self.shown.get(alias, alias)
            old, base = self.parent[call], self._retake(self.parent[alias], updated)
            args, kwargs = fx.node.map_arg((call.args, call.kwargs), lambda n: base if n is old else n)
            updated[alias] = self._make(alias)(call.target, args, kwargs)
            self._is_view(updated[alias], base)
        return updated[alias]

    def _make(self, like: fx.Node) -> Callable[..., fx.Node]:
        """A function that makes nodes with the place and the position in the order of another node."""

        def make(target: Any, args: tuple, kwargs: dict | None = None) -> fx.Node:
            op = "call_method" if isinstance(target, str) else "call_function"
            new = self.graph.create_node(op, target, args, kwargs or {})
            new.meta.update(like.meta)
            self.order[new] = self.order[like]
            if is_size(new, self.sizes):
                self.sizes.add(new)
            return new

        return make


def written_nodes(node: fx.Node, sizes: set[fx.Node]) -> list[fx.Node]:
    """The tensors that a call writes into: ``out``, or its first argument."""
    if node.kwargs.get("out") is not None:
        return aliasing.tensor_arguments(node.kwargs["out"], sizes)
    first = node.args[0] if node.args else next(iter(node.kwargs.values()), None)
    return aliasing.tensor_arguments(first, sizes)


def _gives_view(name: str) -> bool:
    """Whether some overload of an operator gives a view."""
    found = aliasing.packet(name)
    overloads = [] if found is None else aliasing.overloads_of(found)
    return any(r.alias_info is not None for o in overloads for r in o._schema.returns)


def gives_several(node: fx.Node) -> bool:
    """Whether a call gives a list of tensors: chunk, split, unbind."""
    return any(str(r.type) == "List[Tensor]" for o in aliasing.overloads(node) for r in o._schema.returns)


def size_nodes(graph: fx.Graph) -> set[fx.Node]:
    """Nodes whose value is a size, an int or another plain Python value, never a tensor."""
    found: set[fx.Node] = set()
    for node in graph.nodes:
        if is_size(node, found):
            found.add(node)
    return found


_SIZE_METHODS = (
    "size",
    "dim",
    "ndimension",
    "numel",
    "stride",
    "is_floating_point",
    "__len__",
    "get_device",
    "nelement",
    "element_size",
    "is_contiguous",
)
_SIZE_FIELDS = (
    "shape",
    "ndim",
    "dtype",
    "device",
    "is_cuda",
    "layout",
    "requires_grad",
    "is_sparse",
    "names",
)


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
    return (
        node.op == "call_method"
        or module in ("_operator", "builtins", "math", "operator")
        or node.target in (torch.sym_max, torch.sym_min, torch._assert)
    )
