"""Method "scipy": ``scipy.sparse.linalg.svds`` over the same operator, for comparison."""

from __future__ import annotations

import numpy as np
import torch

from ...errors import FxscopeError
from ..scale import norms
from .rows import Rows
from .task import Task, Triplets

SOLVERS = ("arpack", "propack", "lobpcg")


def external(rows: Rows, task: Task, solver: str = "arpack") -> Triplets:
    """The k largest triplets by ``svds``, which defines ``tol`` itself; 2 k more passes give the errors."""
    if solver not in SOLVERS:
        raise FxscopeError(f"solver is one of {', '.join(SOLVERS)}, got {solver!r}")
    try:
        from scipy.sparse.linalg import ArpackNoConvergence, svds
    except ModuleNotFoundError as error:
        raise FxscopeError("method='scipy' needs scipy: pip install 'fxscope[scipy]'") from error
    if task.k >= min(rows.n, rows.N):
        raise FxscopeError(
            f"scipy's svds takes k < min(F.shape) = {min(rows.n, rows.N)}, got k={task.k}; method='dense'"
            " takes all"
        )
    operator = linear_operator(rows)
    steps = max(1, (task.max_passes - rows.passes) // 2)
    try:
        u, s, vt = svds(
            operator, k=task.k, tol=task.tol, solver=solver, maxiter=steps, random_state=task.seed
        )
    except ArpackNoConvergence as error:
        u, s, vt = _partial(error, rows)
    except np.linalg.LinAlgError as error:
        raise FxscopeError(
            f"{solver} gave up: {error}; raise max_passes={task.max_passes} or take the default method"
        ) from error
    order = np.argsort(s)[::-1]
    v, u = (
        torch.as_tensor(np.ascontiguousarray(m[order]), dtype=rows.dtype, device=rows.F.device)
        for m in (vt, u.T)
    )
    s = torch.as_tensor(s[order].copy(), dtype=rows.dtype, device=rows.F.device)
    solved = rows.passes
    return Triplets(
        s=s,
        v=v,
        u=u,
        Fv=rows.forward(v),
        Ftu=rows.adjoint(u),
        info={"solver": solver, "solver_passes": solved},
    )


def linear_operator(rows: Rows):
    """The rows as a scipy ``LinearOperator``, whose products are counted."""
    from scipy.sparse.linalg import LinearOperator

    def through(product):
        def apply(vectors: np.ndarray) -> np.ndarray:
            flat = vectors.ndim == 1
            given = torch.as_tensor(
                np.ascontiguousarray(np.atleast_2d(vectors.T)), dtype=rows.dtype, device=rows.F.device
            )
            found = product(given).cpu().numpy().T
            return found[:, 0] if flat else found

        return apply

    forward, adjoint = through(rows.forward), through(rows.adjoint)
    return LinearOperator(
        (rows.N, rows.n),
        matvec=lambda v: forward(v.reshape(-1)),
        rmatvec=lambda v: adjoint(v.reshape(-1)),
        matmat=forward,
        rmatmat=adjoint,
        dtype=np.dtype(str(rows.dtype).removeprefix("torch.")),
    )


def _partial(error, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Triplets from the eigenvectors of the smaller Gram matrix that arpack had when it stopped."""
    if not len(error.eigenvalues):
        raise FxscopeError(
            "arpack found nothing within max_passes; raise it or take the default method"
        ) from error
    given = torch.as_tensor(error.eigenvectors.T.copy(), dtype=rows.dtype, device=rows.F.device)
    other = rows.adjoint(given) if rows.n > rows.N else rows.forward(given)
    s = norms(other)
    small, large = given.cpu().numpy(), (other / s[:, None]).to(given).cpu().numpy()
    return (small.T, s.cpu().numpy(), large) if rows.n > rows.N else (large.T, s.cpu().numpy(), small)
