"""``fxscope.transform``: from a model to its linear interpreter's graph."""

from __future__ import annotations

import torch.fx as fx
from torch import nn

from ..errors import TraceFailure
from ..frontend.example import Example
from ..frontend.places import place_names
from ..frontend.symbolic import trace
from ..frontend.unchanged import leaves_unchanged
from ..passes.attempts import ask_for_example, canonical
from ..passes.classify import classify
from ..passes.optimize import without_gradients
from ..passes.outputs import cut, keep_main_output
from ..passes.policy import Policy
from ..passes.rewrite import Program, rewrite
from ..passes.taps import probes_of
from ..rules import registry
from . import FORMS
from . import emit as emit_graph

PROBES = ("flat", "stacked")


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


@leaves_unchanged
def places(model: nn.Module, example_inputs: tuple | dict | None = None) -> list[str]:
    """Names of the places that ``inputs=`` and ``outputs=`` take, in order of execution (torchvision's get_graph_node_names convention).

    Of the traced graph; of the exported one where only export takes the model, which needs ``example_inputs``.
    """
    try:
        return place_names(trace(model, None, tuple(registry().modules)))
    except TraceFailure as error:
        if example_inputs is None:
            raise ask_for_example(error) from error
        return place_names(canonical(model, example_inputs))


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
        cut(gm, outputs)
    else:
        keep_main_output(gm)
    taps = probes_of(gm, inputs)
    policy = Policy.of(policy)
    policy.check(gm)
    classify(gm, [p.node for p in taps], policy)
    return rewrite(gm, taps)
