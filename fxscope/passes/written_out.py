"""Operators without a rule, written out in those that have one: by decomposition, or by their derivative.

Both work on the graph of torch.export, call by call. ``decomposition`` is the call in PyTorch's core
operators. ``linearised`` is h(x0), and beside it A(x0) x1, A = Dh, in operators that are linear in x1:

    G(x, u) = A(x)^T u     is what autograd computes; it is traced once, for one image and one cotangent
    A(x) v                 is the derivative of <G(x, u), v> with respect to u, in which G is linear

What does not depend on v is computed on x0 alone (``held``); what does becomes twins, as every operator.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..errors import first_line
from ..frontend.example import Example
from ..frontend.exported import all_sizes
from ..frontend.quiet import quiet
from ..graph.draws import draws
from ..rules import registry
from ..rules.derivative import derivative

DEEPEST = 4  # parts within parts


class NotWritten(Exception):
    """Why a call cannot be written out."""


@dataclass(frozen=True)
class _Proof:
    """What is to be shown of a traced derivative: <A v, u> = <v, A^T u>, with A^T u by autograd itself."""

    call: fx.Node
    part: fx.GraphModule
    wanted: list[int]
    floating: list[int]

    def hold(self, given: list) -> None:
        """Raise ``NotWritten`` where it does not hold at these inputs, nor near them."""
        moved = [_near(v) if i in self.wanted else v for i, v in enumerate(given)]
        held = [self._holds(given), self._holds(moved)]
        if False in held or not any(held):
            raise NotWritten(
                "the derivative that was traced is not the one that autograd computes"
                if False in held
                else "its derivative is not finite here"
            )

    def _holds(self, given: list) -> bool | None:
        own = [v.detach().requires_grad_() if i in self.wanted else v for i, v in enumerate(given)]
        vs = [torch.randn_like(own[i]) for i in self.wanted]
        with torch.enable_grad():
            ys = pytree.tree_leaves(_called(self.call, self.call.all_input_nodes, own))
            pairs = [(ys[i], torch.randn_like(ys[i])) for i in self.floating if ys[i].requires_grad]
            ends, us = zip(*pairs)
            gs = torch.autograd.grad(ends, [own[i] for i in self.wanted], us, allow_unused=True)
        zs = _moved(self.part, given, dict(zip(self.wanted, vs)))
        each = iter(us)
        a = [_inner(z, next(each)) for z, i in zip(zs, self.floating) if ys[i].requires_grad]
        b = [_inner(v, g) for v, g in zip(vs, gs) if g is not None]
        left, right, size = (sum(t[0] for t in a), sum(t[0] for t in b), sum(t[1] for t in (*a, *b)))
        if not math.isfinite(right):
            return None
        narrow = any(own[i].dtype in (torch.float32, torch.complex64, *HALVES) for i in self.wanted)
        return abs(left - right) <= (1e-3 if narrow else 1e-7) * size + (1e-5 if narrow else 1e-12)


def _moved(part: fx.GraphModule, given: list, probes: dict[int, torch.Tensor]) -> list[torch.Tensor]:
    """A(x0) v of every floating output of a part: held nodes read x0, all others read the probes v."""
    on_x0: dict[fx.Node, Any] = {}
    on_v: dict[fx.Node, Any] = {}
    found = []
    for i, node in enumerate(part.graph.nodes):
        if node.op == "placeholder":
            on_x0[node], on_v[node] = given[i], probes.get(i, given[i])
        elif node.op == "get_attr":
            on_x0[node] = on_v[node] = operator.attrgetter(str(node.target))(part)
        elif node.target is derivative:
            found.append(on_v[node.args[1]])
        elif node.op == "call_function":
            values = on_x0 if node.meta.get("held") else on_v
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            on_x0[node] = on_v[node] = node.target(*args, **kwargs)
    return found


HALVES = (torch.float16, torch.bfloat16)


def _inner(a: torch.Tensor, b: torch.Tensor) -> tuple[float, float]:
    """Re <a, b>, and the sum of the sizes of its terms."""
    terms = (torch.view_as_real(a) * torch.view_as_real(b)) if a.is_complex() else a * b
    return float(terms.sum()), float(terms.abs().sum())


def _near(value: torch.Tensor) -> torch.Tensor:
    return value * (1 + 1e-3 * torch.rand_like(value.real if value.is_complex() else value))


class _Runner(fx.Interpreter):
    """Runs an exported graph with the parts that stand in for calls, and keeps what some calls are given."""

    def __init__(
        self, gm: fx.GraphModule, parts: dict[str, fx.GraphModule], names: set[str], within: str = ""
    ):
        super().__init__(gm, garbage_collect_values=False)
        self.parts, self.names, self.within = parts, names, within
        self.given: dict[str, list] = {}

    def run_node(self, node: fx.Node) -> Any:
        key = self.within + node.name
        if key in self.names:
            self.given[key] = [self.env[n] for n in node.all_input_nodes]
        if key not in self.parts:
            return super().run_node(node)
        inner = _Runner(self.parts[key], self.parts, self.names, f"{key}/")
        found = inner.run(*(self.env[n] for n in node.all_input_nodes))
        self.given |= inner.given
        return found[0] if self.parts[key].meta["single"] else found


class Writer:
    """The calls of one exported program that are written out so far.

    Attributes
    ----------
    parts : dict
        The graphs that stand in for calls, by the names that ``frontend.exported.lift`` knows.
    """

    def __init__(self, program: torch.export.ExportedProgram, example: Example):
        self.program, self.example = program, example.clone()
        self.parts: dict[str, fx.GraphModule] = {}
        self.probed: dict[str, set[fx.Node]] = {}

    def write(self, names: tuple[str, ...], unknown: str, derived: Collection[str] = ()) -> dict[str, str]:
        """Write these calls out; returns why not, for those that cannot be.

        ``derived`` are those that have a rule, whose derivative the policy asks for.
        """
        why = {name: said for name in names if (said := self._write(name, unknown, name in derived))}
        fresh = {n for n in names if n in self.parts and "proof" in self.parts[n].meta}
        return why | self._unproved(fresh)

    def _unproved(self, names: set[str]) -> dict[str, str]:
        """Why the derivatives of these calls are not shown to be right on the example; {} where they are."""
        if not names:
            return {}
        runner = _Runner(self.program.graph_module, self.parts, names)
        inputs = self.program._graph_module_flat_inputs(self.example.args, self.example.kwargs)
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)
            runner.run(*(v.detach().clone() if isinstance(v, torch.Tensor) else v for v in inputs))
            return {n: said for n in sorted(names) if (said := self._unheld(n, runner.given.get(n)))}

    def _unheld(self, name: str, given: list | None) -> str:
        if given is None:
            return "it is in a region of its own"
        try:
            self.parts[name].meta.pop("proof").hold(given)
        except NotWritten as error:
            return str(error)
        return ""

    def _write(self, name: str, unknown: str, derived: bool) -> str:
        if not name or name.count("/") > DEEPEST:
            return "it is not a call of the exported graph"
        call, probed = self._call(name)
        if call is None:
            return "it is not a call of the exported graph"
        try:
            part = decomposition(call)
        except NotWritten as error:
            if unknown != "taylor" and not derived:
                return str(error)
            try:
                part = linearised(call, probed, derived)
            except NotWritten as second:
                return str(second)
        self.parts[name] = part
        return ""

    def _call(self, name: str) -> tuple[fx.Node | None, set[fx.Node]]:
        """The call of a name, and the nodes of its graph that depend on the inputs of the model."""
        outer, _, last = name.rpartition("/")
        gm = self.parts[outer] if outer else self.program.graph_module
        if outer not in self.probed:
            self.probed[outer] = _depending(gm.graph, self._sources(outer, gm))
        return next((n for n in gm.graph.nodes if n.name == last), None), self.probed[outer]

    def _sources(self, outer: str, gm: fx.GraphModule) -> set[fx.Node]:
        inputs = [n for n in gm.graph.nodes if n.op == "placeholder"]
        if not outer:
            own = {
                s.arg.name for s in self.program.graph_signature.input_specs if s.kind.name == "USER_INPUT"
            }
            return {n for n in inputs if n.name in own}
        call, probed = self._call(outer)
        assert call is not None
        return {n for n, given in zip(inputs, call.all_input_nodes) if given in probed}


def has_rule(target: Any) -> bool:
    """Whether a rule knows an ATen operator, as itself or as the torch function or method of its name."""
    known = registry()
    if known.of_function(target) is not None:
        return True
    if not isinstance(target, torch._ops.OpOverload) or target.namespace != "aten":
        return False
    name = target.overloadpacket.__name__
    function: Any = getattr(torch, name, None)
    return known.functions.get(function) is not None or name in known.methods


def decomposition(call: fx.Node) -> fx.GraphModule:
    """The call in core operators; raises ``NotWritten`` where PyTorch has no decomposition of it."""
    if draws(call):
        raise NotWritten("it draws random numbers")
    table = dict(_core())
    if isinstance(call.target, torch._ops.OpOverload):
        table |= torch._decomp.get_decompositions([call.target])
    inputs = call.all_input_nodes
    gm = _traced(lambda *given: _called(call, inputs, given), [_value(n) for n in inputs], table)
    calls = [n for n in gm.graph.nodes if n.op == "call_function"]
    if any(n.target is call.target or getattr(n.target, "namespace", "") == "prims" for n in calls):
        raise NotWritten("PyTorch has no decomposition of it")
    return _part(gm, call)


@functools.cache
def _core() -> dict[Any, Callable]:
    """PyTorch's decompositions into core operators, of operators that no rule knows."""
    from torch._decomp import core_aten_decompositions

    return {target: how for target, how in core_aten_decompositions().items() if not has_rule(target)}


