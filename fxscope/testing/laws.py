"""The laws as functions of emitted graphs: each returns the largest relative error.

K probes, B images; x0 of shape (B, ...), probes v of shape (K, B, ...), passed flat as (K*B, ...).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..graph.ir import info
from ..passes.outputs import tensors_of


@dataclass(frozen=True)
class Law:
    """One law with its largest relative error and its bound.

    If the law was not checked, ``skipped`` says why, and the error is NaN.
    """

    name: str
    statement: str
    error: float
    bound: float
    skipped: str = ""

    @property
    def ok(self) -> bool:
        """Whether it holds, or does not apply; an error that is NaN is broken."""
        return bool(self.skipped) or self.error <= self.bound

    @property
    def verdict(self) -> str:
        """One of "ok", "BROKEN" and "not checked"."""
        if self.skipped:
            return "not checked"
        return "ok" if self.ok else "BROKEN"


class NotChecked(Exception):
    """Why a law is not checked on a network: it does not apply, or there is nothing to compare with."""


def largest(errors: Iterable[float]) -> float:
    """The largest of some errors: infinite if one is NaN (which ``max`` would drop), 0 if there are none."""
    return max((float("inf") if e != e else float(e) for e in errors), default=0.0)


def distance(got: Any, expected: Any) -> float:
    """The largest of ``max |got - expected| / max |expected|`` over the tensors of two structures.

    Infinite if shapes differ, or if NaN and infinite values stand at different places.
    """
    found = [_distance(a, b) for a, b in zip(tensors_of(got), tensors_of(expected), strict=True)]
    return largest(found) if found else float("inf")


def _distance(a: torch.Tensor, b: torch.Tensor) -> float:
    if a.shape != b.shape or not _same_non_finite(a, b):
        return float("inf")
    finite = torch.isfinite(b)
    if not finite.any():
        return 0.0
    a, b = (t[finite] if t.is_floating_point() or t.is_complex() else t[finite].double() for t in (a, b))
    scale = b.abs().max().item()
    return (a - b).abs().max().item() / (scale if scale > 0 else 1.0)


def _same_non_finite(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether NaN and the infinities of either sign stand in the same places."""
    if not torch.equal(torch.isfinite(a), torch.isfinite(b)):
        return False
    if bool(torch.isfinite(b).all()):
        return True
    return torch.equal(torch.isnan(a), torch.isnan(b)) and bool(
        ((a == b) | torch.isfinite(b) | torch.isnan(b)).all()
    )


def law_1(pair: Callable, model: Callable, x0: torch.Tensor) -> float:
    """y0 is the untouched model's output."""
    return distance(pair(x0, x0)[0], model(x0.clone()))


def law_2(pair: Callable, x0: torch.Tensor) -> float:
    """x1 = x0 gives y1 = y0 (paper, eq. 3)."""
    y0, y1 = pair(x0, x0)
    return distance(_of_one_probe(y1, y0), y0)


def _of_one_probe(got: Any, expected: Any) -> list[torch.Tensor]:
    """Outputs of one probe in the shape of the model's: a number has K = 1 in front."""
    return [
        g.squeeze(0) if e.dim() == 0 else g
        for g, e in zip(tensors_of(got), tensors_of(expected), strict=True)
    ]


def law_3(
    filter: Callable, x0: torch.Tensor, u: torch.Tensor, v: torch.Tensor, a: float = 0.7, b: float = -1.3
) -> float:
    """Superposition: filter(a u + b v) = a filter(u) + b filter(v), and filter(0) = 0."""
    fu, fv = tensors_of(filter(x0, u)), tensors_of(filter(x0, v))
    zero = largest(t.abs().max().item() for t in tensors_of(filter(x0, torch.zeros_like(u))) if t.numel())
    return largest([zero, distance(filter(x0, a * u + b * v), [a * p + b * q for p, q in zip(fu, fv)])])


def law_4(pair: Callable, filter: Callable, residual: Callable, x0: torch.Tensor, v: torch.Tensor) -> float:
    """pair(x1) = filter(x1) + residual, for any number of probes."""
    y1, f, r = (tensors_of(t) for t in (pair(x0, v)[1], filter(x0, v), residual(x0)))
    return distance(y1, [a + tiled(c, a) for a, c in zip(f, r)])


