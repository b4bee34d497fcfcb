"""The values of the original branch in an emitted graph: computed in the graph, or given as a state.

For a node of the original graph, both give the node of the emitted graph that holds its value, and a
``ShapeRef``, which reads the sizes of the value without keeping it.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import torch
import torch.fx as fx

from ..graph.constants import attribute_value
from ..graph.ir import NodeInfo, info, mark, notes
from ..passes.facts import Facts
from ..passes.rewrite import Program
from ..rules._of_node import bound, rule_of
from ..twins import ShapeRef
from .tagging import Tagging


class GraphSource:
    """The original branch as a part of the emitted graph: needed nodes are copied in order.

    If ``updates``, normalisations in train mode update their running statistics. The pair does, once, from
    x0.
    """

    def __init__(self, program: Program, graph: fx.Graph, updates: bool = False):
        self.program, self.graph, self.updates = program, graph, updates
        self.copies: dict[fx.Node, fx.Node] = {}
        self.names: dict[str, str] = {}
        self.reads: dict[tuple, fx.Node] = {}
        self.tracer = fx.proxy.GraphAppendingTracer(graph)

    def placeholders(self) -> None:
        """Create the inputs of the model."""
        nodes = [n for n in self.program.gm.graph.nodes if n.op == "placeholder"]
        for node in nodes:
            # no default: a probe follows
            self._put(node, new_input(self.graph, "x0" if len(nodes) == 1 else _spelled(node)))

    def copy_all(self, needed: set[fx.Node]) -> None:
        """Copy the needed nodes of the original graph, in its order."""
        for node in self.program.gm.graph.nodes:
            if node in needed and node.op != "output":
                self.copy(node)
        self.resolve()

    def copy(self, node: fx.Node) -> None:
        """Copy one node, whose arguments are copied already."""
        if node.op != "placeholder":
            arguments = fx.node.map_arg((node.args, node.kwargs), self.copies.__getitem__)
            if not self.updates and updates_statistics(node):
                given = {n: None if n.startswith("running_") else v for n, v in bound(node).items()}
                first, *rest = fx.node.map_arg(given, self.copies.__getitem__).items()
                arguments = ((first[1],), dict(rest))
            self._put(node, self.graph.create_node(node.op, node.target, *arguments, name=_spelled(node)))
        if any(probe.node is node for probe in self.program.probes):
            self._check_floating(node)

    def _check_floating(self, node: fx.Node) -> None:
        """Assert that a probed place is floating: probes and rows of an integer dtype would be truncated."""
        place = self.called(node)
        said = (
            f"{place} must be real floating: made with example_inputs=(x0, ...), the graph is probed where"
            " integers become floating"
        )
        with Tagging(self.graph, branch="original", role="shape", place=place, origin=self.copies[node].name):
            torch._assert(self.proxy(node).is_floating_point(), said)

    def called(self, node: fx.Node) -> str:
        """How messages call a value: an input by its name in the emitted graph, others by their place."""
        return str(self.copies[node].target) if node.op == "placeholder" else info(node).place or node.name

    def _put(self, node: fx.Node, new: fx.Node) -> None:
        new.meta.update({k: v for k, v in node.meta.items() if k not in ("recognized", "val", "parts")})
        mark(new, branch="original")
        self.copies[node] = new
        self.names[node.name] = new.name

    def resolve(self) -> None:
        """Let ``origin`` use the names of the emitted graph, now that all nodes are there."""
        for new in self.copies.values():
            origin = info(new).origin
            if origin is not None:
                mark(new, origin=self.names.get(origin, origin))

    def __contains__(self, node: fx.Node) -> bool:
        return node in self.copies

    def __getitem__(self, node: fx.Node) -> fx.Node:
        return self.copies[node]

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """The value of a node, as a proxy of the emitted graph."""
        return fx.Proxy(self.copies[node], self.tracer)

    def like(self, node: fx.Node, rank: int | None) -> ShapeRef:
        """The sizes of a node's value."""
        return ShapeRef(
            lambda what, d: self._read(node, what, d), rank, lambda: _need(self.program.facts, node)
        )

    def _read(self, node: fx.Node, what: str, d: int | None) -> fx.Proxy:
        """A size of a copied value, read once and directly behind it, so that the value need not live on."""
        if (node, what, d) not in self.reads:
            copy = self.copies[node]
            after = _last_placeholder(self.graph) if copy.op == "placeholder" else copy
            with self.graph.inserting_after(after):
                self.reads[node, what, d] = _size_node(self.graph, copy, what, d, info(copy))
        return fx.Proxy(self.reads[node, what, d], self.tracer)


