"""What the laws are said and measured with: a law's line, relative distances, and torch's own derivative."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..passes.outputs import tensors_of
from ..passes.rewrite import Program
from ..results.display import Displayed


@dataclass(frozen=True, repr=False)
class Law(Displayed):
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

    def _said(self) -> Iterable[str]:
        measured = self.skipped or f"error {self.error:.2e}, bound {self.bound:.0e}"
        return [self.name, self.statement, f"{self.verdict}: {measured}"]


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


def reshaped(tensors: Iterable[torch.Tensor], like: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """The tensors in the shapes of others: a number of one probe, (1,), becomes one of the model, ()."""
    return [a.reshape(b.shape) for a, b in zip(tensors, like, strict=True)]


def of_probe(program: Program, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """The output tensors that depend on the probe; a constant one, such as a softmax, is no part of F."""
    nodes = program.tensors()
    if len(nodes) != len(tensors):
        raise NotChecked(f"the outputs are {len(tensors)} tensors, and those of the graph are {len(nodes)}")
    return [t for t, node in zip(tensors, nodes) if node in program.affine]


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
