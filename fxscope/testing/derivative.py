"""Law 6: F is the derivative of the untouched model, where the policy or the network makes it so."""

from __future__ import annotations

import warnings
from types import FunctionType
from typing import TYPE_CHECKING, Any, Callable

import torch
import torch.fx as fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from ..ir import info
from ..rewrite import Program
from ..rules import registry
from ..transform import main_output, tensors_of
from ..twins import BatchNorm
from . import laws
from .laws import Law, NotChecked, distance
from .structure import emitted, mapped, tensors_in

if TYPE_CHECKING:
    from .subject import Subject

QUOTIENT = 1e-5  # bound where only differences of values are an oracle
STEPS = (1e-4, 1e-5, 1e-6)  # of the central differences, over the largest value of x0


def law_6(s: "Subject") -> Law:
    """F v against torch's derivative of the untouched model.

    Of the program itself where the policy is "taylor" or every rule on its tape is piecewise linear; else of the same network's program
    under policy "taylor". Torch's derivative of an operator that is not its own is what its author registered, or nothing, which torch.func
    takes for zero: where it does not agree, central differences of the model's values decide, and where these do not settle nothing does.
    """
    own = s.policy == "taylor" or is_jacobian(s.program)
    program = s.program if own else s.remade(s.example, policy="taylor")
    statement = "F v is the Jacobian-vector product" if own else "F v is the Jacobian-vector product (policy taylor)"
    v = tuple(p[0] for p in s.probes)
    got = _floating(tensors_of(s.run(emitted(program, "filter", s.model), *v)))
    bound, strangers = max([s.bound, *_loose(program)]), foreign(program)
    if not strangers:
        return Law("law 6", statement, _error(got, _tangent(s, v)), bound)
    pulled = _transposed(s, program, v)
    if pulled is not None and pulled <= bound:
        return Law("law 6", f"{statement}, F^T u the transposed one", pulled, bound)
    if s.x[0].dtype != torch.float64:
        raise NotChecked(f"torch's derivative of {', '.join(strangers)} is no oracle, and differences of values need double precision")
    return Law("law 6", f"F v is the limit of differences (no derivative of {', '.join(strangers)})", _error(got, _differences(s, v, strangers)), QUOTIENT)


def is_jacobian(program: Program) -> bool:
    """Whether every twin of the tape is the derivative of what it stands for: piecewise-linear rules, and no gate frozen from x0."""
    return all(_exact(record) for record in program.tape)


def _exact(record: Any) -> bool:
    rule = registry().rules.get(record.rule)
    if rule is None:
        return False
    gated = any(label == "gate" and info(n).role in ("frozen", "affine") for n, label in record.twin.states().items())
    linear = rule.piecewise or isinstance(record.twin, BatchNorm) or rule.verb == "product"
    return linear and not (gated and rule.verb in ("product", "linear"))


def foreign(program: Program) -> list[str]:
    """Operators of the graph that are neither torch's nor written in its operators: a custom operator, a wrapped function."""
    return sorted({_name(n.target) for n in program.gm.graph.nodes if n.op == "call_function" and _is_foreign(n.target)})


def _is_foreign(target: Any) -> bool:
    if isinstance(target, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return not str(target).startswith(("aten.", "prims."))
    return isinstance(target, FunctionType) and not target.__module__.startswith(("torch.", "fxscope."))


def _name(target: Any) -> str:
    return str(target) if isinstance(target, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)) else target.__name__


def _loose(program: Program) -> list[float]:
    """Bounds of rules of which torch's own derivative is further from the exact one."""
    rules = registry().rules
    used = {info(n).rule for n in program.gm.graph.nodes} & rules.keys()
    return [rules[name].derivative[0] for name in used if rules[name].derivative]


def _floating(values: list[torch.Tensor]) -> list[torch.Tensor]:
    return [t for t in values if t.is_floating_point()]


def _error(got: list[torch.Tensor], expected: tuple[torch.Tensor, ...]) -> float:
    if len(got) != len(expected):
        raise NotChecked(f"the model gives {len(expected)} floating tensors and the graph {len(got)}")
    return distance([g.reshape(e.shape) for g, e in zip(got, expected)], list(expected))