def linearised(call: fx.Node, probed: set[fx.Node], derived: bool = False) -> fx.GraphModule:
    """The call with its derivative beside it; ``probed`` are the inputs that may be on the path of a probe.

    ``derived`` says that the call has a rule, which does not know its derivative.

    Raises ``NotWritten`` where autograd has no derivative, or none that is linear in the cotangent.
    """
    if draws(call):
        raise NotWritten("it draws random numbers, and no derivative is traced of a draw")
    inputs = call.all_input_nodes
    values = [_value(n) for n in inputs]
    wanted = [i for i, n in enumerate(inputs) if n in probed and _differentiable(values[i])]
    if not wanted:
        raise NotWritten("none of its inputs is a floating tensor on the path of the probe")
    outputs = pytree.tree_leaves(call.meta["val"])
    floating = [i for i, y in enumerate(outputs) if _differentiable(y)]

    def reverse(*given):
        """(inputs, cotangents) -> A^T u."""
        own = [v.detach().requires_grad_() if i in wanted else v for i, v in enumerate(given[: len(inputs)])]
        with torch.enable_grad():
            ys = pytree.tree_leaves(_called(call, inputs, own))
        pairs = [(ys[i], u) for i, u in zip(floating, given[len(inputs) :]) if ys[i].requires_grad]
        if not pairs:
            raise NotWritten("torch has no derivative of it")
        ys, us = zip(*pairs)
        return torch.autograd.grad(ys, [own[i] for i in wanted], us, allow_unused=True)

    table = _core()
    cotangents = [outputs[i] for i in floating]
    backward = _traced(reverse, [*values, *cotangents], table)

    def forward(*given):
        """(inputs, cotangents, tangents) -> A v, as the derivative of <A^T u, v>."""
        count = len(inputs)
        us = [u.detach().requires_grad_() for u in given[count : count + len(floating)]]
        vs = given[count + len(floating) :]
        with torch.enable_grad():
            found = backward(*given[:count], *us)
        pairs = [(g, v) for g, v in zip(found, vs) if g is not None and g.requires_grad]
        if not pairs:
            return [torch.zeros_like(u) for u in us]
        gs, vs = zip(*pairs)
        zs = torch.autograd.grad(gs, us, vs, allow_unused=True)
        return [torch.zeros_like(u) if z is None else z for z, u in zip(zs, us)]

    both = _traced(forward, [*values, *cotangents, *(values[i] for i in wanted)], table)
    part = _assembled(call, both, wanted, floating)
    itself = any(n.target is call.target and not n.meta.get("held") for n in part.graph.nodes)
    if itself and (derived or not has_rule(call.target)):
        raise NotWritten("its derivative is written in the operator itself, which has none")
    part.meta["proof"] = _Proof(call, part, wanted, floating)
    return part


