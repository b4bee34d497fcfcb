"""The ways to get a model's canonical graph: by symbolic tracing, or through torch.export."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from types import FunctionType

import torch
import torch.fx as fx
from torch import nn

from ..errors import AliasingWrite, BrokenInvariant, FxscopeError, LawBroken, TraceFailure, first_line
from ..frontend.example import Example
from ..frontend.exported import casts, decomposed, export, lift, writes
from ..frontend.returned import CANNOT
from ..frontend.symbolic import check_model, place_of, reason_of, trace
from ..frontend.unchanged import unchanged
from ..graph.assumptions import assumptions, broken, input_names
from ..graph.check import check_stage
from ..graph.ir import graph_notes, info
from ..rules import registry
from .canonicalize import canonicalize
from .example_runs import check_trace, decider, functions_called, settle_one_image
from .known import Known, of_rank
from .unused import learn_from_unused

FRONTENDS = ("auto", "symbolic", "export")
_log = logging.getLogger("fxscope")


def canonical(
    model: nn.Module,
    example_inputs: tuple | dict | Example | None = None,
    frontend: str = "auto",
    rank: int | None = None,
) -> fx.GraphModule:
    """Trace and canonicalise a model, and check the graph against the model if example inputs are given.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    example_inputs : tuple, dict or Example, optional
        The inputs of the model.
    frontend : str
        "symbolic" (torch.fx.symbolic_trace), "export" (torch.export), or "auto": symbolic first, then export
        if tracing fails, if the traced graph differs from the model, or if export can decompose a call
        without a rule.
    rank : int, optional
        The number of dimensions of the first input, for "symbolic" without an example.

    Returns
    -------
    torch.fx.GraphModule
        The canonical graph.
    """
    if frontend not in FRONTENDS:
        raise ValueError(f"frontend={frontend!r}; it is one of {', '.join(FRONTENDS)}")
    check_model(model)
    example = Example.of(example_inputs, model)
    if rank is not None:
        return _attempt(functools.partial(_symbolic, rank=rank), model, example)
    if frontend != "auto":
        return _attempt(_symbolic if frontend == "symbolic" else _exported, model, example)
    try:
        gm = _attempt(_symbolic, model, example)
    except BrokenInvariant:
        raise  # a mistake of fxscope, which the other frontend would hide
    except FxscopeError as error:
        if example is None:
            raise ask_for_example(error) from error
        return _second(model, example, error)
    return gm if example is None else _without_opaque(gm, model, example)


def _attempt(frontend: Callable, model: nn.Module, example: Example | None) -> fx.GraphModule:
    """The graph of one frontend; whatever fails there is an ``FxscopeError``, or the model's own error."""
    try:
        return frontend(model, example)
    except FxscopeError:
        raise
    except Exception as error:
        _run(model, example)
        raise TraceFailure(
            f"{type(model).__name__} cannot be made a graph: {reason_of(error)}{place_of(error)}"
        ) from error


def _second(model: nn.Module, example: Example, first: FxscopeError) -> fx.GraphModule:
    """The exported graph, where symbolic tracing failed; else an error with the reasons of both."""
    _run(model, example)
    name = type(model).__name__
    _log.warning("%s goes through torch.export: %s", name, first_line(first))
    try:
        return _attempt(_exported, model, example)
    except FxscopeError as second:
        if str(second) == str(first):
            raise
        raise type(second)(
            f"{name} can be made a graph neither by symbolic tracing nor by torch.export\n"
            f"  symbolic tracing: {_brief(first)}\n  torch.export: {_brief(second)}\n{_WAYS_OUT}"
        ) from second


def _run(model: nn.Module, example: Example | None) -> None:
    """Run the model on the example, which raises the model's own error if it has one."""
    if example is not None:
        with torch.no_grad(), unchanged(model):
            example.call(model)


def _brief(error: Exception) -> str:
    """The reason that an error gives, and the line of the model's code; not its advice."""
    reason, *more = str(error).splitlines() or [first_line(error)]
    for made in _SAID:
        reason = reason.rpartition(made)[2]
    place = more[0] if more and more[0].startswith("  at ") else ""
    return f"{reason}\n  {place}" if place else reason


_SAID = ("cannot be traced symbolically: ", "cannot be exported: ", "cannot be made a graph: ")
_WAYS_OUT = (
    "What is left: change that line of the forward (a decision on values can be a torch.where), or interpret"
    " the modules before and behind it, each by itself"
)


