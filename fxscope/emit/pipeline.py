"""``fxscope.transform``: from a model to its linear interpreter's graph."""

from __future__ import annotations

import torch.fx as fx
from torch import nn

from ..errors import TraceFailure, UnknownRank, UnsupportedOperator
from ..frontend.example import Example
from ..frontend.exported import Exports
from ..frontend.places import place_names
from ..frontend.symbolic import trace
from ..frontend.unchanged import leaves_unchanged
from ..graph.arguments import checked
from ..graph.check import check_stage
from ..graph.ir import emitted
from ..passes.attempts import ask_for_example, canonical
from ..passes.classify import classify
from ..passes.dense import densify
from ..passes.known import Known
from ..passes.lists_of_one import lists_of_one
from ..passes.optimize import without_gradients
from ..passes.outputs import cut, keep_main_output, take_apart
from ..passes.policy import Policy
from ..passes.rewrite import Program, rewrite
from ..passes.taps import probes_of
from ..passes.unknown import UNKNOWN, written_out
from ..rules import registry
from . import FORMS
from . import emit as emit_graph
from .called import CheckedGraph
from .proof import prove_transpose

PROBES = ("flat", "stacked")


@checked
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
    unknown: str = "refuse",
    freeze_gradients: bool = False,
    in_place: bool = True,
) -> fx.GraphModule:
    """Rewrite a model into the graph of its linear interpreter.

    The pair graph computes the model and its interpreter side by side::

        scope = transform(model);   y0, y1 = scope(x0, x1)
        y1 = F(x0) x1 + r(x0),      x1 = x0  =>  y1 = y0

    x0 has a batch B in front, and x1 holds K probes of it; both may be the same tensor. Parameters are shared
    with the model, which is not changed. The mode (train or eval) is that of the model and is fixed in the
    graph.

    Parameters
    ----------
    model : torch.nn.Module
        The model to rewrite.
    emit : str
        The form of the graph:

        * "pair": (x0, x1) -> (y0, y1)
        * "filter": (x0, x1) -> F x1
        * "residual": x0 -> r
        * "adjoint": (x0, y2) -> F^T y2, with y2 in the structure of the outputs
        * "row": (x0, index) -> (y0, row, r_k), with <row, x0> + r_k = y0[index]; ``index`` is int64 of shape
          (K*B,) and holds positions in the flattened output of one image
        * "argmax": x0 -> (y0, index, row, r_k), for the largest output of every image
        * "record": x0 -> (y0, state), "replay": (state, x1) -> F x1, "pullback": (state, y2) -> F^T y2
    policy : str, dict or Policy, optional
        Which freezing rule applies where: a preset, {key: variant}, or a ``Policy``. The presets are
        "freeze" (that of the paper), "detach" (norms by their scale alone, gates frozen) and "taylor" (F is
        the Jacobian).
    inputs : str or list of str, optional
        The place or places that are probed, by the names that ``fxscope.places(model)`` lists. Default: the
        first input of the model. If that input holds integers, the default is the place where they become
        floating: the embedding of tokens, or a place that is found with ``example_inputs``.
    outputs : str, list of str or dict, optional
        The place that is read (default: the output of the model), or several as a list or as {name: place}.
    probes : str
        "flat": x1 has shape (K*B, ...), probe-major: the B images of the first probe, then those of the
        second. "stacked": x1 has shape (K, B, ...); this form exports with both K and B dynamic.
    example_inputs : tuple or dict, optional
        The inputs of the model, as a tuple or by name. With them the traced graph is checked against the
        untouched model, and a model that symbolic tracing cannot take goes through torch.export. They also
        give the number of dimensions of values where the graph alone does not tell it, and say which
        optional arguments are used.
    frontend : str
        "auto", or "symbolic" or "export" to use only that one.
    unknown : str
        What becomes of operators without a rule that PyTorch cannot write out in operators that have one.
        "refuse": an error names all of them. "taylor": their derivative at x0 stands for them (paper, eq. 4).
    freeze_gradients : bool
        If True, factors, statistics, gates and additive terms of x0 are constants to autograd: in the
        interpreter branch only x1 and the parameters of the linear layers receive gradients.
    in_place : bool
        If True, the interpreter branch writes masks, gates and sums into values that no other operator reads,
        as an in-place ReLU does. If False, the graph has no writes, and torch.func.vmap can also map over x0
        alone.

    Returns
    -------
    torch.fx.GraphModule
        A plain graph of PyTorch operators, differentiable, scriptable and exportable.

    Raises
    ------
    TraceFailure, HookedModel
        If no frontend can take the model.
    UnsupportedOperator
        If operators on the path of a probe have no rule; the message lists all of them.
    NoLinearPath, PolicyError, PlaceError
        If no output depends on a probe, or a policy or a place does not fit the model.
    LawBroken
        If the traced graph differs from the model on ``example_inputs``.

    References
    ----------
    "A Tour of Convolutional Networks Guided by Linear Interpreters", eq. 2, 3 and 5, Fig. 1 and 2.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
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
        model,
        policy=policy,
        inputs=inputs,
        outputs=outputs,
        example_inputs=example_inputs,
        frontend=frontend,
        unknown=unknown,
    )
    program.say_constants(type(model).__name__)
    program.in_place = in_place
    gm = graph_of(without_gradients(program) if freeze_gradients else program, emit, probes)
    emitted(gm)["policy"] = str(policy or "freeze")
    return gm.train(model.training)


def graph_of(program: Program, emit: str, probes: str = "flat") -> fx.GraphModule:
    """The graph of a program in one of the forms, as ``transform`` gives it."""
    gm = emit_graph(program, emit, probes)
    emitted(gm)["constant"] = tuple(program.constant_outputs())
    emitted(gm)["linearised"] = program.linearised()
    check_stage(gm, "emitted")
    checked = CheckedGraph(gm, gm.graph, type(gm).__name__)
    checked.meta.update(gm.meta)
    return checked


@checked
@leaves_unchanged
def places(model: nn.Module, example_inputs: tuple | dict | None = None) -> list[str]:
    """List the names of the places that ``inputs=`` and ``outputs=`` take.

    Names follow the convention of torchvision's ``get_graph_node_names``.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    example_inputs : tuple or dict, optional
        The inputs of the model. They are needed if only torch.export can take the model.

    Returns
    -------
    list of str
        Names of the places, in order of execution.
    """
    Example.of(example_inputs, model)
    try:
        return place_names(trace(model, None, tuple(registry().modules), Known(model)))
    except (TraceFailure, UnknownRank) as error:
        if example_inputs is None:
            raise ask_for_example(error) from error
        return place_names(canonical(model, example_inputs))


def program_of(
    model: nn.Module,
    *,
    policy: str | dict | Policy | None = None,
    inputs: str | list[str] | None = None,
    outputs: str | list[str] | dict[str, str] | None = None,
    example_inputs: tuple | dict | Example | None = None,
    frontend: str = "auto",
    unknown: str = "refuse",
) -> Program:
    """Run all stages up to rewrite: the program (original graph and tape) of a model."""
    if unknown not in UNKNOWN:
        raise ValueError(f"unknown={unknown!r}; it is one of {', '.join(UNKNOWN)}")

    def finish(gm: fx.GraphModule) -> Program:
        return _program(gm, inputs, outputs, Policy.of(policy))

    with Exports():
        try:
            return finish(canonical(model, example_inputs, frontend))
        except UnsupportedOperator as error:
            if frontend == "symbolic":
                raise
            example = Example.of(example_inputs, model)
            if example is None:
                raise ask_for_example(error) from error
            program = written_out(model, example, finish, unknown, error)
            prove_transpose(program, model, example)
            return program


def _program(gm: fx.GraphModule, inputs, outputs, policy: Policy) -> Program:
    """The program of a canonical graph."""
    if outputs is not None:
        cut(gm, outputs)
    else:
        keep_main_output(gm)
    take_apart(gm)
    densify(gm)
    taps = probes_of(gm, inputs)
    lists_of_one(gm)
    policy.check(gm)
    check_stage(gm, "canonical")
    classify(gm, [p.node for p in taps], policy)
    check_stage(gm, "classified")
    program = rewrite(gm, taps)
    check_stage(program.gm, "classified")
    return program