def _assembled(call: fx.Node, both: fx.GraphModule, wanted: list[int], floating: list[int]) -> fx.GraphModule:
    """A graph that gives ``derivative(y, A v)`` with v = x, for every floating output."""
    inputs = call.all_input_nodes
    graph = fx.Graph()
    given = [graph.placeholder(n.name) for n in inputs]
    placeholders = [n for n in both.graph.nodes if n.op == "placeholder"]
    count = len(inputs) + len(floating)
    probes = set(placeholders[count:])
    values: dict[fx.Node, fx.Node] = dict(zip(placeholders[: len(inputs)], given))
    for probe, i in zip(placeholders[count:], wanted):
        values[probe] = given[i]
    for node, new in zip(inputs, given):
        new.meta["val"] = node.meta.get("val")
    moving = _depending(both.graph, probes)
    ys = _held_outputs(graph, call, dict(zip(inputs, given)))
    # G is linear in the cotangents: of them only sizes can be read, which are those of the outputs
    values.update((u, ys[i]) for u, i in zip(placeholders[len(inputs) : count], floating))
    copies: dict[fx.Node, fx.Node] = {}
    detached: dict[fx.Node, fx.Node] = {}

    def on_x0(argument: fx.Node) -> fx.Node:
        """A value of x0 that a moving node reads: an input on the path of the probe is read as a copy."""
        argument = detached.get(argument, argument)
        if argument not in placeholders or argument in probes:
            return values[argument]
        if placeholders.index(argument) not in wanted:
            return values[argument]
        if argument not in copies:
            copies[argument] = graph.call_function(torch.ops.aten.alias.default, (values[argument],))
            copies[argument].meta = {"held": True, "val": argument.meta.get("val")}
        return copies[argument]

    for node in both.graph.nodes:
        if node.op == "get_attr":
            values[node] = graph.node_copy(node)
        elif node.target is torch.ops.aten.detach.default and node not in moving:
            source = node.args[0]  # autograd's own detach; F itself may be differentiated
            values[node], detached[node] = values[source], detached.get(source, source)
        elif node.op == "call_function":
            values[node] = graph.node_copy(node, on_x0 if node in moving else values.__getitem__)
            if node not in moving:
                values[node].meta["held"] = True
    found = next(n for n in both.graph.nodes if n.op == "output").args[0]
    graph.output(tuple(_outputs(graph, ys, floating, [values[z] for z in found])))
    gm = fx.GraphModule(both, graph)
    gm.graph.eliminate_dead_code()
    return _part(gm, call)


