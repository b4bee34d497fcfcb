"""Law 6: F is the derivative of the untouched model, where the policy or the network makes it so."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.fx as fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from ..emit.forward import upstream
from ..graph.interpreter import Recorder
from ..graph.ir import info
from ..passes.outputs import main_output, tensors_of
from ..passes.rewrite import Program
from ..rules import registry
from ..twins import BatchNorm, Constant, Offset
from . import laws
from .laws import Law, NotChecked, distance
from .structure import mapped, mapped_example, tensors_in

if TYPE_CHECKING:
    from .case import LawCase

QUOTIENT = 1e-5  # bound where only differences of values are an oracle
STEPS = (1e-4, 1e-5, 1e-6)  # of the central differences, over the largest value of x0


def law_6(s: LawCase) -> Law:
    """F v against torch's derivative of the untouched model.

    F is that of the program itself if its policy is "taylor" or every rule on its tape is piecewise linear,
    and otherwise that of the same network under policy "taylor".

    The derivative of an operator outside torch is what its author registered; ``torch.func`` takes a missing
    one as zero. So if F v and torch disagree, two more references are tried: reverse differentiation, then
    central differences of the model's values. If the differences do not settle, the law is broken for torch's
    own operators, and not checked for others.
    """
    own = s.policy == "taylor" or is_jacobian(s.program)
    program = s.program if own else s.remade(s.example, policy="taylor")
    statement = (
        "F v is the Jacobian-vector product" if own else "F v is the Jacobian-vector product (policy taylor)"
    )
    left_out = ", ".join(map(repr, program.constant_outputs()))
    statement += f" ({left_out} left out: it is a constant)" if left_out else ""
    bound, strangers, v = max([s.bound, *_loose(program)]), foreign(s), tuple(p[0] for p in s.probes)
    f = s if own else s.but(program=program)
    y = f.run("filter", *v)
    got = tensors_of(y)
    error = float("nan") if strangers else _forward_error(program, got, s, v)
    if error <= bound:
        return Law("law 6", statement, error, bound)
    pulled = _transposed(f, y)
    if pulled is not None and pulled <= bound:
        return Law("law 6", "F^T u is the vector-Jacobian product", pulled, bound)
    differences = _differences(s, v)
    if differences is not None and (
        strangers or _error(program, list(differences), _tangent(s, v)) > 10 * QUOTIENT
    ):
        return Law(
            "law 6",
            "F v is the limit of differences (torch's derivative is another)",
            _error(program, got, differences),
            QUOTIENT,
        )
    if strangers:
        raise NotChecked(
            f"torch's derivative of {', '.join(strangers)} is no oracle, and differences of the model's"
            " values do not settle"
        )
    return Law("law 6", statement, error, bound)


def is_jacobian(program: Program) -> bool:
    """Whether every twin is the derivative of its operator: piecewise linear, with no frozen gate."""
    return all(_exact(record) and not _keeps_value(program, record) for record in program.tape)


def _keeps_value(program: Program, record: Any) -> bool:
    """Whether a value that depends on the probe is frozen as a constant, as in x + softmax(x)."""
    value = record.twin.value if isinstance(record.twin, (Constant, Offset)) else None
    return isinstance(value, fx.Node) and any(p.node in upstream([value]) for p in program.probes)


def _exact(record: Any) -> bool:
    rule = registry().rules.get(record.rule)
    if rule is None:
        return False
    gated = any(
        label == "gate" and info(n).role in ("frozen", "affine") for n, label in record.twin.states().items()
    )
    linear = rule.piecewise or isinstance(record.twin, BatchNorm) or rule.verb == "product"
    return linear and not (gated and rule.verb in ("product", "linear"))


def foreign(s: LawCase) -> list[str]:
    """The operators outside torch that the model calls; torch may not know their derivatives."""
    with _Called() as called:
        s.exact()
    return sorted(called.names)


class _Called(TorchDispatchMode):
    """Records the operators outside torch's own namespaces."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if getattr(func, "namespace", "aten") not in ("aten", "prims", "prim"):
            self.names.add(str(func))
        return func(*args, **(kwargs or {}))


def _loose(program: Program) -> list[float]:
    """Bounds of the rules for which torch's own derivative is inexact."""
    used = {info(n).rule for n in program.gm.graph.nodes}
    return [rule.derivative[0] for name, rule in registry().rules.items() if name in used and rule.derivative]


