"""Rewrite: the canonical graph, extended by the frozen states, and the tape of its twins.

The tape is a flat list of ``Record``: a twin, the values it reads, and the node that it implements. Every
graph fxscope emits comes from it: pair and filter forwards, the adjoint in reverse; nothing ever parses an
emitted graph.
"""

from __future__ import annotations

import dataclasses
import inspect
import logging
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, NoLinearPath, UnknownRank
from ..frontend.symbolic import source_of
from ..graph.ir import info, mark, notes, stands_for_sizes
from ..rules import Rule
from ..rules._of_node import bound, rounds, rule_of
from ..rules._sizes import SizeOf, counted, entries, rank_asked, unknown_in, untold
from ..twins import Twin
from .canonicalize import is_size, size_nodes
from .classify import is_structure, unsupported
from .facts import Facts, gather_facts

_log = logging.getLogger("fxscope")


@dataclass(frozen=True, eq=False)
class Probe:
    """A tape value that comes from outside: the probe that replaces a tapped node of the original graph."""

    name: str
    node: fx.Node


@dataclass(frozen=True, eq=False)
class Record:
    """One twin of the tape: what it computes, from which values, for which node, by which rule's variant.

    ``like`` is a node of the original graph with the shape of the value, and of ``rank`` dimensions; None if
    unknown.
    """

    twin: Twin
    inputs: tuple[Any, ...]
    origin: fx.Node
    rule: str
    variant: str
    like: fx.Node | None = None
    rank: int | None = None


@dataclass
class Program:
    """The original graph with its frozen states, and the tape.

    outputs   the model's output structure, over nodes of the graph
    affine    {node: tape value}; a node of ``outputs`` that is not in it does not depend on the probe
    in_place  whether the interpreter branch may write into values without other readers (``emit/reuse.py``)
    """

    gm: fx.GraphModule
    probes: list[Probe]
    tape: list[Record]
    outputs: Any
    affine: dict[fx.Node, Any]
    facts: Facts
    in_place: bool = True

    def constant_outputs(self) -> dict[Any, str]:
        """{key: why} of the outputs that do not depend on the probe: F gives zeros, and y1 = y0.

        The key indexes the output. F has no outputs that are integers or booleans (which example inputs
        tell), and they are not listed.
        """
        return {
            key: _why_constant(key, node)
            for key, node in keyed(self.outputs)
            if node not in self.affine and _may_float(node)
        }

    def linearised(self) -> tuple[str, ...]:
        """The operators whose derivative stands for them, each with its line."""
        return tuple(dict.fromkeys(info(n).linearised for n in self.gm.graph.nodes if info(n).linearised))

    def say_constants(self, model: str) -> None:
        """Say on the logger "fxscope" which outputs are left out of F and why, and what was linearised."""
        for why in self.constant_outputs().values():
            _log.warning("%s: %s", model, why)
        if self.linearised():
            _log.info("%s: linearised by their derivative: %s", model, ", ".join(self.linearised()))

    def tensors(self) -> list[fx.Node]:
        """The outputs that are tensors, in order: a size, which may stand beside them, is none."""
        return [n for n in leaves(self.outputs) if info(n).role != "shape"]

    def output(self, form: str) -> fx.Node:
        """The only output that is a floating tensor; raises ``FxscopeError`` if there are several."""
        found = [n for n in leaves(self.outputs) if n in self.affine or _may_float(n)]
        if len(found) == 1:
            return found[0]
        untold = any(dtype_of(n) is None and n not in self.affine for n in found)
        raise FxscopeError(
            f"emit={form!r} is about one output, and the model has {len(found)}; name one with outputs="
            + (" (or pass example_inputs=, which tell labels from floating outputs)" if untold else "")
        )


