"""Method "lanczos", the default: Golub-Kahan-Lanczos, thick restart, full reorthogonalisation, blocks."""

from __future__ import annotations

import math
import time

import torch
from torch.utils import _pytree as pytree

from ...errors import FxscopeError, ShapeError
from .krylov import DEFLATED, Basis
from .result import SVD
from .rows import Rows, flatten
from .search import Search
from .task import Task, Triplets

BLOCKS = (1, 8, 16, 32, 64)
BUDGET = 2 << 30  # the basis is restarted before it takes more bytes


def lanczos(rows: Rows, task: Task, block: int | None = None, look: int | None = None) -> Triplets:
    """The k largest triplets from the Krylov space of F^T F (of F F^T if F has fewer rows than columns).

    A step takes two passes for each vector. The errors of the Ritz vectors are known without a further pass.
    The basis is restarted only if it would take more than ``BUDGET``, because a restart costs passes.

    Parameters
    ----------
    block : int, optional
        Number of vectors that go through the network together. 1, the default on a CPU, takes the fewest
        passes. More are faster where a pass of several vectors costs less than as many passes of one. On
        other devices the block is chosen by timing a pass of each size.
    look : int, optional
        Largest number of steps of the multiplicity check, which searches for copies of repeated values after
        all values have converged; 0 turns it off. The default is half of the steps so far, or 0 if a copy is
        improbable and the check is expensive. ``info["risk"]`` bounds the probability that a copy is missing.

    References
    ----------
    Golub & Kahan, SIAM J. Numer. Anal. 2 (1965).
    Baglama & Reichel, SIAM J. Sci. Comput. 27 (2005).
    """
    block = block if block is not None else _timed_block(rows, task)
    if 2 * block > task.max_passes or block < 1:
        raise FxscopeError(f"block={block} takes {2 * block} passes a step, max_passes is {task.max_passes}")
    basis = Basis(rows, _capacity(rows, task.k, block), _generator(task))
    _start(basis, rows, task, block)
    search = Search(basis, rows, task, block, look)
    search.run()
    info = {
        "block": block,
        "restarts": search.restarts,
        "steps": search.steps,
        "look": search.check.limit,
        "looked": search.check.passed,
        "risk": search.check.risk,
    }
    return _triplets(basis, rows, task, info)


def _generator(task: Task) -> torch.Generator:
    """Random vectors that differ from those of the earlier result, whose space is known already."""
    return torch.Generator().manual_seed(task.seed + (0 if task.start is None else task.start.passes))


def _timed_block(rows: Rows, task: Task) -> int:
    """The block: 1 on a CPU, where K probes cost K passes; else chosen by timing a forward pass of each size.

    A block is assumed to need sqrt(block) times as many passes as single vectors.
    """
    if rows.F.device.type == "cpu" or rows.spread.is_spread:  # times differ between processes
        return 1
    sizes = [
        b for b in BLOCKS if b == 1 or b <= min(rows.F.chunk, min(rows.n, rows.N) // 4, task.max_passes // 8)
    ]
    return min(sizes, key=lambda b: _seconds(rows, b) / b**0.5)


def _seconds(rows: Rows, count: int) -> float:
    """Time of the second of two passes with ``count`` probes; ``float`` waits for the device."""
    probes = rows.zeros(count, rows.n)
    for _ in range(2):
        start = time.perf_counter()
        float(rows.forward(probes)[0, 0])
        taken = time.perf_counter() - start
    return taken


def _capacity(rows: Rows, k: int, block: int) -> int:
    """The most rows of the basis, by memory (``BUDGET``) and by the cost of the dense eigenproblem."""
    size = (rows.n + rows.N) * torch.finfo(rows.dtype).bits // 8
    return max(2 * k + 4 * block + 8, min(BUDGET // size, max(10 * k, 400) + 4 * block))


def _start(basis: Basis, rows: Rows, task: Task, block: int) -> None:
    """Fill the basis with random rows, or with the vectors of an earlier result.

    If the earlier result is of this F, its triplets are used; else its vectors are a guess.
    """
    if task.start is not None:
        small, large, s = _earlier(task.start, basis)
        if _same(basis, small, large, s):
            s = s.double() / rows.unit
            basis.resume(small, (large * s[:, None]).to(large), s, task.start.rest)
        else:
            basis.append(small, DEFLATED * rows.epsilon)
    if basis.waiting < block:
        basis.refill(block - basis.waiting)


def _earlier(start: SVD, basis: Basis) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Vectors of the smaller and of the larger side, as rows, and values of an earlier result."""
    F = basis.short.rows.F
    if [tuple(t.shape[1:]) for t in pytree.tree_leaves((start.v, start.u))] != [
        *F.inputs.shapes,
        *F.outputs.shapes,
    ]:
        raise ShapeError(f"start= is the decomposition of another operator: F is {F}")
    v, u = (
        flatten(space, space.stack(vectors)[0]).to(F.device, F.dtype)
        for space, vectors in ((F.inputs, start.v), (F.outputs, start.u))
    )
    small, large = (u, v) if basis.short.swapped else (v, u)
    return small, basis.short.rows.sign * large, start.s.to(v.device)


def _same(basis: Basis, small: torch.Tensor, large: torch.Tensor, s: torch.Tensor) -> bool:
    """Whether F maps the vectors as the result says; takes one pass with a combination of all vectors."""
    weights = torch.ones(1, len(s)).to(small) / len(s) ** 0.5
    found = basis.short.forward(weights @ small).double()
    s = s.double() / basis.short.rows.unit  # known after the product
    expected = weights.double() @ (s[:, None] * large.double())
    return bool((found - expected).norm() <= 1e4 * basis.short.rows.epsilon * s.max() < math.inf)


def _triplets(basis: Basis, rows: Rows, task: Task, info: dict) -> Triplets:
    """The singular triplets of F on the Ritz vectors: F v = s u to rounding, and F^T u from H."""
    k = min(task.k, basis.done)
    theta, Y = basis.ritz()
    Y = Y[:, :k]
    # rounding hides small values in H, which holds their squares, but not in A
    if theta[k - 1] < 1e4 * rows.epsilon * theta[0]:
        Y = rows.decomposed(basis.A[: basis.done].T)[2][:k].T.double().cpu().numpy()
    small = torch.as_tensor(Y.T.copy()).to(basis.A)
    Q, s, left = rows.decomposed(small @ basis.A[: basis.done])
    Z = Q.T @ small
    v = Z @ basis.V[: basis.done]
    back = torch.as_tensor((basis.H[: basis.total, : basis.done] @ Z.T.double().cpu().numpy()).T.copy()).to(
        basis.A
    )
    Ftu = back @ basis.V[: basis.total] / s[:, None].clamp_min(torch.finfo(s.dtype).tiny)
    weak = s < 1e-4 * s[0] if s[0] > 0 else torch.ones_like(s, dtype=torch.bool)
    if weak.any():  # F^T u = F^T F v / s has lost its digits: compute it with the network
        Ftu[weak] = basis.short.adjoint(left[weak])
    found = {"v": v, "u": left, "Fv": Z @ basis.A[: basis.done], "Ftu": Ftu}
    if basis.short.swapped:
        found = {"u": v, "v": left, "Ftu": found["Fv"], "Fv": Ftu}
    border = back[:, basis.done :].T / s[0] ** 2 if basis.waiting and not weak.any() else None
    rest = (
        {}
        if border is None
        else {"waiting": basis.V[basis.done : basis.total].clone(), "border": border.contiguous()}
    )
    return Triplets(s=s, info=info, rest=rest, **found)
