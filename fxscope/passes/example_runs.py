"""What a run on the example tells: whether the traced graph is the model, and where results lie in memory."""

from __future__ import annotations

import logging
import sys
from types import FrameType, FunctionType
from typing import Any

import torch
import torch.fx as fx
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import LawBroken, ShapeError, TraceFailure, said
from ..frontend.example import Example
from ..frontend.unchanged import unchanged
from ..graph.assumptions import CONDITION, assumptions, batch_of, input_names
from ..graph.interpreter import Recorder
from ..graph.ir import graph_notes, info, notes
from ..rules._of_node import bound, rule_of
from .canonicalize import Decide
from .in_double import NARROW, apart_by_rounding, close, same_in_double, wide
from .outputs import tensors_of

_log = logging.getLogger("fxscope")


def check_trace(gm: fx.GraphModule, model: nn.Module, example: Example) -> None:
    """Raise ``LawBroken`` unless the graph computes what the untouched model computes on the example (law 1).

    Both run in the model's mode and under one seed, and its buffers are restored. Shapes are written on the
    nodes.
    """
    with torch.no_grad():
        with unchanged(model):
            got = _ran(gm, model, example)
        with unchanged(model):  # the same state, and the same draws
            expected = example.call(model)
        traced, own = tensors_of(got), tensors_of(expected)
        if len(traced) != len(own):
            raise LawBroken(
                f"the traced graph of {type(model).__name__} gives {len(traced)} tensors where the model"
                f" gives {len(own)}: a Python-side state or a branch is lost in tracing"
            )
        far = [(a, b) for a, b in zip(traced, own) if a.dtype != b.dtype or not close(a, b, 1e-4, 1e-5)]
        if far and not _only_rounding(gm, model, example, far, got, expected):
            raise _differs(type(model).__name__, *far[0])
    _check_batched(gm)


def _only_rounding(
    gm: fx.GraphModule, model: nn.Module, example: Example, far: list[tuple], got: Any, expected: Any
) -> bool:
    """Whether outputs that are far apart are those of one function, rounded in two ways.

    That is decided in float64, by running both; by the graph alone where the model cannot be run in float64.
    """
    if any(a.shape != b.shape or a.dtype != b.dtype or not _rounds(b) for a, b in far):
        return False
    widened = Example(wide(example.args), wide(example.kwargs))

    def of_graph() -> Any:
        with unchanged(model):
            return fx.Interpreter(gm).run(*widened.clone().tensors())

    def of_model() -> Any:
        with unchanged(model):
            return widened.call(model)

    try:
        return same_in_double(of_graph, of_model)
    except Exception as error:  # the model's code asks for a dtype, for example, or memory is short
        _log.debug("%s cannot be run in float64: %s", type(model).__name__, error)
    try:
        return apart_by_rounding(got, expected, of_graph)
    except Exception as error:
        _log.debug("nor its graph: %s", error)
        return False


def _rounds(value: torch.Tensor) -> bool:
    """Whether a result has fewer digits than float64: integers are right or wrong."""
    return value.dtype in NARROW


def _check_batched(gm: fx.GraphModule) -> None:
    """Raise ``ShapeError`` if x0 is an image without a batch, which a convolution takes, too."""
    x0 = next((notes(n)["val"] for n in gm.graph.nodes if n.op == "placeholder" and "val" in notes(n)), None)
    for node in gm.graph.nodes:
        rule = rule_of(node)
        if x0 is None or rule is None or rule.input_rank != x0.dim() + 1 or node.op != "call_function":
            continue
        given = bound(node)[rule.carries[0]]
        value = notes(given).get("val") if isinstance(given, fx.Node) else None
        if value is not None and value.dim() == x0.dim():
            raise ShapeError(
                f"x0 is of shape {tuple(x0.shape)}, without a batch: {info(node).place or node.name} takes"
                f" {rule.input_rank} dimensions, (B, ...); write x0.unsqueeze(0)"
            )


def _ran(gm: fx.GraphModule, model: nn.Module, example: Example) -> Any:
    """The output of the graph; shapes are written on its nodes.

    Raises ``TraceFailure`` if the graph fails where the model runs.
    """
    recorder = Recorder(gm, _without_numbers)
    try:
        result = recorder.run(*example.clone().tensors())
    except Exception as error:
        example.call(model)  # the model's own error, where it has one
        raise TraceFailure(
            f"the traced graph of {type(model).__name__} does not run on the example: {said(error)}"
        ) from error
    for node, value in recorder.kept.items():
        if isinstance(value, tuple):
            notes(node)["parts"] = value
        else:
            notes(node)["val"] = value
    return result


def _without_numbers(node: fx.Node, value: Any) -> torch.Tensor | tuple | None:
    """A tensor, or each of several tensors, without its numbers."""
    if isinstance(value, torch.Tensor):
        return torch.empty_like(value, device="meta")
    several = node.op != "output" and isinstance(value, (tuple, list))
    if several and all(isinstance(v, torch.Tensor) for v in value):
        return tuple(torch.empty_like(v, device="meta") for v in value)
    return None


