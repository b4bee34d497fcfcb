"""Symbolic tracing: a model becomes a ``torch.fx`` graph.

Every node knows the user's own line and its module path.

Symbolic tracing loses in-place writes (``x += y`` on a proxy falls back to ``x = x + y``). The proxies here
record them as what they are, so that canonicalize can respect aliasing.
"""

from __future__ import annotations

import contextlib
import inspect
import linecache
import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

import torch
import torch.fx as fx
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from ..errors import (
    AliasingWrite,
    FxscopeError,
    HookedModel,
    TraceFailure,
    UnknownRank,
    UnsupportedOperator,
    first_line,
    said,
)
from ..graph.aliasing import augmented, writes
from ..graph.arguments import check_module
from ..graph.draws import draws
from ..graph.ir import graph_notes, info, mark
from ..graph.overridden import own_class, runs_as
from ..rules._sizes import rank_asked
from .autocast import autocast_devices
from .proxies import InPlaceProxy, own_types, types_of_values
from .returned import refuse_returned
from .settings import settings
from .unchanged import unchanged, written_since

_TORCH = os.path.dirname(torch.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PYTHON = sysconfig.get_path("stdlib") + os.sep
_INSTALLED = tuple(os.path.join(_PYTHON, folder, "") for folder in ("site-packages", "dist-packages"))
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FLOATING = ("FloatFunctional", "FXFloatFunctional")  # of torch.ao.nn.quantized, which compute with floats
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_GLOBAL_HOOKS = tuple(
    name
    for name in vars(nn.modules.module)
    if name.startswith("_global_")
    and name.endswith(("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks"))
)


class Tracer(fx.Tracer):
    """A ``torch.fx.Tracer`` whose leaves are the modules that a rule spells, plus torch.nn's own."""

    def __init__(self, leaves: tuple[type, ...] = (), known: Any = None):
        super().__init__(autowrap_functions=())
        self.leaves, self.known = leaves, known
        self.places: Counter[str] = Counter()
        self.refused = ""
        self.indexed: fx.Node | None = None  # what the first refusal was about
        self.given: dict[nn.Module, tuple] = {}  # the settings of each module before its forward runs

    def trace(self, root: Any, concrete_args: dict | None = None) -> fx.Graph:
        """Trace a module, whose settings are those of now."""
        self.given = {module: settings(module) for module in root.modules()}
        return super().trace(root, concrete_args)

    def refuse(self, what: str, obj: fx.Proxy | None = None) -> NoReturn:
        """Refuse Python code that asks for a number which is not known while tracing.

        The line is remembered, since the model may catch the error.
        """
        self._remember(obj)
        raise fx.proxy.TraceError(f"{what} of a traced value is asked for, which is not known while tracing")

    def _remember(self, obj: fx.Proxy | None) -> None:
        """Remember the line that asks for what is not known; raise ``UnknownRank`` if it asks for a rank."""
        line = user_line(inspect.currentframe())
        self.refused = self.refused or line
        asked = rank_asked(obj.node) if obj is not None and self.known is not None else None
        if asked is not None:
            raise UnknownRank(
                f"{line or 'the forward'} asks for the number of dimensions of"
                f" {info(asked).place or asked.name}, which the graph alone does not tell; pass"
                " example_inputs= to fxscope.transform"
            )

    def refuse_index(self, obj: fx.Proxy) -> NoReturn:
        """Refuse ``range(x.dim())``; torch asks its arguments the same, and then records the call."""
        self.indexed = obj.node if not self.refused else None
        self.refuse("an integer", obj)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """Decide a branch on ranks and sizes that are known; refuse any other, and remember its line."""
        found = self.value(obj)
        if found is not None:
            return bool(found)
        self._remember(obj)
        return super().to_bool(obj)

    def iter(self, obj: Any) -> Iterator:
        """The items of a value of which it is known how many they are."""
        count = self.length(obj)
        if count is None:
            self._remember(obj)
            return super().iter(obj)
        return (obj[i] for i in range(count))

    def value(self, obj: fx.Proxy) -> Any:
        """The number or truth value that a proxy stands for; None where it is not known while tracing."""
        if self.known is None:
            return None
        with _not_traced():
            return self.known.value(obj.node)

    def rank(self, obj: fx.Proxy) -> int | None:
        """The number of dimensions of a proxy's value; None where it is not known while tracing."""
        if self.known is None:
            return None
        with _not_traced():
            return self.known.rank(obj.node)

    def length(self, obj: fx.Proxy) -> int | None:
        """How many items a proxy's value has; None where it is not known while tracing."""
        if self.known is None:
            return None
        with _not_traced():
            return self.known.length(obj.node)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        """A proxy that records writes."""
        return InPlaceProxy(node, self)

    def create_arg(self, a: Any) -> Any:
        """The node of a proxy; a proxy may be of a type that torch.fx does not know."""
        if isinstance(a, fx.Proxy):
            return a.node
        try:
            return super().create_arg(a)
        except NotImplementedError:
            if not user_line(inspect.currentframe()):  # what the model returns
                refuse_returned(self.root, a)
            raise

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        """Whether a module stays one call: a rule spells it, or it is one of torch.nn without overrides.

        One whose settings the forward has changed for this call (its dilation, its weights by
        ``functional_call``) is looked into, since the call alone would be one with the settings of before.
        """
        if isinstance(module, ParametrizationList):
            return True  # a computed weight, which canonicalize looks into
        if isinstance(module, _CONTAINERS):
            return False
        if module in self.given and self.given[module] != settings(module):
            return False
        if own_class(module, (nn.Identity, *self.leaves)) is not None:
            return True
        return type(module).__module__.startswith("torch.nn.modules") and runs_as(module, type(module))

    def create_node(
        self, kind: str, target: Any, args: Any, kwargs: Any, name: str | None = None, type_expr: Any = None
    ) -> fx.Node:
        """A node with its place, module path and source line."""
        if kind.startswith("call") and autocast_devices():
            raise fx.proxy.TraceError("autocast is on in its forward, and makes casts that are not recorded")
        node = super().create_node(kind, target, args, kwargs, name, type_expr)
        if self.indexed in node.all_input_nodes:
            self.refused, self.indexed = "", None
        path = "" if not self.module_stack else list(self.module_stack.values())[-1][0]
        if kind == "call_module":
            path = str(target)
        mark(node, place=self._place(node, path), module=path, source=user_line(inspect.currentframe()))
        return node

    def _place(self, node: fx.Node, path: str) -> str:
        if node.op in ("placeholder", "output", "get_attr"):
            return str(node.target)
        name = path
        if node.op != "call_module":
            function = (
                node.target
                if isinstance(node.target, str)
                else getattr(node.target, "__name__", str(node.target))
            )
            if augmented(node) is not None:
                function = function.strip("_")[1:]  # x += y is a place "add", as torchvision names it
            name = f"{path}.{function}" if path else function
        count = self.places[name]
        self.places[name] += 1
        return f"{name}_{count}" if count else name


@contextlib.contextmanager
def _not_traced() -> Iterator[None]:
    """Modules and types as they are outside of a trace, for the block."""
    with own_types(), fx._symbolic_trace._maybe_revert_all_patches():
        yield


def is_user_file(filename: str) -> bool:
    """Whether a source file belongs to the user or a model library, and not to Python, torch or fxscope."""
    if filename.startswith(_PACKAGE):  # networks of fxscope's own are a user's to the pass
        return filename.removeprefix(_PACKAGE).partition(os.sep)[0] in ("models", "images", "testing")
    if filename.startswith(_PYTHON) and not filename.startswith(_INSTALLED):
        return False
    return not filename.startswith((_TORCH, "<")) or filename.startswith("<ipython")


def user_line(frame: FrameType | None) -> str:
    """'file.py:12: source text' of the innermost frame of the model's code; "" if only torch's code runs.

    The frames outside of the trace are those of the caller, and not of the model.
    """
    while frame is not None and not is_user_file(frame.f_code.co_filename):
        frame = None if frame.f_code is fx.Tracer.trace.__code__ else frame.f_back
    if frame is None:
        return ""
    return describe_line(frame.f_code.co_filename, frame.f_lineno)


def describe_line(filename: str, number: int | None) -> str:
    """'file.py:12: source text' of a line."""
    return f"{os.path.basename(filename)}:{number}: {linecache.getline(filename, number or 0).strip()}"


def trace(
    model: nn.Module, concrete: dict | None = None, leaves: tuple[type, ...] = (), known: Any = None
) -> fx.GraphModule:
    """Trace ``model`` into a GraphModule that shares its parameters.

    ``concrete`` fixes arguments of ``forward``; arguments with a default that are not named there are fixed
    at it. ``known`` answers what the model's code asks of ranks and sizes (``value`` and ``length`` of a
    node). Raises ``TraceFailure`` with the user's line where the model's Python code cannot be recorded, and
    ``HookedModel``.
    """
    check_model(model)
    _refuse_hooks(model)
    _refuse_patched(model)
    fixed = _fixed_arguments(model, concrete or {})
    tracer = Tracer(leaves, known)
    try:
        with unchanged(model), types_of_values():
            held = _versions(model)
            before = torch.get_rng_state()
            graph = tracer.trace(model, fixed or None)
            after = torch.get_rng_state()
            _refuse_lost_writes(model, graph, held)
            constants = _constants(model, graph)
    except FxscopeError:
        raise
    except Exception as error:  # whatever the model's Python code raises where it gets a proxy
        raise TraceFailure(_cannot_trace(model, error)) from error
    if tracer.refused:
        reason = "it catches the error that a decision on a traced value is"
        raise TraceFailure(
            f"{type(model).__name__} cannot be traced symbolically: {reason}\n  at {tracer.refused}"
        )
    if not torch.equal(before, after):
        raise TraceFailure(_draws_numbers(model))
    _drop_fixed(graph, fixed, model)
    output = next(n for n in graph.nodes if n.op == "output")
    whole = with_unused(graph, output.args[0]) if unread(graph) else None
    graph.eliminate_dead_code(is_impure_node=is_write)
    return _module(model, graph, whole, constants)


def _module(
    model: nn.Module, graph: fx.Graph, whole: fx.Graph | None, constants: dict[str, torch.Tensor]
) -> fx.GraphModule:
    """The traced module; ``graph_notes`` has the whole of what the model computes, if it does not use all."""
    name = type(model).__name__
    # which has its own attributes again, and for this block those that tracing put on it
    with unchanged(model):
        for path, value in constants.items():
            setattr(model, path, value)
        gm = fx.GraphModule(model, graph, name)
        if whole is not None:
            graph_notes(gm)["whole"] = fx.GraphModule(model, whole, name)
        return gm


def unread(graph: fx.Graph) -> list[fx.Node]:
    """The calls of a graph whose values nothing reads."""
    return [n for n in graph.nodes if not n.users and n.op not in ("placeholder", "output")]


def with_unused(graph: fx.Graph, result: Any) -> fx.Graph:
    """A copy of a graph whose output is ``result`` and what nothing reads.

    The model computes it at every call, so that it tells of the inputs.
    """
    whole, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    whole.graph_copy(graph, copies)
    given = fx.node.map_arg((result, *(_written(n) for n in unread(graph))), lambda n: copies[n])
    whole.output(given)
    return whole


def _written(node: fx.Node) -> fx.Node:
    """The value that a statement without a value of its own writes into; any other node itself."""
    first = node.args[0] if node.args else None
    return first if writes(node) and isinstance(first, fx.Node) else node


def _constants(model: nn.Module, graph: fx.Graph) -> dict[str, torch.Tensor]:
    """The tensors that the forward made, which tracing put on the model."""
    names = [str(n.target) for n in graph.nodes if n.op == "get_attr"]
    return {name: getattr(model, name) for name in names if name.startswith("_tensor_constant")}


def _versions(model: nn.Module) -> dict[str, tuple[torch.Tensor, int]]:
    """{path: (tensor, its version)} of parameters and buffers; inference tensors count none."""
    named = [*model.named_parameters(), *model.named_buffers()]
    return {path: (value, -1 if value.is_inference() else value._version) for path, value in named}


def _refuse_lost_writes(model: nn.Module, graph: fx.Graph, held: dict[str, tuple[torch.Tensor, int]]) -> None:
    """Refuse a model whose Python code writes a buffer that the graph reads.

    The graph would read the value from before the call.
    """
    now, written = _versions(model), {id(t) for t in written_since(model)}
    changed = [
        path
        for path, (value, version) in held.items()
        if id(value) in written or path not in now or now[path][0] is not value or now[path][1] != version
    ]
    for node in graph.nodes if changed else ():
        for path in changed:
            if _reads(node, path):
                raise AliasingWrite(
                    f"{path} is written by the forward itself, and read at {source_of(node)}: the graph would"
                    " read what it was before the call"
                )


def _reads(node: fx.Node, path: str) -> bool:
    """Whether a node reads a parameter or buffer: as an operand, or as one of the module that it calls."""
    if node.op == "call_module":
        return path.startswith(f"{node.target}.")
    return any(n.op == "get_attr" and n.target == path for n in node.all_input_nodes)


def is_write(node: fx.Node) -> bool:
    """Whether dead-code elimination must keep a node while in-place writes are left.

    Writes and draws have effects without users.
    """
    if node.op in ("placeholder", "output", "call_module") or draws(node):
        return True
    return writes(node) or node.is_impure()


def _fixed_arguments(model: nn.Module, concrete: dict) -> dict:
    parameters = list(inspect.signature(model.forward).parameters.values())
    star = [p.name for p in parameters if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if star and len(star) == len(parameters):
        raise TraceFailure(
            f"{type(model).__name__}.forward takes {', '.join('*' + s for s in star)}: "
            "a graph needs named inputs; wrap the model in a Module whose forward names them"
        )
    fixed = {p.name: p.default for p in parameters if p.default is not p.empty and len(parameters) > 1}
    if parameters:
        fixed.pop(parameters[0].name, None)
    for name, value in concrete.items():
        if value is None or isinstance(value, (bool, int, float, str)):
            fixed[name] = value
        else:
            fixed.pop(name, None)
    return fixed


def _drop_fixed(graph: fx.Graph, fixed: dict, model: nn.Module) -> None:
    """Remove the placeholders of arguments that were fixed, and the assertions torch.fx writes about them.

    They are in the order of forward's arguments; torch.fx gives those that are fixed names of its own.
    """
    inputs = [n for n in graph.nodes if n.op == "placeholder"]
    starred = [n for n in inputs if str(n.target).startswith("*")]
    named = zip([n for n in inputs if n not in starred], _names_in_code(model))
    for node in [*starred, *(n for n, name in named if name in fixed)]:
        _erase_with_users(graph, node)


def _names_in_code(model: nn.Module) -> list[str]:
    """The names of forward's arguments, but for *args and **kwargs."""
    code: Any = inspect.unwrap(type(model).forward).__code__
    return list(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def _erase_with_users(graph: fx.Graph, node: fx.Node) -> None:
    for user in list(node.users):
        _erase_with_users(graph, user)
    graph.erase_node(node)


def _refuse_hooks(model: nn.Module) -> None:
    found = [
        f"{path or type(model).__name__} ({kind.strip('_').replace('_', ' ')})"
        for path, module in model.named_modules()
        for kind in _HOOKS
        if getattr(module, kind)
    ]
    if found:
        raise HookedModel(
            f"{len(found)} modules carry hooks, which a graph would lose:"
            f" {', '.join(found[:8])}{' ...' if len(found) > 8 else ''}. Remove them (handle.remove()); for"
            " weight or spectral norm use torch.nn.utils.parametrizations, or fold it in with"
            " torch.nn.utils.remove_weight_norm / remove_spectral_norm"
        )


def _refuse_global_hooks() -> None:
    """Hooks on every module of the process run on the emitted graphs, too, which are modules."""
    found = [name.strip("_").replace("_", " ") for name in _GLOBAL_HOOKS if getattr(nn.modules.module, name)]
    if found:
        raise HookedModel(
            f"hooks on all modules are registered ({', '.join(found)};"
            " torch.nn.modules.module.register_module_forward_hook and its like); remove them"
            " (handle.remove())"
        )


def _refuse_patched(model: nn.Module) -> None:
    """A forward, or a call, of the whole model's own is not what torch.fx traces."""
    if "forward" in vars(model) or type(model).__call__ is not nn.Module.__call__:
        what = (
            "forward is set on the instance"
            if "forward" in vars(model)
            else "class has a __call__ of its own"
        )
        raise TraceFailure(
            f"{type(model).__name__} cannot be traced symbolically: its {what}, and torch.fx traces the"
            " class's forward"
        )
    for path, module in model.named_modules():
        own = (
            type(module).__getattr__ is not nn.Module.__getattr__
            or type(module).__getattribute__ is not nn.Module.__getattribute__
        )
        for name, value in [*module._parameters.items(), *module._buffers.items()] if own else ():
            if getattr(module, name) is not value:
                raise TraceFailure(
                    f"{type(model).__name__} cannot be traced symbolically: the __getattr__ of"
                    f" {path or 'the model'} gives another {name} than is registered, which a graph reads"
                )


def check_model(model: nn.Module) -> None:
    """Refuse what is no module, and quantised modules.

    With a rounding to integers in every layer there is no linear interpreter.
    """
    check_module(model)
    _refuse_global_hooks()
    steps = [
        path
        for path, m in model.named_modules()
        if isinstance(m, ParametrizationList) and m.training and any(True for _ in m.buffers())
    ]
    if steps:  # spectral norm takes a step of its power method
        raise TraceFailure(
            f"{steps[0]} computes its weight anew at every call in train mode, from buffers that it changes;"
            " call .eval() on it"
        )
    across = [path for path, m in model.named_modules() if isinstance(m, nn.CrossMapLRN2d)]
    if across:
        raise UnsupportedOperator(
            f"{', '.join(across)}: torch's CrossMapLRN2d leaves the first channel in all later windows,"
            " and its backward pass is not the derivative of that; use nn.LocalResponseNorm, with the same"
            " arguments",
            ("CrossMapLRN2d",),
        )
    found = {
        path: type(m).__name__
        for path, m in model.named_modules()
        if ".quantized" in type(m).__module__ and type(m).__name__ not in _FLOATING
    }
    if found:
        shown = ", ".join(f"{path} ({kind})" for path, kind in list(found.items())[:4])
        raise UnsupportedOperator(
            f"{len(found)} modules hold quantised weights: {shown}{' ...' if len(found) > 4 else ''}. Their"
            " arithmetic is on integers, with a rounding in every layer, so no F and r obey y1 = y0;"
            " interpret the floating model that it was made from",
            tuple(sorted(set(found.values()))),
        )


def _draws_numbers(model: nn.Module) -> str:
    return (
        f"{type(model).__name__} draws random numbers that do not come from its input (torch.randn(3, 4),"
        " torch.rand(1) < p): a symbolic trace would hold one draw as a constant. Draw them by an operator"
        " on the input (torch.randn_like(x)); torch.export, which runs the model on example inputs, takes"
        " such draws too"
    )


def _cannot_trace(model: nn.Module, error: Exception) -> str:
    return (
        f"{type(model).__name__} cannot be traced symbolically: {reason_of(error)}{place_of(error)}\ntorch.fx"
        " records tensor operations, not Python decisions on tensor values or sizes; torch.export, which runs"
        " the model on example inputs, takes many such models"
    )


def reason_of(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters, with the error's type."""
    own = isinstance(error, (fx.proxy.TraceError, FxscopeError))
    return first_line(error, 200) if own else said(error, 200)


def place_of(error: BaseException) -> str:
    """A line "at file.py:12: source text" for the innermost line of the model's code that raised; or ""."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if is_user_file(name):
            found = f"\n  at {describe_line(name, trace.tb_lineno)}"
        trace = trace.tb_next
    return found


def source_of(node: fx.Node) -> str:
    """The user's own line of a node, or its place where none is known."""
    return info(node).source or info(node).place or node.name
