"""The export frontend: a model becomes a graph through ``torch.export``.

It takes models that symbolic tracing cannot take, and gives the same kind of graph.

Export runs the model's own Python on example inputs and records ATen operators, before any decomposition.
Here its graph becomes one that ``trace`` might have given: parameters and buffers are the model's own, every
node knows the user's line and its module path, and the output has its structure back. Sizes that the Python
code turned into numbers stay numbers.
"""

from __future__ import annotations

import operator
import re
import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, cast

import torch
import torch.fx as fx
from torch import nn
from torch.export.graph_signature import InputKind, TensorArgument
from torch.fx.experimental import _config as symbolic_sizes
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, TraceFailure
from ..graph.assumptions import batch_of, input_names
from ..graph.draws import out_of_place
from ..graph.ir import graph_notes, mark, notes
from ..rules import registry
from ..rules.derivative import derivative
from .example import Example
from .quiet import quiet
from .returned import usable
from .symbolic import describe_line, is_user_file, is_write, place_of, reason_of, unchanged

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')
_CHECKS = ("_assert", "_check", "sym_constrain", "_functional_assert")
_LEAVES = "torch.nn.modules."
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")


def export(model: nn.Module, example: Example, dynamic: bool = True) -> torch.export.ExportedProgram:
    """The program of ``model`` on ``example`` from torch.export, not decomposed.

    Raises ``TraceFailure`` with export's own reason.

    Recurrent layers are written out, for as many steps as the example's sequence has.

    dynamic   leave the batch (dimension 0 of the tensor inputs that share it) free where the code allows it
    """
    made = _exports.get()
    if made is not None:
        return made.once(model, example, dynamic)
    return _export(model, example, dynamic)


def _export(model: nn.Module, example: Example, dynamic: bool) -> torch.export.ExportedProgram:
    if dynamic:
        example = _two_images(example)
    return _unrolled(_exported(model, example, _free_batch(example, model) if dynamic else None))


class Exports:
    """A context in which a model that does not change is exported once for the same tensors."""

    def __init__(self) -> None:
        self._made: dict[tuple, tuple[Example, torch.export.ExportedProgram]] = {}

    def __enter__(self) -> None:
        self._before = _exports.set(self)

    def __exit__(self, *exception: Any) -> None:
        _exports.reset(self._before)

    def once(self, model: nn.Module, example: Example, dynamic: bool) -> torch.export.ExportedProgram:
        """The program that ``export`` gives, which nothing writes to."""
        key = (id(model), dynamic, *map(id, example.tensors()))
        if key not in self._made:
            # with the example, so that no other tensor has its address
            self._made[key] = example, _export(model, example, dynamic)
        return self._made[key][1]


_exports: ContextVar[Exports | None] = ContextVar("exports", default=None)