def _symbolic(model: nn.Module, example: Example | None, rank: int | None = None) -> fx.GraphModule:
    """Trace symbolically, and check the graph on the example."""
    given = () if example is None else (*example.args, *example.kwargs.values())
    if any(isinstance(v, (list, tuple, dict)) for v in given):
        raise TraceFailure(
            f"{type(model).__name__} takes its inputs in a structure, which symbolic tracing sees as one"
        )
    concrete, known = (None, Known(model, rank)) if example is None else (example.given(model), None)
    gm = trace(model, concrete, tuple(registry().modules), known)
    check_stage(gm, "traced")
    whole = graph_notes(gm).pop("whole", None)
    if whole is not None and example is None:
        learn_from_unused(gm, whole, model)
    if rank is not None:
        of_rank(gm, rank)
    gm = canonicalize(gm, model, None if example is None else decider(gm, model, example))
    if example is not None:
        check_trace(gm, model, example)
    graph_notes(gm).setdefault("frontend", {"name": "symbolic"})
    return gm


def _without_opaque(gm: fx.GraphModule, model: nn.Module, example: Example) -> fx.GraphModule:
    """The exported graph if the traced one has opaque calls and export works; else the traced one."""
    left = sorted({_opaque(n, model) for n in gm.graph.nodes} - {""})
    if not left:
        return gm
    try:
        found = _attempt(_exported, model, example)
    except FxscopeError:
        return gm  # classify names them, where they are on the path of a probe
    _log.warning("%s goes through torch.export: no rule for %s", type(model).__name__, ", ".join(left))
    return found


def _opaque(node: fx.Node, model: nn.Module) -> str:
    """The name of a module or Python function (torch.fx.wrap) that no rule covers; "" for other nodes."""
    if node.op == "call_module":
        return type(model.get_submodule(str(node.target))).__name__
    if node.op != "call_function" or not isinstance(node.target, FunctionType) or info(node).rule:
        return ""
    return "" if _of_package(node.target, "torch") else node.target.__name__


def _exported(model: nn.Module, example: Example | None) -> fx.GraphModule:
    """Go through torch.export with a dynamic batch, or with the sizes of the example if that fails."""
    if example is None:
        raise TraceFailure(
            f"{type(model).__name__}: the export frontend runs the model's code; pass example_inputs=(x0,"
            " ...) to fxscope.transform"
        )
    _refuse_functions_with_a_rule(model, example)
    try:
        return _checked_export(model, example, True)
    except Exception as error:
        _log.debug("%s with a free batch: %s", type(model).__name__, error)
    return _checked_export(model, example, False)


def _refuse_functions_with_a_rule(model: nn.Module, example: Example) -> None:
    """Raise ``TraceFailure`` if the model calls a Python function that has a rule.

    Export would look inside.
    """
    python = [f for f in registry().functions if isinstance(f, FunctionType)]
    python = [f for f in python if not _of_package(f, "torch", "fxscope")]
    called = functions_called(model, example, python)
    if called:
        raise TraceFailure(
            f"{type(model).__name__}: torch.export looks inside "
            f"{', '.join(f.__qualname__ for f in called)}, so"
            " that its rule would not be used; make it an operator with torch.library.custom_op, and register"
            " the rule for that"
        )


def _of_package(function: FunctionType, *packages: str) -> bool:
    return function.__module__.partition(".")[0] in packages


def _checked_export(model: nn.Module, example: Example, dynamic: bool) -> fx.GraphModule:
    """Lift an exported program; if its writes cannot be followed, decompose it first."""
    program = export(model, example, dynamic)
    if casts(program):
        program = decomposed(program)
    try:
        return checked_lift(program, model, example)
    except (AliasingWrite, LawBroken):
        if not writes(program):
            raise
    return checked_lift(decomposed(program), model, example)


def checked_lift(
    program: torch.export.ExportedProgram,
    model: nn.Module,
    example: Example,
    parts: Mapping[str, fx.GraphModule] | None = None,
) -> fx.GraphModule:
    """The canonical graph of an exported program, checked against the model on its example."""
    gm = lift(program, model, parts)
    check_stage(gm, "traced")
    gm = canonicalize(gm, model, decider(gm, model, example))
    settle_one_image(gm, model, example)
    unmet = broken(assumptions(gm), example.tensors(), input_names(gm))
    if unmet is not None:
        raise TraceFailure(
            f"the exported graph of {type(model).__name__} is not for its own example: {unmet}"
        )
    check_trace(gm, model, example)
    return gm


def ask_for_example(error: Exception) -> Exception:
    """Extend an error by the way out: example inputs, with which torch.export can take the model."""
    if "example_inputs=" in str(error) or CANNOT in str(error):
        return type(error)(str(error))
    return type(error)(
        f"{error}\nPass example_inputs=(x0, ...) to fxscope.transform (fxscope.interpret has them): the model"
        " then goes through torch.export"
    )