def _differs(name: str, traced: torch.Tensor, expected: torch.Tensor) -> LawBroken:
    """The error that a traced graph's output is further from the model's than rounding explains."""
    if traced.dtype != expected.dtype:
        how = f"its output is {traced.dtype} where the model's is {expected.dtype}"
    elif traced.shape != expected.shape:
        how = f"its output is {tuple(traced.shape)} where the model's is {tuple(expected.shape)}"
    else:
        traced, expected = (t if t.is_complex() else t.double() for t in (traced, expected))
        far, size = (traced - expected).abs().max().item(), expected.abs().max().item()
        how = f"outputs differ by {far:.3g} where the largest is {size:.3g}"
    return LawBroken(
        f"the traced graph of {name} does not compute what the model computes: {how}. An in-place write to a"
        " view, a Python-side state or a value-dependent branch is lost in tracing. If the forward"
        " writes its own weights, the same at every call, call model(x0) once before"
    )


def functions_called(model: nn.Module, example: Example, functions: list[FunctionType]) -> list[FunctionType]:
    """Those of some Python functions that the model calls on the example.

    They are found under whatever name it knows them.
    """
    by_code = {f.__code__: f for f in functions}
    called: dict[FunctionType, None] = {}
    if not by_code:
        return []

    def look(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code in by_code:
            called.setdefault(by_code[frame.f_code])

    before = sys.getprofile()
    with torch.no_grad(), unchanged(model):
        sys.setprofile(look)
        try:
            example.call(model)
        finally:
            sys.setprofile(before)
    return list(called)


def settle_one_image(gm: fx.GraphModule, model: nn.Module, example: Example) -> None:
    """Drop the assumption that the batch is not 1 if a run on one image confirms the graph.

    Such an assumption exists if an operator asked whether the batch is 1. If the example has one image, its
    own run has shown it. The assumption stays in train mode, where the two runs are not compared.
    """
    known = assumptions(gm)
    if not any(a.doubtful for a in known) or any(m.training for m in model.modules()):
        return
    batched = {s.input for a in known if a.kind == CONDITION for s in a.value.sizes()}
    named = zip(input_names(gm), example.tensors())
    several = any(value.shape[0] != 1 for name, value in named if name in batched)
    if several and not _holds_for_one(gm, model, example, batched):
        return
    certain = tuple(a for a in known if not a.doubtful)
    graph_notes(gm)["assumptions"] = certain
    graph_notes(gm)["frontend"]["batch"] = batch_of(certain, input_names(gm))


def _holds_for_one(gm: fx.GraphModule, model: nn.Module, example: Example, batched: set[str]) -> bool:
    """Whether the graph computes the model on the first image alone."""
    cut = iter([name in batched for name in input_names(gm)])

    def first(value: Any) -> Any:
        return value[:1] if isinstance(value, torch.Tensor) and next(cut) else value

    try:
        check_trace(gm, model, Example(*pytree.tree_map(first, (example.args, example.kwargs))))
    except Exception as error:  # the model's own on one image, too
        _log.debug("%s is another function of one image: %s", type(model).__name__, error)
        return False
    return True


def decider(gm: fx.GraphModule, model: nn.Module, example: Example) -> Decide:
    """A function that runs the graph on the example and looks at memory.

    For each (call, argument) it tells whether the result shares the memory of the argument, and whether the
    argument is contiguous.
    """

    def decide(asked: list[tuple[fx.Node, fx.Node]]) -> dict[tuple[fx.Node, fx.Node], tuple[bool, bool]]:
        def told(node: fx.Node, value: Any) -> dict[fx.Node, tuple[bool, bool]] | None:
            arguments = [argument for call, argument in asked if call is node]
            return {a: _in_memory_of(value, looker.env[a]) for a in arguments} or None

        # the graph writes into copies of the model's own tensors
        looker = Recorder(gm, told, lambda node, v: v.clone() if _is_attribute(node, v) else v)
        with torch.no_grad(), unchanged(model):
            try:
                looker.run(*example.clone().tensors())
            except Exception as error:
                raise TraceFailure(
                    f"the traced graph of {type(model).__name__} does not run on the example:"
                    f" {type(error).__name__}: {error}"
                ) from error
        return {(node, a): where for node, found in looker.kept.items() for a, where in found.items()}

    return decide


def _is_attribute(node: fx.Node, value: Any) -> bool:
    return node.op == "get_attr" and isinstance(value, torch.Tensor)


def _in_memory_of(value: Any, argument: Any) -> tuple[bool, bool]:
    """Whether a result is in the memory of an argument, and whether that argument is contiguous."""
    given = tensors_of(argument)
    is_alias_of = torch._C._is_alias_of  # type: ignore[attr-defined]  # not in torch's stubs
    shared = any(is_alias_of(a, b) for a in tensors_of(value) for b in given)
    return shared, isinstance(argument, torch.Tensor) and argument.is_contiguous()
