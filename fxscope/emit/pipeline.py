"""``fxscope.transform``: from a model to its linear interpreter's graph."""

from __future__ import annotations

import logging
from types import FunctionType
from typing import Any

import torch
import torch.fx as fx
from torch import nn
from torch.utils import _pytree as pytree

from ..errors import AliasingWrite, HookedModel, LawBroken, TraceFailure
from ..frontend.example import Example
from ..frontend.exported import decomposed, export, lift, writes
from ..frontend.places import find_place, place_names
from ..frontend.symbolic import check_model, trace
from ..frontend.unchanged import leaves_unchanged, unchanged
from ..graph.assumptions import CONDITION, KEY, assumptions, batch_of, broken, input_names
from ..graph.ir import acts, info
from ..passes.canonicalize import Decide, canonicalize
from ..passes.classify import classify, is_structure
from ..passes.optimize import without_gradients
from ..passes.policy import Policy
from ..passes.rewrite import Program, rewrite
from ..passes.taps import probes_of
from ..rules import registry
from . import FORMS
from . import emit as emit_graph

PROBES = ("flat", "stacked")
FRONTENDS = ("auto", "symbolic", "export")
MAIN_OUTPUTS = ("logits", "reconstruction", "last_hidden_state")  # of a ModelOutput, in this order
_log = logging.getLogger("fxscope")


@leaves_unchanged
def transform(
    model: nn.Module,
    emit: str = "pair",
    *,
    policy: str | dict | Policy | None = None,
    inputs: str | list[str] | None = None,
    outputs: str | list[str] | dict[str, str] | None = None,
    probes: str = "flat",
    example_inputs: tuple | dict | None = None,
    frontend: str = "auto",
    freeze_gradients: bool = False,
    in_place: bool = True,
) -> fx.GraphModule:
    """Rewrite a model into the graph of its linear interpreter.

        scope = transform(model);   y0, y1 = scope(x0, x1);   y1 = F(x0) x1 + r(x0),   x1 = x0  =>  y1 = y0

    emit            "pair": (x0, x1) -> (y0, y1);  "filter": (x0, x1) -> F x1;  "residual": x0 -> r;
                    "adjoint": (x0, y2) -> F^T y2, y2 in the outputs' structure;
                    "row": (x0, index) -> (y0, row, r_k), index int64 of shape (K*B,), places of one image's flattened output,
                    <row, x0> + r_k = y0[index];  "argmax": x0 -> (y0, index, row, r_k) for every image's largest output;
                    "record": x0 -> (y0, state), "replay": (state, x1) -> F x1, "pullback": (state, y2) -> F^T y2
    policy          which freezing rule where: a preset ("freeze", "detach", "taylor"), {key: variant}, or a ``Policy``
    inputs          the place that is probed (default: the model's first input), or several; of integer inputs the place where
                    they become floating, which only example inputs tell
    outputs         the place that is read (default: the model's output), or several as a list or {name: place}
    probes          "flat": x1 of shape (K*B, ...), probe-major;  "stacked": (K, B, ...), the form that exports with both dynamic
    example_inputs  a tuple of the model's inputs, or a dict of them by name: tells ranks where the graph alone does not, names which
                    optional arguments are given, checks the traced graph against the untouched model, and lets a model that
                    symbolic tracing cannot take go through torch.export
    frontend        "auto"; "symbolic" or "export" to have that one alone
    freeze_gradients   factors, statistics, gates and c(x0) are constants to autograd: only x1 and the linear layers' own
                    parameters receive gradients through the interpreter branch
    in_place        the interpreter branch writes masks, gates and sums into values that nobody else reads, as an in-place ReLU does; False for a
                    graph without writes, which torch.func.vmap can also map over x0 alone

    x0 has a batch B in front, x1 K probes of it; both may be the same tensor. Parameters are shared with the model, which is
    not changed; the mode (train or eval) is the model's, baked in. The result is a plain ``torch.fx.GraphModule`` of
    PyTorch operators, differentiable, scriptable and exportable.

    Raises ``TraceFailure``, ``HookedModel``, ``UnsupportedOperator`` (all offenders at once), ``NoLinearPath``,
    ``PolicyError``, ``PlaceError``, and ``LawBroken`` where the traced graph differs from the model on ``example_inputs``.

    Source: "A Tour of Convolutional Networks Guided by Linear Interpreters", eq. 2, 3 and 5, Fig. 1 and 2.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    >>> x0 = torch.randn(1, 1, 8, 8)
    >>> y0, y1 = transform(model)(x0, torch.cat([x0, torch.zeros_like(x0)]))
    >>> torch.allclose(y1[:1], y0), torch.allclose(y1[1:], transform(model, "residual")(x0))
    (True, True)
    """
    if emit not in FORMS:
        raise ValueError(f"emit={emit!r}; it is one of {', '.join(FORMS)}")
    if probes not in PROBES:
        raise ValueError(
            f"probes={probes!r}; it is 'flat' for x1 of shape (K*B, ...) or 'stacked' for (K, B, ...)"
        )
    program = program_of(
        model, policy=policy, inputs=inputs, outputs=outputs, example_inputs=example_inputs, frontend=frontend
    )
    program.in_place = in_place
    gm = emit_graph(without_gradients(program) if freeze_gradients else program, emit, probes)
    gm.train(model.training)
    gm.meta["fxscope"]["constant"] = tuple(program.constant_outputs())
    return gm