class Call:
    """One call of an operator, as a rule's variant sees it."""

    def __init__(self, rewriter: _Rewriter, node: fx.Node, arguments: dict, variant: str):
        self._rewriter = rewriter
        self.node = node
        self.arguments = arguments
        self.variant = variant
        self.facts = rewriter.facts

    def value(self, name: str) -> Any:
        """The tape value of an argument; None if it does not depend on the probe."""
        node = self.arguments[name]
        return self._rewriter.values.get(node) if isinstance(node, fx.Node) else None

    def values(self, name: str) -> list[Any]:
        """The tape values of an argument that is a list of tensors; None for constants in it."""
        return [
            self._rewriter.values.get(n) if isinstance(n, fx.Node) else None for n in self.arguments[name]
        ]

    def proxy(self, name: str) -> fx.Proxy:
        """The value of an argument on x0."""
        return fx.Proxy(self.arguments[name], self._rewriter.tracer)

    def record(
        self, twin: Twin, inputs: list[Any], like: fx.Proxy | None = None, rank: int | None = None
    ) -> Any:
        """Put a twin on the tape and return its value, for rules that need more than one twin.

        ``like`` is a value of the original branch that has the same shape, and ``rank`` its rank if the graph
        does not tell it. A twin that keeps the shape of its input needs neither.
        """
        return self._rewriter.record(twin, inputs, self, like, rank)

    def is_item(self, both: fx.Proxy, index: int) -> None:
        """Make the node an item of a call that also gives its state: one kernel on x0 computes both."""
        node, base = self.node, info(self.node)
        node.prepend(both.node)
        named = {"rule": base.rule, "variant": base.variant, "origin": node.name}
        named |= {"place": base.place, "module": base.module, "source": base.source}
        mark(both.node, role="frozen", **named)
        node.op, node.target = "call_function", operator.getitem
        node.args, node.kwargs = (both.node, index), {}

    def rank(self, name: str) -> int | None:
        """The rank of an argument; None if the graph does not tell it."""
        return self.facts.rank(self.arguments[name])

    def need_rank(self, name: str) -> int:
        """The rank of an argument; raises ``UnknownRank`` if the graph does not tell it."""
        value = self.arguments[name]
        if isinstance(value, fx.Node):
            return self.facts.need_rank(value, str(info(self.node).rule))
        return self.facts.rank(value) or 0

    def sizes(self, name: str) -> list:
        """An argument that is a list of sizes, size by size.

        Raises ``UnknownRank`` if the graph does not tell how many they are.
        """
        found = self.known_sizes(name)
        if found is None:
            value = self.arguments[name]
            unknown = unknown_in(self.facts.rank, value) or self.node
            self.facts.need_rank(unknown, f"the number of sizes in {info(self.node).rule}")
            raise TypeError(f"{name} is no list of sizes")
        return found

    def known_sizes(self, name: str) -> list | None:
        """The same; None if the graph does not tell how many they are."""
        known = entries(self.facts.rank, self.arguments[name])
        return None if known is None else [self._rewriter.size(v) for v in known]

    @property
    def channels_last(self) -> bool:
        """Whether the network has the channels-last layout, which decides about kernels, not values."""
        return self._rewriter.channels_last

    @property
    def out_rank(self) -> int | None:
        """The rank of the operator's own value."""
        return self.facts.rank(self.node)

    def lift(self, name: str, *others: str) -> int | None:
        """How many dimensions argument ``name`` lacks in front when it is broadcast with the others.

        None where the graph does not tell it.
        """
        found = [self.facts.lift(self.arguments[name], self.arguments[other]) for other in others]
        known = [count for count in found if count is not None]
        return max(known) if len(known) == len(found) else None

    def need_lift(self, name: str, other: str) -> int:
        """The same for one other argument; raises ``UnknownRank`` where the graph does not tell it."""
        return self.facts.need_lift(self.arguments[name], self.arguments[other])


def rewrite(gm: fx.GraphModule, probes: list[Probe]) -> Program:
    """The program of a classified graph; raises ``NoLinearPath`` if no output depends on a probe."""
    rewriter = _Rewriter(gm, probes)
    rewriter.run()
    output = next(n for n in gm.graph.nodes if n.op == "output")
    outputs = _structure(output.args[0])
    tensors = leaves(outputs)
    affine = {n: rewriter.values[n] for n in tensors if n in rewriter.values}
    if not affine:
        raise NoLinearPath(_why_no_path(tensors))
    program = Program(gm, probes, rewriter.tape, outputs, affine, rewriter.facts)
    program.tape = _live(program)
    return program