State = tuple[str, fx.Node, bool]  # name, node, whether it is kept whole, or only its sizes


class Slots:
    """The states that replay and pullback need, as (name, node, whole); not whole if only sizes are read."""

    def __init__(self) -> None:
        self.order: list[State] = []
        self._at: dict[tuple[fx.Node, bool], int] = {}
        self._taken: set[str] = set()

    def copy(self) -> Slots:
        """The same states, to which others may be appended."""
        new = Slots()
        new.order, new._at, new._taken = list(self.order), dict(self._at), set(self._taken)
        return new

    def index(self, node: fx.Node, whole: bool) -> int:
        """The position of a state; a new one is appended under a unique name."""
        if (node, whole) not in self._at:
            name = (info(node).place or node.name).replace(".", "_")
            name = name if whole else f"{name}_size"
            unique = next(c for c in _candidates(name) if c not in self._taken)
            self._taken.add(unique)
            self._at[node, whole] = len(self.order)
            self.order.append((unique, node, whole))
        return self._at[node, whole]


class StateSource:
    """The original branch as a tuple of tensors: frozen tensors, and empty tensors that carry sizes."""

    def __init__(self, program: Program, graph: fx.Graph, slots: Slots):
        self.program, self.graph, self.slots = program, graph, slots
        self.made: dict[Any, fx.Node] = {}
        self.tracer = fx.proxy.GraphAppendingTracer(graph)

    def placeholders(self) -> None:
        """Create the input ``state``, with the type that TorchScript needs."""
        state = self.graph.placeholder("state", type_expr=list[torch.Tensor])
        self.state = mark(state, branch="original", role="frozen", place="state")

    def __contains__(self, node: fx.Node) -> bool:
        return True

    def __getitem__(self, node: fx.Node) -> Any:
        if node not in self.made:
            self.made[node] = self._make(node)
        return self.made[node]

    def proxy(self, node: fx.Node) -> Any:
        """The value of a node, as a proxy of the emitted graph or as a list of them."""
        return fx.node.map_arg(self[node], self._proxy)

    def _proxy(self, node: fx.Node) -> Any:
        return fx.Proxy(node, self.tracer)

    def like(self, node: fx.Node, rank: int | None) -> ShapeRef:
        """The sizes of a node's value."""
        return ShapeRef(
            lambda what, d: self._read(node, what, d), rank, lambda: _need(self.program.facts, node)
        )

    def _make(self, node: fx.Node) -> Any:
        """Compute a constant or a size from parameters and sizes; read everything else from the state."""
        role = info(node).role
        if role == "shape" and self._reads_tensor(node):
            return self._size_of(node)
        if notes(node).get("folded"):
            return self._entry(node, whole=True)
        if role in ("const", "shape"):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), self.__getitem__)
            if node.target is operator.getitem and isinstance(args[0], (list, tuple)):
                return args[0][args[1]]  # type: ignore[index]  # a size of a list of sizes
            new = self.graph.create_node(node.op, node.target, args, kwargs, name=node.name)
        else:
            new = self._entry(node, whole=True)
        new.meta.update({k: v for k, v in node.meta.items() if k not in ("recognized", "val", "parts")})
        return mark(new, branch="original", origin=None)

    def _reads_tensor(self, node: fx.Node) -> bool:
        return any(info(n).role in ("affine", "frozen", "sized") for n in node.all_input_nodes)

    def _size_of(self, node: fx.Node) -> Any:
        """x.size(d), x.size(), x.shape, x.dtype of a value whose sizes are stored."""
        source: Any = node.args[0]
        what: Any = node.args[1] if len(node.args) > 1 else None
        if node.op == "call_method" and node.target == "size" and what is not None:
            d = what if what >= 0 else what + self.program.facts.rank(source)
            return self._read(source, "size", d).node
        if node.target == "size" or (node.target is getattr and what == "shape"):
            return [self._read(source, "size", d).node for d in range(_need(self.program.facts, source))]
        if node.target is getattr and what in ("dtype", "device"):
            return self._read(source, what, None).node
        return self.graph.create_node(node.op, node.target, (self[source], *node.args[1:]), node.kwargs)

    def _read(self, node: fx.Node, what: str, d: int | None) -> fx.Proxy:
        key = (node, what, d)
        if key not in self.made:
            entry = self._entry(node, whole=False)
            behind = None if d is None else d + 1  # an entry is of shape (0, *sizes)
            self.made[key] = _size_node(self.graph, entry, what, behind, info(node).but(branch="original"))
        return fx.Proxy(self.made[key], self.tracer)

    def _entry(self, node: fx.Node, whole: bool) -> fx.Node:
        key = ("entry", node, whole)
        if key not in self.made:
            index = self.slots.index(node, whole)
            new = self.graph.call_function(
                operator.getitem, (self.state, index), name=self.slots.order[index][0]
            )
            self.made[key] = mark(
                new,
                branch="original",
                role="frozen" if whole else "shape",
                place=info(node).place,
                module=info(node).module,
                source=info(node).source,
            )
        return self.made[key]