def program_of(
    model: nn.Module,
    *,
    policy=None,
    inputs=None,
    outputs=None,
    example_inputs: tuple | dict | Example | None = None,
    frontend: str = "auto",
) -> Program:
    """The program (original graph and tape) of a model: all stages up to rewrite."""
    gm = canonical(model, example_inputs, frontend)
    if outputs is not None:
        _cut(gm, outputs)
    else:
        _main_output(gm)
    taps = probes_of(gm, inputs)
    policy = Policy.of(policy)
    policy.check(gm)
    classify(gm, [p.node for p in taps], policy)
    return rewrite(gm, taps)


def canonical(
    model: nn.Module, example_inputs: tuple | dict | Example | None = None, frontend: str = "auto"
) -> fx.GraphModule:
    """The traced and canonicalised graph of a model, checked against it where example inputs are at hand.

    frontend   "symbolic" (torch.fx.symbolic_trace), "export" (torch.export), or "auto": symbolic, and where that fails, or gives
               another function than the model's, export if there are example inputs
    """
    if frontend not in FRONTENDS:
        raise ValueError(f"frontend={frontend!r}; it is one of {', '.join(FRONTENDS)}")
    check_model(model)
    example = Example.of(example_inputs, model)
    if frontend == "export":
        return _exported(model, example)
    try:
        gm = _symbolic(model, example)
        if frontend == "symbolic":
            return gm
    except (TraceFailure, AliasingWrite, HookedModel, LawBroken) as error:
        if frontend == "symbolic":
            raise
        if example is None:
            raise _ask_for_example(error) from error
        _log.warning("%s goes through torch.export: %s", type(model).__name__, str(error).splitlines()[0])
        return _exported(model, example, error)
    return gm if example is None else _without_opaque(gm, model, example)


def _symbolic(model: nn.Module, example: Example | None) -> fx.GraphModule:
    if example is not None and any(
        isinstance(v, (list, tuple, dict)) for v in (*example.args, *example.kwargs.values())
    ):
        raise TraceFailure(
            f"{type(model).__name__} takes its inputs in a structure, which symbolic tracing sees as one"
        )
    gm = trace(model, None if example is None else example.given(model), tuple(registry().modules))
    gm = canonicalize(gm, model, None if example is None else _decider(gm, model, example))
    if example is not None:
        check_trace(gm, model, example)
    gm.meta.setdefault("frontend", {"name": "symbolic"})
    return gm


def _without_opaque(gm: fx.GraphModule, model: nn.Module, example: Example) -> fx.GraphModule:
    """The graph itself, or the exported one where it holds calls without a rule that export looks into: modules of torch.nn, wrapped functions."""
    left = sorted({_opaque(n, model) for n in gm.graph.nodes} - {""})
    if not left:
        return gm
    try:
        found = _exported(model, example)
    except TraceFailure:
        return gm  # classify names them, where they are on the path of a probe
    _log.warning("%s goes through torch.export: no rule for %s", type(model).__name__, ", ".join(left))
    return found


def _opaque(node: fx.Node, model: nn.Module) -> str:
    """The name of a module (attention, recurrence) or of a Python function (torch.fx.wrap) that no rule covers; "" for others."""
    if node.op == "call_module":
        return type(model.get_submodule(node.target)).__name__
    plain = node.op == "call_function" and isinstance(node.target, FunctionType)
    plain = plain and node.target.__module__.partition(".")[0] != "torch"
    return node.target.__name__ if plain and not info(node).rule else ""


def _exported(model: nn.Module, example: Example | None, earlier: Exception | None = None) -> fx.GraphModule:
    """Through torch.export: with the batch free, and where the model's code does not allow that, specialised to the example's sizes."""
    if example is None:
        raise TraceFailure(
            f"{type(model).__name__}: the export frontend runs the model's code; pass example_inputs=(x0,"
            " ...) to fxscope.transform"
        )
    try:
        return _checked_export(model, example, True)
    except (TraceFailure, LawBroken, RuntimeError, IndexError, TypeError):
        pass
    try:
        return _checked_export(model, example, False)
    except TraceFailure as error:
        raise TraceFailure(
            f"{error}" if earlier is None else f"{error}\nSymbolic tracing: {earlier}"
        ) from error