def tiled(c: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """R of (B, ...) for every probe: (K*B, ...); an output without a batch gets K in front."""
    if c.shape == like.shape:
        return c
    if c.dim() == 0:
        return c.expand(like.shape)
    return c.repeat(like.shape[0] // c.shape[0], *[1] * (c.dim() - 1))


def law_12(filter: Callable, other: Callable, x0: torch.Tensor, v: torch.Tensor) -> float:
    """Two spellings of one function give the same F."""
    return distance(other(x0, v), filter(x0, v))


def non_finite(pair: Callable, x0: torch.Tensor) -> int:
    """At x1 = x0: how many entries of y1 are numbers where y0 is NaN or infinite. Must be none."""
    y0, y1 = pair(x0, x0)
    return sum(
        int(torch.isfinite(b[~torch.isfinite(a)]).sum()) for a, b in zip(tensors_of(y0), tensors_of(y1))
    )


def law_6(filter: Callable, model: Callable, x0: torch.Tensor, v: torch.Tensor) -> float:
    """F v is torch.func's Jacobian-vector product: piecewise-linear networks, and policy "taylor"."""
    tangent = jacobian_vector_product(lambda x: tuple(tensors_of(model(x))), x0, v)
    return distance(_of_one_probe(filter(x0, v), tangent), list(tangent))


def jacobian_vector_product(function: Callable, x0: Any, v: Any) -> tuple[torch.Tensor, ...]:
    """J v by ``torch.func.jvp``, or by reverse derivatives if an operator has no forward derivative.

    Operators such as grid_sample, or an old autograd.Function, have none: then u -> J^T u is differentiated.
    That form sees ``.detach()`` as a constant, so it is also the derivative of a network with detached
    factors.
    """
    with warnings.catch_warnings(), sdpa_kernel(SDPBackend.MATH):
        # torch.func scripts its own formulas
        warnings.filterwarnings("ignore", message=".*torch.jit", category=FutureWarning)
        try:
            return torch.func.jvp(function, _several(x0), _several(v))[1]
        except (NotImplementedError, RuntimeError):
            # no forward derivative, or running statistics that are written
            return twice_transposed(function, x0, v)


def twice_transposed(function: Callable, x0: Any, v: Any) -> tuple[torch.Tensor, ...]:
    """J v from reverse derivatives alone: <u, J v> = <J^T u, v>, whose gradient in u is J v."""
    with torch.enable_grad():
        x = tuple(t.detach().clone().requires_grad_() for t in _several(x0))
        y = function(*x)
        u = tuple(torch.zeros_like(t, requires_grad=True) for t in y)
        pulled = torch.autograd.grad(y, x, u, create_graph=True, materialize_grads=True)
        return torch.autograd.grad(pulled, u, _several(v), materialize_grads=True)


def _several(value: Any) -> tuple[torch.Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def law_9(gm: fx.GraphModule) -> list[str]:
    """Edges from the interpreter into the original branch, and undeclared ones between them: must be none."""
    bad = []
    for node in gm.graph.nodes:
        for source in node.all_input_nodes:
            if (
                node.op != "output"
                and info(source).branch == "interpreter"
                and info(node).branch == "original"
            ):
                bad.append(f"{source.name} -> {node.name}")
            if (
                info(source).branch == "original"
                and info(node).branch == "interpreter"
                and info(source).role != "const"
                and source.name not in info(node).freezes
            ):
                bad.append(f"{source.name} -> {node.name} is not declared")
    return bad


def law_11(
    graph: Callable,
    x0: torch.Tensor,
    probes: torch.Tensor,
    output: Callable = lambda y: y,
    images: bool = True,
) -> float:
    """Probes and images do not mix: a stack of K different probes of B images equals K*B single calls.

    ``images=False``: K calls of B images each, for networks in which images do mix (train-mode batch norm,
    sums over a batch).
    """
    together, worst = tensors_of(output(graph(x0, probes.flatten(0, 1)))), 0.0
    cuts = [slice(b, b + 1) for b in range(probes.shape[1])] if images else [slice(None)]
    for k in range(len(probes)):
        for cut in cuts:
            alone = output(graph(x0[cut], probes[k, cut]))
            parts = [w.unflatten(0, (len(probes), -1))[k][cut] if w.dim() else w for w in together]
            worst = largest([worst, distance(parts, alone)])
    return worst


def law_5(filter: Callable, adjoint: Callable, x0: torch.Tensor, u: torch.Tensor, v: Any) -> float:
    """Dot test: <F u, v> = <u, F^T v>, over the sum of the products' sizes."""
    fu, given = tensors_of(filter(x0, u)), tensors_of(v)
    left = sum((a * b).sum() for a, b in zip(fu, given, strict=True))
    right = (u * adjoint(x0, v)).sum()
    scale = float(sum((a * b).abs().sum() for a, b in zip(fu, given, strict=True)))
    return (left - right).abs().item() / (scale if scale > 0 else 1.0)


def law_8(row: Callable, x0: torch.Tensor, index: torch.Tensor) -> float:
    """<row, x0> + r_k = y0[index] for index of shape (K*B,), r_k summed from the network's own constants."""
    y0, rows, r = row(x0, index)
    K, B = index.numel() // x0.shape[0], x0.shape[0]
    expected = torch.stack([y0.flatten(1).gather(1, i[:, None])[:, 0] for i in index.view(K, B)])
    got = (rows.reshape(K, B, -1) * x0.flatten(1)).sum(-1) + r.view(K, B)
    return torch.where(got == expected, 0.0, got - expected).abs().max().item() / max(
        y0.abs().max().item(), 1e-300
    )
