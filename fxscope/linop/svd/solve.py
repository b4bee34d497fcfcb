"""``svd``: check the arguments, choose the method, and make the ``SVD`` record with its errors."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ...errors import FxscopeError, NotConverged
from ...graph.interpretation import check
from ...results.progress import steps as progress_bar
from .dense import dense
from .external import external
from .lanczos import lanczos
from .power import power
from .randomized import randomized
from .result import SVD
from .rows import Rows, unflatten
from .task import Task, Triplets

if TYPE_CHECKING:
    from ..linear import Operator

METHODS: dict[str, Callable[..., Triplets]] = {
    "lanczos": lanczos,
    "power": power,
    "randomized": randomized,
    "scipy": external,
    "dense": dense,
}


def svd(
    F: Operator,
    k: int,
    method: str | None = None,
    tol: float = 1e-5,
    seed: int = 0,
    progress: bool = True,
    start: SVD | None = None,
    max_passes: int | None = None,
    **options: Any,
) -> SVD:
    """See ``Operator.svd``."""
    _checked(F, k, method, tol, max_passes)
    began = time.perf_counter()
    chosen = method or ("dense" if min(F.shape) <= 2 * k + 8 else "lanczos")
    if F.spread.is_spread:
        if chosen not in ("lanczos", "dense") or start is not None:
            raise FxscopeError("over several processes svd takes the method 'lanczos' alone, and no start=")
        chosen = "lanczos"
    if start is not None and chosen not in ("lanczos", "dense"):
        raise FxscopeError(f"start= is for the method 'lanczos', not for {chosen!r}")
    if start is not None:
        check(start, "start=", "compute it again, without start=")
    with progress_bar(None, f"svd({k}): passes", progress) as bar:
        rows = Rows(F, bar)
        task = Task(k, float(tol), seed, max_passes or max(1000, 100 * k), start)
        try:
            found = METHODS[chosen](rows, task, **options)
        except TypeError as error:
            if "unexpected keyword" in str(error):
                raise _unknown(error, chosen) from error
            raise
    result = _record(F, found, rows, time.perf_counter() - began, chosen, task)
    if len(result) < k or not bool(result.converged.all()):
        lacking = k - int(result.converged.sum())
        warnings.warn(
            f"{lacking} of {k} triplets did not converge to tol={tol:g} within {rows.passes} passes"
            f" ({chosen}); .converged says which, .errors by how much",
            NotConverged,
            stacklevel=3,
        )
    return result


def _checked(F: Operator, k: Any, method: str | None, tol: float, max_passes: int | None) -> None:
    most = min(F.shape)
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= most:
        raise FxscopeError(f"k is from 1 to min(F.shape) = {most}, got {k!r}")
    if method is not None and method not in METHODS:
        raise FxscopeError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    if not tol >= 0 or (max_passes is not None and max_passes < 2):
        raise FxscopeError(
            f"tol is a relative residual and max_passes at least 2, got tol={tol!r},"
            f" max_passes={max_passes!r}"
        )


def _unknown(error: TypeError, method: str) -> FxscopeError:
    return FxscopeError(
        f"method {method!r} takes no such option:"
        f" {str(error).split('unexpected keyword argument')[-1].strip()}"
    )


def _record(F: Operator, found: Triplets, rows: Rows, seconds: float, method: str, task: Task) -> SVD:
    """The triplets in the units of F."""
    limit = torch.maximum(task.tol * found.s, 64 * torch.finfo(found.s.dtype).eps * found.s.max())
    errors = found.errors(rows.spread)
    forward_errors, adjoint_errors = (rows.unit * each for each in errors)
    upper = None if found.upper is None else _held(rows.unit * found.upper.double(), found.upper.dtype)
    return SVD(
        s=_held(rows.unit * found.s.double(), found.s.dtype),
        v=F.joined(_shaped(F.inputs, found.v), True),
        u=F.joined(_shaped(F.outputs, rows.sign * found.u), False),
        forward_errors=forward_errors,
        adjoint_errors=adjoint_errors,
        orthogonality=max(_orthogonality(w, rows) for w in (found.v, found.u)),
        converged=torch.maximum(*errors) <= limit,
        passes=rows.passes,
        seconds=seconds,
        method=method,
        tol=task.tol,
        seed=task.seed,
        info=found.info,
        origin=F.origin(),
        upper=upper,
        rest={} if rows.spread.is_spread else found.rest,
    )


def _held(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Values in the precision of F, or in double precision if that cannot hold all digits of the largest."""
    limits, largest = torch.finfo(dtype), float(values.max())
    return values.to(dtype) if largest == 0 or limits.tiny <= largest <= limits.max else values


def _shaped(space: Any, rows: torch.Tensor) -> Any:
    return space.unstack(unflatten(space, rows), (rows.shape[0],))


def _orthogonality(vectors: torch.Tensor, rows: Rows) -> float:
    found = rows.spread.inner(vectors, vectors)
    return float((found - torch.eye(len(found), dtype=found.dtype, device=found.device)).abs().max())