class _Rewriter:
    def __init__(self, gm: fx.GraphModule, probes: list[Probe]):
        self.gm, self.graph = gm, gm.graph
        self.sizes = size_nodes(self.graph)
        self.facts = gather_facts(gm, self.sizes, [p.node for p in probes])
        self.values: dict[fx.Node, Any] = {p.node: p for p in probes}
        self.tape: list[Record] = []
        self.tracer = fx.proxy.GraphAppendingTracer(self.graph)
        self.channels_last = any(_channels_last(p) for p in gm.parameters())

    def run(self) -> None:
        for node in list(self.graph.nodes):
            if node in self.sizes and node.target in (operator.add, operator.mul):
                self._listed(node)
        for node in list(self.graph.nodes):
            skipped = node in self.values or node.op == "output" or is_structure(node)
            if info(node).role == "affine" and not skipped:
                self._node(node)

    def _listed(self, node: fx.Node) -> None:
        """Write y.shape[:2] + (1, 1) as a list of sizes, since TorchScript has no sum of the two."""
        known = entries(self.facts.rank, node) if stands_for_sizes(node) else None
        if known is None:
            return
        with self.graph.inserting_before(node):
            sizes = [_nodes(self.size(v)) for v in known]
        for new in sizes:
            if isinstance(new, fx.Node) and info(new).role is None:
                new.meta.update(node.meta)
                self.sizes.add(new)
        for user in list(node.users):
            if user.target is operator.getitem and user.args[1] is node:
                user.args = (user.args[0], tuple(sizes))  # an index, x[(slice(None),) * (x.dim() - 1) + (0,)]
            user.args = fx.node.map_arg(user.args, lambda n: sizes if n is node else n)
            user.kwargs = fx.node.map_arg(user.kwargs, lambda n: sizes if n is node else n)
        self.graph.erase_node(node)

    def _node(self, node: fx.Node) -> None:
        """Run the variant of an operator: its twin goes on the tape, its frozen states behind the node."""
        rule: Any = rule_of(node)
        variant: Any = info(node).variant
        arguments = counted(self.facts.ranks, rule, bound(node))
        self._refuse_untold(node, rule, arguments)
        call = Call(self, node, arguments, variant)
        before = node.next
        with self.graph.inserting_before(before):
            try:
                result = self._run(rule.variants[variant], arguments, call)
            except TypeError as error:
                raise unsupported(
                    [(node, f"its rule {rule.name} does not know this form: {error}")]
                ) from error
            like: Any = fx.Proxy(node, self.tracer)
            if rule.yields == "values":  # the shape is that of the values, not of the pair
                like = like[0]
                self.facts.ranks.found[like.node] = self.facts.rank(node)
        self._tag(node, before, rule, variant)
        if isinstance(result, tuple):
            twin, inputs = result
        else:
            twin, inputs = result, [call.value(c) for c in rule.carries if call.value(c) is not None]
        self.values[node] = inputs[0] if twin is None else self.record(twin, inputs, call, like)

    def _refuse_untold(self, node: fx.Node, rule: Rule, arguments: dict) -> None:
        """Raise ``UnknownRank`` if a call names a dimension by a rank that the graph does not tell."""
        unknown = untold(arguments)
        if unknown is None and rule.name == "getitem" and stands_for_sizes(arguments["index"]):
            unknown = arguments["index"]
        if unknown is None:
            return
        which = f"which dimension {rule.name} takes at {source_of(node)}"
        asked = rank_asked(unknown)
        if asked is not None:
            self.facts.need_rank(asked, which)
        raise UnknownRank(f"{which} is computed from sizes; pass example_inputs= to fxscope.transform")

    def _run(self, function: Callable, arguments: dict, call: Call) -> Any:
        """Call a rule's variant with proxies of the arguments that it names, and with ``y`` and ``call``."""
        parameters = inspect.signature(function).parameters
        extra = {"y": fx.Proxy(call.node, self.tracer), "call": call}
        keyword = {n: extra[n] for n, p in parameters.items() if p.kind == p.KEYWORD_ONLY}
        given = {n: fx.node.map_arg(v, self._proxy) for n, v in arguments.items() if n in parameters}
        return function(**given, **keyword)

    def size(self, entry: Any) -> Any:
        """An entry of a list of sizes, as a value of the graph."""
        if isinstance(entry, SizeOf):
            return self._proxy(entry.x).size(entry.dim)
        return fx.node.map_arg(entry, self._proxy)

    def _proxy(self, node: fx.Node) -> Any:
        return fx.Proxy(node, self.tracer)

    def record(
        self,
        twin: Twin,
        inputs: list[Any],
        call: Call,
        like: fx.Proxy | None = None,
        rank: int | None = None,
    ) -> Record:
        """Put a twin on the tape, with the node that tells its shape."""
        fields = {f.name: _nodes(getattr(twin, f.name)) for f in dataclasses.fields(twin)}
        rule = str(info(call.node).rule)
        if rank is not None and like is not None:
            self.facts.ranks.found.setdefault(like.node, rank)
        shape = (like.node, self.facts.rank(like.node)) if like is not None else self._kept(twin, inputs)
        record = Record(
            dataclasses.replace(twin, **fields), tuple(inputs), call.node, rule, call.variant, *shape
        )
        self.tape.append(record)
        return record

    def _kept(self, twin: Twin, inputs: list[Any]) -> tuple:
        """(like, rank) of a value that has the shape of its input."""
        first = inputs[0] if inputs and twin.keeps_shape else None
        if isinstance(first, Probe):
            return first.node, self.facts.rank(first.node)
        return (first.like, first.rank) if isinstance(first, Record) else (None, None)

    def _tag(self, node: fx.Node, end: fx.Node, rule: Rule, variant: str) -> None:
        """Mark the frozen states that a rule inserted behind its node."""
        state, base = node.next, info(node)
        while state is not end:
            named = {"rule": rule.name, "variant": variant, "origin": node.name}
            named |= {"place": base.place, "module": base.module, "source": base.source}
            mark(state, role=self._state_role(state), **named)
            state = state.next

    def _state_role(self, state: fx.Node) -> str:
        """The role of a state, by what it is computed from."""
        if is_size(state, self.sizes):
            self.sizes.add(state)
            return "shape"
        roles = {info(n).role for n in state.all_input_nodes}
        if roles & {"affine", "frozen"}:
            return "frozen"
        if "sized" in roles or ("shape" in roles and roles != {"shape"}):
            return "sized"
        return "shape" if roles == {"shape"} else "const"