def _unrolled(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """Write LSTM, GRU and RNN out as the products and sums of their steps.

    Those on packed sequences, whose number of steps is data, stay; classify refuses them by name.
    """
    used = {
        n.target
        for n in program.graph.nodes
        if isinstance(n.target, torch._ops.OpOverload) and n.target.overloadpacket.__name__ in _RECURRENT
    }
    if not used:
        return program
    known = torch.export.default_decompositions()
    return _with_decompositions(
        program, {operator: known[operator] for operator in used if operator in known}
    )


def lift(
    program: torch.export.ExportedProgram, model: nn.Module, parts: Mapping[str, fx.GraphModule] | None = None
) -> fx.GraphModule:
    """A graph such as ``trace`` gives; in-place operators are written as such, for canonicalize.

    ``parts`` has graphs that stand in for calls, by the name of the call; in a call inside such a graph, the
    name follows that of the outer call and a slash.

    ``gm.meta["frontend"]`` says what was specialised, ``gm.meta["assumptions"]`` what the graph takes for
    granted.
    """
    lifter = _Lifter(program, model, parts or {})
    outputs = lifter.run()
    graph = lifter.graph
    graph.output(outputs)
    mark(next(iter(reversed(graph.nodes))), place="output")
    graph.eliminate_dead_code(is_impure_node=is_write)
    gm = fx.GraphModule(lifter.attributes, graph, type(model).__name__)
    gm.training = model.training
    from .guards import assumptions_of  # with sympy, which takes as long to import as all of fxscope

    known = tuple(a.renamed(lifter.names) for a in assumptions_of(program))
    graph_notes(gm)["assumptions"] = known
    batch = batch_of(known, input_names(gm))
    graph_notes(gm)["frontend"] = {"name": "export", "batch": batch, "sizes": "specialised"}
    return gm


def decomposed(program: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """The same program with no in-place operator left, and with the casts of autocast written out.

    It is slower, and for writes that canonicalize cannot follow.
    """
    for region in _regions(program):  # node by node, so that every node keeps its line and its module
        region.forward = fx.Interpreter(region).run
    return _with_decompositions(program, {})


def _with_decompositions(program: torch.export.ExportedProgram, table: dict) -> torch.export.ExportedProgram:
    with quiet(), all_sizes():
        return program.run_decompositions(table)


def all_sizes() -> AbstractContextManager[None]:
    """Else export takes every free size for at least 2 without a guard, and a branch on one image is lost."""
    return symbolic_sizes.patch(backed_size_oblivious=True)  # type: ignore[attr-defined]  # torch adds it


def _two_images(example: Example) -> Example:
    """The example with two images where it has one: export takes a size of 1 for a constant."""
    tensors = example.tensors()
    if not tensors or any(t.dim() == 0 or t.shape[0] != 1 for t in tensors):
        return example
    return Example(
        *pytree.tree_map(
            lambda v: torch.cat([v, v]) if isinstance(v, torch.Tensor) else v, (example.args, example.kwargs)
        )
    )


def _free_batch(example: Example, model: nn.Module) -> dict[str, Any]:
    """Dynamic shapes for torch.export: the first dimension of the inputs that share the first one's."""
    tensors = example.tensors()
    size = tensors[0].shape[0] if tensors and tensors[0].dim() else None

    def free(value: Any) -> Any:
        return (
            {0: torch.export.Dim.AUTO}
            if isinstance(value, torch.Tensor) and value.dim() and value.shape[0] == size
            else None
        )

    return {name: pytree.tree_map(free, value) for name, value in example.given(model).items()}


def _exported(model: nn.Module, example: Example, shapes: Any) -> torch.export.ExportedProgram:
    try:
        with torch.no_grad(), unchanged(model), quiet(), all_sizes():
            copy = example.clone()
            if not isinstance(model, torch.jit.ScriptModule):  # which export refuses by name
                model.register_forward_hook(lambda m, _, y: usable(m, y))  # ``unchanged`` takes it away
            return torch.export.export(model, copy.args, copy.kwargs, dynamic_shapes=shapes, strict=False)
    except FxscopeError:
        raise
    except Exception as error:  # whatever the model's own Python code raises
        raise TraceFailure(
            f"{type(model).__name__} cannot be exported: {reason_of(error)}{place_of(error)}"
        ) from error


def writes(program: torch.export.ExportedProgram) -> bool:
    """Whether an operator of the program writes into an argument."""
    return any(_in_place(n.target) for n in program.graph.nodes)


def casts(program: torch.export.ExportedProgram) -> bool:
    """Whether a region of the program runs under autocast, whose casts are no nodes yet."""
    graphs = [m.graph for m in (program.graph_module, *_regions(program))]
    calls = [n for g in graphs for n in g.nodes if n.target is torch.ops.higher_order.wrap_with_autocast]
    return any(n.args[2] for n in calls)


def _regions(program: torch.export.ExportedProgram) -> list[fx.GraphModule]:
    """The graphs that the program's graph calls, and those that they call."""
    inner = [m for m in program.graph_module.modules() if m is not program.graph_module]
    return [m for m in inner if isinstance(m, fx.GraphModule)]


def _in_place(target: Any) -> bool:
    return (
        isinstance(target, torch._ops.OpOverload)
        and target._schema.is_mutable
        and target.overloadpacket.__name__.endswith("_")
    )


class _Lifter:
    """Copies an exported graph: parameters become get_attr, sizes become methods, checks are dropped."""

    def __init__(
        self,
        program: torch.export.ExportedProgram,
        model: nn.Module,
        parts: Mapping[str, fx.GraphModule],
    ):
        self.program, self.model, self.written = program, model, parts
        self.within: list[tuple[str, fx.Node]] = []
        self.graph = fx.Graph()
        self.attributes: dict[str, torch.Tensor] = {}
        self.places: Counter[str] = Counter()
        self.values: dict[fx.Node, Any] = {}
        self.names: dict[str, str] = {}

    def run(self) -> Any:
        specs = {s.arg.name: s for s in self.program.graph_signature.input_specs}
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self.values[node] = self._input(node, specs[node.name])
        result = self._copy(self.program.graph_module)
        kinds = self.program.graph_signature.output_specs
        if self.program.graph_signature.buffers_to_mutate:
            raise TraceFailure(
                f"{type(self.model).__name__} updates buffers in its forward"
                f" ({next(iter(self.program.graph_signature.buffers_to_mutate.values()))}, ...), which a"
                " graph from torch.export would not; call .eval()"
            )
        given = [v for v, s in zip(result, kinds, strict=True) if s.kind.name == "USER_OUTPUT"]
        return self._structured(pytree.tree_unflatten(given, self.program.call_spec.out_spec))

    def _input(self, node: fx.Node, spec: Any) -> Any:
        if spec.kind is InputKind.USER_INPUT:
            if not isinstance(spec.arg, TensorArgument):
                return getattr(spec.arg, "value", None)
            new = self.graph.placeholder(node.name)
            self.names[node.name] = new.name
            return mark(new, place=node.name)
        return self._attribute(spec.target, self._tensor(spec))

    def _tensor(self, spec: Any) -> torch.Tensor:
        """The model's own parameter or buffer, or the exported program's constant."""
        if spec.kind not in (InputKind.PARAMETER, InputKind.BUFFER):
            return self.program.constants[spec.target]
        path, _, name = spec.target.rpartition(".")
        module = self.model.get_submodule(path)
        # past a __getattr__ of the model's own
        found = (module._parameters if spec.kind is InputKind.PARAMETER else module._buffers)[name]
        return cast("torch.Tensor", found)  # export lists none that is None

    def _attribute(self, path: str, value: torch.Tensor) -> fx.Node:
        self.attributes[path] = value
        return mark(self.graph.get_attr(path), place=path, module=path.rpartition(".")[0])

    def _copy(self, gm: fx.GraphModule) -> tuple:
        """Copy the nodes of one graph, and give what it gives."""
        for node in gm.graph.nodes:
            if node.op == "output":
                return fx.node.map_arg(tuple(node.args[0]), self._value)
            if node.op == "get_attr":
                self.values[node] = self._constant(gm, node)
            elif node.op == "call_function":
                self.values[node] = self._call(node)
        raise TraceFailure("the exported graph has no output")

    def _constant(self, gm: fx.GraphModule, node: fx.Node) -> Any:
        path = str(node.target)
        value = operator.attrgetter(path)(gm)
        return self._attribute(path, value) if isinstance(value, torch.Tensor) else value

    def _value(self, node: fx.Node) -> Any:
        return self.values[node]

    def _call(self, node: fx.Node) -> Any:
        name = getattr(node.target, "__name__", str(node.target))
        if any(name.startswith(check) for check in _CHECKS):
            return None
        given = [self.values[a] if isinstance(a, fx.Node) else a for a in node.args]
        inner = next((v for v in given if isinstance(v, fx.GraphModule)), None)
        if inner is not None:
            return self._inline(node, name, given, inner)
        mapped = fx.node.map_arg((node.args, node.kwargs), self._value)
        args, kwargs = cast("tuple[tuple, dict]", mapped)
        if node.target is operator.getitem and isinstance(args[0], (tuple, list)):
            return args[0][args[1]]
        key = self.within[-1][0] + node.name if self.within else node.name
        if key in self.written:
            return self._part(node, key)
        new = self._spelled(
            node.target, args, {k: v for k, v in kwargs.items() if not (k == "pin_memory" and v is False)}
        )
        if new.name != node.name:
            new._rename(node.name)
        notes(new)["exported"] = key
        if node.meta.get("held"):
            notes(new)["held"] = True
        outer = self.within[0][1] if self.within else node
        source = _source(outer)
        if node.target is derivative:
            called = getattr(self.within[-1][1].target, "overloadpacket", self.within[-1][1].target)
            name = getattr(called, "__name__", str(called))
            mark(new, linearised=f"{name} at {source.partition(': ')[0]}" if source else name)
        return mark(new, place=self._place(outer), module=_module(outer)[0], source=source)

    def _part(self, node: fx.Node, key: str) -> Any:
        """Copy the graph that stands in for a call."""
        inner = self.written[key]
        inputs = [n for n in inner.graph.nodes if n.op == "placeholder"]
        given = [self.values[n] for n in node.all_input_nodes]
        self.values.update(zip(inputs, given, strict=True))
        self.within.append((f"{key}/", node))
        found = self._copy(inner)
        self.within.pop()
        return found[0] if inner.meta["single"] else found

    def _inline(self, node: fx.Node, name: str, given: list, inner: fx.GraphModule) -> Any:
        """Copy a region without gradients or autocast in place.

        Refuse control flow on values, which has no single graph.
        """
        if not name.startswith("wrap_with"):
            raise TraceFailure(
                f"{name} keeps a branch or loop on tensor values in the graph, at"
                f" {_source(node) or 'an unknown line'}; take it out of the traced module"
            )
        arguments = given[given.index(inner) + 1 :]
        for placeholder, value in zip(
            [n for n in inner.graph.nodes if n.op == "placeholder"], arguments, strict=True
        ):
            self.values[placeholder] = value
        return self._copy(inner)

    def _spelled(self, target: Any, args: tuple, kwargs: dict) -> fx.Node:
        """Call an overload that no rule lists as the torch function or method of its name, if it can."""
        known = registry()
        if not isinstance(target, torch._ops.OpOverload):
            return self.graph.call_function(target, args, kwargs)
        name = target.overloadpacket.__name__
        if name == "sym_size":
            return self.graph.call_method("size", args)
        if _in_place(target):
            return self._write(target, name, args, kwargs)
        if name == "slice":
            return self.graph.call_function(operator.getitem, (args[0], _slice(*args[1:], **kwargs)))
        if known.of_function(target) is not None:
            return self.graph.call_function(target, args, kwargs)
        if name == "copy":
            return self.graph.call_method("expand_as", (args[1], args[0]))
        if target.namespace == "aten":
            function = getattr(torch, name, None)
            if function is not None and known.functions.get(function) is not None:
                return self.graph.call_function(function, args, kwargs)
            if name in known.methods:
                return self.graph.call_method(name, args, kwargs)
        return self.graph.call_function(
            target.overloadpacket if target.namespace == "aten" else target, args, kwargs
        )

    def _write(self, target: Any, name: str, args: tuple, kwargs: dict) -> fx.Node:
        """An in-place operator as symbolic tracing records it: a method, or a function with ``inplace``."""
        if name in ("copy_", "fill_", "zero_") or name[:-1] in registry().methods:
            return self.graph.call_method(name, args, kwargs)
        overload = out_of_place(name[:-1], target._overloadname)
        return self.graph.call_function(overload, args, {**kwargs, "inplace": True})

    def _place(self, node: fx.Node) -> str:
        path, leaf = _module(node)
        function = getattr(node.target, "overloadpacket", node.target)
        function = getattr(function, "__name__", str(function)).removesuffix("_")
        name = f"{path}.{function}" if path else function
        if leaf and function != "_to_copy":  # a cast before the module's own operator is not its output
            name = path
        count = self.places[name]
        self.places[name] += 1
        return f"{name}_{count}" if count else name

    def _structured(self, value: Any) -> Any:
        """The output structure as arguments of a graph: dataclasses by a call of their class."""
        if isinstance(value, dict):
            fields = {k: self._structured(v) for k, v in value.items() if v is not None}
            if not hasattr(type(value), "__dataclass_fields__"):
                return fields
            return mark(self.graph.call_function(type(value), (), fields), place=type(value).__name__)
        if isinstance(value, (list, tuple)):
            parts = [self._structured(v) for v in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        if hasattr(type(value), "__dataclass_fields__"):
            fields = {
                n: self._structured(getattr(value, n))
                for n in value.__dataclass_fields__
                if getattr(value, n) is not None
            }
            return mark(self.graph.call_function(type(value), (), fields), place=type(value).__name__)
        return value


def _slice(dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> tuple:
    """aten.slice's arguments as an index; an end beyond every size is none."""
    stop = None if isinstance(end, int) and end >= sys.maxsize else end
    part = slice(start or None, stop, None if step == 1 else step)
    return (slice(None),) * dim + (part,) if dim >= 0 else (Ellipsis, part, *[slice(None)] * (-dim - 1))


def _module(node: fx.Node) -> tuple[str, bool]:
    """The path of the innermost module that ran the node, and whether a rule spells that module's class."""
    known = node.meta.get("nn_module_stack") or {}
    stack = [module for key, module in known.items() if not key.startswith("_empty")]  # a pass's own mark
    if not stack:
        return "", False
    path, kind = stack[-1]
    kind = kind if isinstance(kind, str) else f"{kind.__module__}.{kind.__qualname__}"
    spelled = kind.startswith(_LEAVES) and kind.rpartition(".")[2] in {c.__name__ for c in registry().modules}
    return path.removeprefix("L['self'].").removeprefix("L['self']"), spelled


def _source(node: fx.Node) -> str:
    """The innermost line of the user's own code in the node's stack trace."""
    found = _FRAME.findall(node.meta.get("stack_trace") or "")
    frames = [(f, int(n)) for f, n in found if is_user_file(f) and not f.startswith("torch/")]
    return describe_line(*frames[-1]) if frames else ""