def _checked_export(model: nn.Module, example: Example, dynamic: bool) -> fx.GraphModule:
    program = export(model, example, dynamic)
    try:
        return _checked_lift(program, model, example)
    except (AliasingWrite, LawBroken):
        if not writes(program):
            raise
    return _checked_lift(decomposed(program), model, example)


def _checked_lift(
    program: torch.export.ExportedProgram, model: nn.Module, example: Example
) -> fx.GraphModule:
    gm = lift(program, model)
    gm = canonicalize(gm, model, _decider(gm, model, example))
    _settle_one_image(gm, model, example)
    unmet = broken(assumptions(gm), example.tensors(), input_names(gm))
    if unmet is not None:
        raise TraceFailure(
            f"the exported graph of {type(model).__name__} is not for its own example: {unmet}"
        )
    check_trace(gm, model, example)
    return gm


def _settle_one_image(gm: fx.GraphModule, model: nn.Module, example: Example) -> None:
    """Where an operator asked whether the batch is 1, a run on one image tells whether the graph is right there, too.

    An example of one image is that run itself. What the graph assumes is kept where it is not right, and in train mode,
    where the two are not compared.
    """
    known = assumptions(gm)
    if not any(a.doubtful for a in known) or any(m.training for m in model.modules()):
        return
    batched = {s.input for a in known if a.kind == CONDITION for s in a.value.sizes()}
    named = list(zip(input_names(gm), example.tensors()))
    if any(value.shape[0] != 1 for name, value in named if name in batched) and not _holds_for_one(
        gm, model, example, batched
    ):
        return
    gm.meta[KEY] = tuple(a for a in known if not a.doubtful)
    gm.meta["frontend"]["batch"] = batch_of(gm.meta[KEY], input_names(gm))


def _holds_for_one(gm: fx.GraphModule, model: nn.Module, example: Example, batched: set[str]) -> bool:
    cut = iter([name in batched for name in input_names(gm)])

    def first(value: Any) -> Any:
        return value[:1] if isinstance(value, torch.Tensor) and next(cut) else value

    try:
        check_trace(gm, model, Example(*pytree.tree_map(first, (example.args, example.kwargs))))
    except Exception as error:  # the model's own on one image, too
        _log.debug("%s is another function of one image: %s", type(model).__name__, error)
        return False
    return True


def _ask_for_example(error: Exception) -> Exception:
    return type(error)(
        f"{error}\nPass example_inputs=(x0, ...) to fxscope.transform (fxscope.interpret has them): the model"
        " then goes through torch.export"
    )


@leaves_unchanged
def places(model: nn.Module, example_inputs: tuple | dict | None = None) -> list[str]:
    """Names of the places that ``inputs=`` and ``outputs=`` take, in order of execution (torchvision's get_graph_node_names convention).

    Of the traced graph; of the exported one where only export takes the model, which needs ``example_inputs``.
    """
    try:
        return place_names(trace(model, None, tuple(registry().modules)))
    except TraceFailure as error:
        if example_inputs is None:
            raise _ask_for_example(error) from error
        return place_names(canonical(model, example_inputs))


def check_trace(gm: fx.GraphModule, model: nn.Module, example: Example) -> None:
    """Law 1 against the untouched model, in either mode under one seed; shapes are written on the nodes, and buffers stay as they were."""
    with torch.no_grad():
        with unchanged(model):
            got = _ran(gm, model, example)
        with unchanged(model):  # the same state, and the same draws
            expected = example.call(model)
    traced, own = tensors_of(got), tensors_of(expected)
    if len(traced) != len(own):
        raise LawBroken(
            f"the traced graph of {type(model).__name__} gives {len(traced)} tensors where the model gives"
            f" {len(own)}: a Python-side state or a branch is lost in tracing"
        )
    for a, b in zip(traced, own):
        _compare(type(model).__name__, a, b)


def _decider(gm: fx.GraphModule, model: nn.Module, example: Example) -> Decide:
    """What a pass needs to know of memory, seen on the example: of (call, argument), whether the result is in the argument's memory, and whether that is contiguous."""

    def decide(asked: list[tuple[fx.Node, fx.Node]]) -> dict[tuple[fx.Node, fx.Node], tuple[bool, bool]]:
        looker = _Looker(gm, asked)
        with torch.no_grad(), unchanged(model):
            try:
                looker.run(*example.clone().tensors())
            except Exception as error:
                raise TraceFailure(
                    f"the traced graph of {type(model).__name__} does not run on the example:"
                    f" {type(error).__name__}: {error}"
                ) from error
        return looker.told

    return decide