def _channels_last(weight: torch.Tensor) -> bool:
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    return (
        weight.dim() in formats
        and weight.is_contiguous(memory_format=formats[weight.dim()])
        and not weight.is_contiguous()
    )


def _nodes(value: Any) -> Any:
    """Replace every proxy inside a nest by its node."""
    if isinstance(value, fx.Proxy):
        return value.node
    if isinstance(value, (list, tuple)):
        return type(value)(_nodes(v) for v in value)
    if isinstance(value, dict):
        return {k: _nodes(v) for k, v in value.items()}
    if isinstance(value, slice):
        return slice(_nodes(value.start), _nodes(value.stop), _nodes(value.step))
    return value


@dataclass(frozen=True)
class Structure:
    """A dataclass, a namedtuple or a result of torch.topk among the outputs: its class and its fields."""

    kind: type
    args: tuple
    kwargs: dict = field(default_factory=dict)

    def named(self) -> dict[str, Any]:
        """{field: value}."""
        kind: Any = self.kind
        if self.is_torchs_own:
            names = kind.__match_args__
        else:
            names = getattr(kind, "_fields", None) or tuple(getattr(kind, "__dataclass_fields__", ()))
        return {**dict(zip(names, self.args)), **self.kwargs}

    @property
    def is_torchs_own(self) -> bool:
        """Whether it is what topk, sort or max(dim) returns; its class takes one tuple."""
        return pytree.is_structseq_class(self.kind)


def _structure(value: Any) -> Any:
    """The output structure, with every constructor call as a ``Structure``."""
    if isinstance(value, fx.Node) and is_structure(value):
        kind: Any = value.target
        fields = {k: _structure(v) for k, v in value.kwargs.items()}
        given: Any = value.args[0] if pytree.is_structseq_class(kind) else value.args
        return Structure(kind, tuple(_structure(v) for v in given), fields)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return Structure(type(value), tuple(_structure(v) for v in value))
    if isinstance(value, (list, tuple)):
        return type(value)(_structure(v) for v in value)
    if isinstance(value, dict):
        return {k: _structure(v) for k, v in value.items()}
    return value