def _affine(program: Program, values: list[torch.Tensor]) -> list[torch.Tensor]:
    """The floating output tensors that depend on the probe."""
    return [t for t in laws.of_probe(program, values) if t.is_floating_point()]


def _error(program: Program, got: list[torch.Tensor], expected: tuple[torch.Tensor, ...]) -> float:
    found, exact = _affine(program, got), _affine(program, list(expected))
    if len(found) != len(exact):
        raise NotChecked(f"the model gives {len(exact)} floating tensors and the graph {len(found)}")
    return distance([g.reshape(e.shape) for g, e in zip(found, exact)], exact)


def _forward_error(program: Program, got: list, s: LawCase, v: tuple) -> float:
    """The error against the forward derivative; NaN where torch has only the reverse one, once."""
    try:
        return _error(program, got, _tangent(s, v))
    except RuntimeError as error:
        if "derivative for" in str(error) and "is not implemented" in str(error):
            return float("nan")
        raise


def _tangent(s: LawCase, v: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """J v by ``torch.func``, or by reverse derivatives alone if an operator has no forward one."""
    with s.calm():
        return laws.jacobian_vector_product(_function(s), s.x, v)


def _transposed(s: LawCase, like: Any) -> float | None:
    """The largest error of F^T u against reverse differentiation; None if torch lacks the derivative."""
    u = mapped(lambda t: s.random(*t.shape, like=t), like)
    given, pulled = _affine(s.program, tensors_in(u)), s.run("adjoint", u)
    try:
        with s.calm(gradients=True), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*autograd kernel was not registered")
            x = tuple(t.detach().clone().requires_grad_() for t in s.x)
            y = _affine(s.program, list(_function(s)(*x)))
            given = [g.reshape(t.shape) for g, t in zip(given, y, strict=True)]
            found = torch.autograd.grad(y, x, given, materialize_grads=True)
    except (RuntimeError, ValueError, NotImplementedError, Warning):
        return None
    return distance(pulled, list(found))


def _differences(s: LawCase, v: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
    """Central differences of the model's values along v, once two step sizes agree; None if none do."""
    if s.x[0].dtype != torch.float64:
        return None
    function, scale = _function(s), max(t.abs().max().item() for t in s.x) or 1.0
    before: tuple[torch.Tensor, ...] | None = None
    for step in STEPS:
        h = step * scale
        with s.calm():
            ahead = function(*(t + h * d for t, d in zip(s.x, v)))
        with s.calm():
            behind = function(*(t - h * d for t, d in zip(s.x, v)))
        now = tuple(
            (a - b) / (2 * h) if a.is_floating_point() else a for a, b in zip(ahead, behind, strict=True)
        )
        if before is not None and distance(list(now), list(before)) <= QUOTIENT:
            return now
        before = now
    return None


def _function(s: LawCase) -> Callable:
    """The untouched model's outputs as a function of the probed inputs, or of the embedding of its tokens.

    If the probe enters, or the outputs lie, inside the network, the traced graph is used, for which law 1
    holds.
    """
    nodes = [p.node for p in s.program.probes]
    if s.outputs is None and s.places is not None:
        return _of_inputs(s, s.places)
    if s.outputs is None and len(nodes) == 1 and info(nodes[0]).rule == "embedding" and info(nodes[0]).module:
        return _of_embedding(s, info(nodes[0]).module)

    def run(*x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        values = dict(zip(nodes, x))
        with sdpa_kernel(SDPBackend.MATH):
            graph = Recorder(s.program.gm, replace=lambda node, value: values.get(node, value))
            return tuple(tensors_of(graph.run(*s.args)))

    return run


def _of_inputs(s: LawCase, places: list[int]) -> Callable:
    def run(*x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        probed, number = dict(zip(places, x, strict=True)), itertools.count()
        example = mapped_example(lambda t: probed.get(next(number), t), s.example)
        return tuple(tensors_of(main_output(example.call(s.model))))

    return run


def _of_embedding(s: LawCase, path: str) -> Callable:
    def run(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        handle = s.model.get_submodule(path).register_forward_hook(lambda module, inputs, output: x)
        try:
            return tuple(tensors_of(main_output(s.example.call(s.model))))
        finally:
            handle.remove()

    return run