def _held_outputs(graph: fx.Graph, call: fx.Node, values: dict[fx.Node, fx.Node]) -> list[fx.Node]:
    """The outputs of the call itself, on x0."""
    own = graph.create_node("call_function", call.target, *_own(call, values))
    own.meta = {"held": True, "val": call.meta["val"]}
    if isinstance(call.meta["val"], torch.Tensor):
        return [own]
    found = []
    for i, y in enumerate(pytree.tree_leaves(call.meta["val"])):
        found.append(graph.call_function(operator.getitem, (own, i)))
        found[-1].meta = {"held": True, "val": y}
    return found


def _outputs(graph: fx.Graph, ys: list, floating: list[int], moved: list) -> Iterator[fx.Node]:
    for i, y in enumerate(ys):
        if i in floating:
            value = graph.call_function(derivative, (y, moved[floating.index(i)]))
            value.meta["val"] = y.meta["val"]
            yield value
        else:
            yield y


def _own(call: fx.Node, values: dict[fx.Node, fx.Node]) -> tuple[Any, Any]:
    return fx.node.map_arg((call.args, call.kwargs), values.__getitem__)


def _depending(graph: fx.Graph, sources: set[fx.Node]) -> set[fx.Node]:
    found = set(sources)
    for node in graph.nodes:
        if any(n in found for n in node.all_input_nodes):
            found.add(node)
    return found


def _called(call: fx.Node, inputs: list[fx.Node], given: Any) -> Any:
    args, kwargs = fx.node.map_arg((call.args, call.kwargs), dict(zip(inputs, given)).__getitem__)
    function: Any = call.target
    return function(*args, **kwargs)


def _traced(function: Callable, given: list, table: Any) -> fx.GraphModule:
    """A function on the fake tensors of an exported graph; sizes that are free there stay free."""
    env = next((v.fake_mode.shape_env for v in given if hasattr(v, "fake_mode")), None)
    before = 0 if env is None else len(env.guards)
    mode = next((v.fake_mode for v in given if hasattr(v, "fake_mode")), contextlib.nullcontext())
    given = [v.detach() if isinstance(v, torch.Tensor) else v for v in given]
    try:
        with quiet(), all_sizes(), mode, sdpa_kernel(SDPBackend.MATH):
            gm = make_fx(function, decomposition_table=table)(*given)
            if any(_writes(n.target) for n in gm.graph.nodes):
                gm = make_fx(torch.func.functionalize(gm), decomposition_table=table)(*given)
    except NotWritten:
        raise
    except Exception as error:
        raise NotWritten(f"it cannot be traced: {first_line(error)}") from error
    if env is not None and len(env.guards) > before:
        raise NotWritten(f"its trace is of one size: {env.guards[-1].expr}")
    gm.graph.eliminate_dead_code()
    return gm


def _writes(target: Any) -> bool:
    return isinstance(target, torch._ops.OpOverload) and target._schema.is_mutable


def _part(gm: fx.GraphModule, call: fx.Node) -> fx.GraphModule:
    gm.meta["single"] = isinstance(call.meta["val"], torch.Tensor)
    output = next(n for n in gm.graph.nodes if n.op == "output")
    if not isinstance(output.args[0], (tuple, list)):
        output.args = ((output.args[0],),)
    return gm


def _value(node: fx.Node) -> Any:
    value = node.meta.get("val")
    if value is None:
        raise NotWritten(f"the exported graph does not tell the size of {node.name}")
    return value


def _differentiable(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and (value.is_floating_point() or value.is_complex())