def updates_statistics(node: fx.Node) -> bool:
    """Whether a node writes running statistics: batch norm in train mode, instance norm that tracks them."""
    rule = rule_of(node)
    if rule is None or rule.name not in ("batch_norm", "instance_norm") or node.target is not rule.target:
        return False
    given = bound(node)
    return given["running_mean"] is not None and bool(
        given["training" if rule.name == "batch_norm" else "use_input_stats"]
    )


def sizes_of(value: fx.Proxy, rank: int) -> fx.Proxy:
    """A tensor of shape (0, *sizes), which has no entries and carries the sizes of a value."""
    return value.new_zeros([0] + [value.size(d) for d in range(rank)])


def parameter_of(program: Program, sources: GraphSource | StateSource):
    """A function from a proxy to the tensor of its parameter or buffer; None for computed values."""

    def find(proxy: Any) -> torch.Tensor | None:
        node = proxy.node if isinstance(proxy, fx.Proxy) else None
        if node is None or node.op != "get_attr":
            return None
        return attribute_value(program.gm, str(node.target))

    return find


def _size_node(graph: fx.Graph, copy: fx.Node, what: str, d: int | None, base: NodeInfo) -> fx.Node:
    """A node that reads a size, the dtype or the device of a value; it belongs to the original branch."""
    if what == "size":
        new = graph.call_method("size", (copy, d))
    else:
        new = graph.call_function(getattr, (copy, what))
    notes(new)["fxscope"] = base
    return mark(new, branch="original", role="shape", rule="size", variant=None, twin=None, freezes={})


def _last_placeholder(graph: fx.Graph) -> fx.Node:
    return [n for n in graph.nodes if n.op == "placeholder"][-1]


def _need(facts: Facts, node: fx.Node) -> int:
    return facts.need_rank(node, "the adjoint")


def new_input(graph: fx.Graph, name: str, type_expr: Any = None) -> fx.Node:
    """An input of an emitted graph; it gets underscores behind its name if the model has an input of it."""
    taken = {node.target for node in graph.nodes if node.op == "placeholder"}
    while name in taken:
        name += "_"
    return graph.placeholder(name, type_expr=type_expr)


def _spelled(node: fx.Node) -> str:
    if info(node).origin or not info(node).place:
        return node.name
    return "".join(c if c.isalnum() else "_" for c in info(node).place)


def _candidates(name: str) -> Iterable[str]:
    yield name
    i = 1
    while True:
        yield f"{name}_{i}"
        i += 1