def _tangent(s: "Subject", v: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """torch.func's derivative; by reverse derivatives alone where an operator has no forward one."""
    with s.calm():
        return laws.jacobian_vector_product(_function(s), s.x, v)


def _transposed(s: "Subject", program: Program, v: tuple[torch.Tensor, ...]) -> float | None:
    """The largest error of F^T u against reverse differentiation; None where torch cannot, or warns that it does not know the derivative."""
    u = mapped(lambda t: s.random(*t.shape, like=t), s.run(emitted(program, "filter", s.model), *v))
    given = _floating(tensors_in(u))
    pulled = s.run(emitted(program, "adjoint", s.model), u)
    try:
        with s.calm(gradients=True), warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*autograd kernel was not registered")
            x = tuple(t.detach().clone().requires_grad_() for t in s.x)
            y = _function(s)(*x)
            given = [g.reshape(t.shape) for g, t in zip(given, y, strict=True)]
            found = torch.autograd.grad(y, x, given, materialize_grads=True)
    except (RuntimeError, ValueError, NotImplementedError, Warning):
        return None
    return distance(pulled, list(found))


def _differences(s: "Subject", v: tuple[torch.Tensor, ...], strangers: list[str]) -> tuple[torch.Tensor, ...]:
    """Central differences of the model's values along v, where two steps of them agree."""
    function, scale = _function(s), max(t.abs().max().item() for t in s.x) or 1.0
    before: tuple[torch.Tensor, ...] | None = None
    for step in STEPS:
        h = step * scale
        with s.calm():
            ahead = function(*(t + h * d for t, d in zip(s.x, v)))
        with s.calm():
            behind = function(*(t - h * d for t, d in zip(s.x, v)))
        now = tuple((a - b) / (2 * h) for a, b in zip(ahead, behind, strict=True))
        if before is not None and distance(list(now), list(before)) <= QUOTIENT:
            return now
        before = now
    raise NotChecked(f"torch's derivative of {', '.join(strangers)} is no oracle, and differences of the model's values do not settle at this x0")


def _function(s: "Subject") -> Callable:
    """The untouched model's floating outputs as a function of the probed inputs, or of the embedding of its tokens.

    Where the probe enters or the outputs lie inside the network, it is the traced graph, of which law 1 holds.
    """
    nodes = [p.node for p in s.program.probes]
    if s.outputs is None and all(n.op == "placeholder" for n in nodes):
        return _of_inputs(s, nodes)
    if s.outputs is None and len(nodes) == 1 and info(nodes[0]).rule == "embedding" and info(nodes[0]).module:
        return _of_embedding(s, info(nodes[0]).module)
    return lambda *x: tuple(_floating(tensors_of(_Replaced(s.program.gm, dict(zip(nodes, x))).run(*s.args))))


def _of_inputs(s: "Subject", nodes: list[fx.Node]) -> Callable:
    places = [n for n in s.program.gm.graph.nodes if n.op == "placeholder"]
    leaves, spec = pytree.tree_flatten((s.example.args, s.example.kwargs))
    tensors = [i for i, v in enumerate(leaves) if isinstance(v, torch.Tensor)]
    at = [tensors[places.index(n)] for n in nodes]

    def run(*x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = [v.clone() if isinstance(v, torch.Tensor) else v for v in leaves]  # a model may write into its inputs
        for place, value in zip(at, x, strict=True):
            given[place] = value.clone()
        args, kwargs = pytree.tree_unflatten(given, spec)
        return tuple(_floating(tensors_of(main_output(s.model(*args, **kwargs)))))

    return run


def _of_embedding(s: "Subject", path: str) -> Callable:
    def run(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        handle = s.model.get_submodule(path).register_forward_hook(lambda module, inputs, output: x)
        try:
            return tuple(_floating(tensors_of(main_output(s.example.call(s.model)))))
        finally:
            handle.remove()

    return run


class _Replaced(fx.Interpreter):
    """Runs a graph with other values at some of its nodes."""

    def __init__(self, gm: fx.GraphModule, values: dict[fx.Node, torch.Tensor]):
        super().__init__(gm)
        self.values = values

    def run_node(self, node: fx.Node) -> Any:
        with sdpa_kernel(SDPBackend.MATH):
            value = super().run_node(node)
        return self.values.get(node, value)