def map_structure(function: Callable[[fx.Node], Any], value: Any) -> Any:
    """Apply ``function`` to every node of an output structure."""
    if isinstance(value, fx.Node):
        return function(value)
    if isinstance(value, Structure):
        return Structure(
            value.kind, map_structure(function, value.args), map_structure(function, value.kwargs)
        )
    if isinstance(value, (list, tuple)):
        return type(value)(map_structure(function, v) for v in value)
    if isinstance(value, dict):
        return {k: map_structure(function, v) for k, v in value.items()}
    return value


def keyed(value: Any, path: tuple = ()) -> list[tuple[Any, fx.Node]]:
    """(key, node) of an output structure; a key is a name or position, or a tuple of them if it is nested."""
    if isinstance(value, fx.Node):
        return [(path[0] if len(path) == 1 else path, value)]
    if isinstance(value, Structure):
        value = value.named()
    items: Iterable = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, (list, tuple)):
        items = enumerate(value)
    return [found for key, part in items for found in keyed(part, (*path, key))]


def dtype_of(node: fx.Node) -> torch.dtype | None:
    """The dtype of a node's value; None unless example inputs told it."""
    value = notes(node).get("val")
    return value.dtype if isinstance(value, torch.Tensor) else None


def is_floating(node: fx.Node) -> bool:
    """Whether example inputs showed a node to be a floating tensor."""
    dtype = dtype_of(node)
    return dtype is not None and dtype.is_floating_point


def _may_float(node: fx.Node) -> bool:
    """Whether an output may be a floating tensor: sizes, integers and truth values are none."""
    if dtype_of(node) is not None:
        return is_floating(node)
    return info(node).role != "shape" and not rounds(node)


def leaves(value: Any) -> list[fx.Node]:
    """The nodes of an output structure, in order."""
    found: list[fx.Node] = []
    map_structure(found.append, value)
    return found


def _live(program: Program) -> list[Record]:
    """The records that an output needs: the interpreter path of a gate is dead, since the gate is frozen."""
    live: set[int] = set()
    stack = [v for v in program.affine.values() if isinstance(v, Record)]
    while stack:
        record = stack.pop()
        if id(record) not in live:
            live.add(id(record))
            stack += [v for v in record.inputs if isinstance(v, Record)]
    return [r for r in program.tape if id(r) in live]


def _why_no_path(tensors: list[fx.Node]) -> str:
    return (
        f"no output depends linearly on the input, so F would be 0: {_where_it_ends(tensors)}\nTap the value"
        " before it with outputs=... (fxscope.places(model) lists the places), or give that operator a"
        " policy under which it is linear, e.g. policy='taylor'"
    )


def _why_constant(key: Any, node: fx.Node) -> str:
    stops = _ends([node])
    way = (
        "Name the value before it with outputs=, or give that operator a policy under which it is linear,"
        " e.g. policy='taylor'"
        if stops
        else "It is the same for every probe; name the outputs that are not with outputs="
    )
    return (
        f"the output {key!r} does not depend linearly on the probe, so that its rows are 0 and its own value"
        f" is all of its r: {_said_ends(stops)}\n{way}"
    )


def _where_it_ends(tensors: list[fx.Node]) -> str:
    """The operators at which the linear path to some outputs ends, in words."""
    return _said_ends(_ends(tensors))


def _said_ends(stops: list[str]) -> str:
    if not stops:
        return "nothing computed from the probe leads there"
    return "the linear path ends at:\n" + "\n".join(stops)


def _ends(tensors: list[fx.Node]) -> list[str]:
    """The operators at which the linear path to some outputs ends, one a line."""
    stops, seen, stack = [], set(), list(tensors)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if any(info(n).role == "affine" for n in node.all_input_nodes) and info(node).rule:
            stops.append(f"  {info(node).rule} ({info(node).place}) at {source_of(node)}")
        else:
            stack += node.all_input_nodes
    return stops