class _Looker(fx.Interpreter):
    """Runs a graph with its writes, on copies of what they write into, and looks where results lie in memory."""

    def __init__(self, gm: fx.GraphModule, asked: list[tuple[fx.Node, fx.Node]]):
        super().__init__(gm)
        self.asked, self.told = asked, {}

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if node.op == "get_attr" and isinstance(value, torch.Tensor):
            return value.clone()
        results = tensors_of(value)
        for call, argument in self.asked:
            if call is node:
                given = self.env[argument]
                shared = any(torch._C._is_alias_of(a, b) for a in results for b in tensors_of(given))
                self.told[call, argument] = (
                    shared,
                    isinstance(given, torch.Tensor) and given.is_contiguous(),
                )
        return value


def _ran(gm: fx.GraphModule, model: nn.Module, example: Example) -> Any:
    """The graph's output; one that does not run where the model does was not what the model is."""
    try:
        return _Recorder(gm).run(*example.clone().tensors())
    except Exception as error:
        example.call(model)  # the model's own error, where it has one
        reason = str(error).splitlines()[0] if str(error) else ""
        raise TraceFailure(
            f"the traced graph of {type(model).__name__} does not run on the example: {type(error).__name__}:"
            f" {reason}"
        ) from error


def _compare(name: str, traced: torch.Tensor, expected: torch.Tensor) -> None:
    """Refuse a traced graph whose output is further from the model's than rounding explains."""
    if not expected.is_floating_point() and not expected.is_complex():
        traced, expected = traced.double(), expected.double()  # booleans have no difference
    dtypes = traced.dtype == expected.dtype
    close = dict(
        rtol=1e-4,
        atol=1e-5 * float(expected.abs().nan_to_num().max()) if expected.numel() else 0.0,
        equal_nan=True,
    )
    same = traced.shape == expected.shape and dtypes and torch.allclose(traced, expected, **close)
    if not same:
        difference = (
            (traced - expected).abs().max().item() if traced.shape == expected.shape else float("nan")
        )
        raise LawBroken(
            f"the traced graph of {name} does not compute what the model computes: outputs differ by"
            f" {difference:.3g} where the largest is {expected.abs().max().item():.3g}. An in-place write to"
            " a view, a Python-side state or a value-dependent branch is lost in tracing"
        )


class _Recorder(fx.Interpreter):
    """Runs the canonical graph once and leaves every tensor's meta form on its node."""

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        if isinstance(value, torch.Tensor):
            node.meta["val"] = torch.empty_like(value, device="meta")
        return value


def tensors_of(value: Any) -> list[torch.Tensor]:
    """The floating tensors of an output structure (tuple, list, dict, dataclass), in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors_of(v)]
    if isinstance(value, (list, tuple)):
        return [t for v in value for t in tensors_of(v)]
    if hasattr(value, "__dataclass_fields__"):
        return [t for name in value.__dataclass_fields__ for t in tensors_of(getattr(value, name))]
    return []


def _main_output(gm: fx.GraphModule) -> None:
    """Of an output that is a Hugging Face ``ModelOutput`` only the main tensor is read: the logits, or what stands for them."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    value = output.args[0]
    if (
        isinstance(value, fx.Node)
        and is_structure(value)
        and any(base.__name__ == "ModelOutput" for base in value.target.__mro__)
    ):
        names = [n for n in MAIN_OUTPUTS if n in value.kwargs] or list(value.kwargs)
        output.args = (value.kwargs[names[0]],)
        gm.graph.eliminate_dead_code(is_impure_node=acts)


def main_output(y: Any) -> Any:
    """What ``transform`` reads of a model's output by default: all of it, or a ModelOutput's logits (see ``MAIN_OUTPUTS``)."""
    if not any(base.__name__ == "ModelOutput" for base in type(y).__mro__):
        return y
    return y[next((n for n in MAIN_OUTPUTS if y.get(n) is not None), next(iter(y)))]


def _cut(gm: fx.GraphModule, outputs: str | list[str] | dict[str, str]) -> None:
    """Make the graph end at the named places."""
    output = next(n for n in gm.graph.nodes if n.op == "output")
    if isinstance(outputs, str):
        result: Any = find_place(gm, outputs)
    elif isinstance(outputs, dict):
        result = {name: find_place(gm, place) for name, place in outputs.items()}
    else:
        result = tuple(find_place(gm, place) for place in outputs)
    output.args = (result,)
    gm.graph.eliminate_dead_code(is_impure_node=acts)
