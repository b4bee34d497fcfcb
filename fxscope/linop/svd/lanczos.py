"""The default: Golub-Kahan-Lanczos with thick restart and full reorthogonalisation, in block form."""

from __future__ import annotations

import math
import time

import torch
from torch.utils import _pytree as pytree

from ...errors import FxscopeError, ShapeError
from .krylov import DEFLATED, Basis
from .result import SVD
from .rows import Rows, decomposed, flatten
from .search import Search
from .task import Task, Triplets

BLOCKS = (1, 8, 16, 32, 64)
BUDGET = 2 << 30  # bytes that the basis may take before it is restarted


def lanczos(rows: Rows, task: Task, block: int | None = None, look: int | None = None) -> Triplets:
    """The k largest triplets from the Krylov space of F^T F (of F F^T where F has fewer rows than columns).

    block   vectors that go through the network together. 1 takes the fewest passes, and is the default on a CPU; more pays
            where a pass of several costs less than as many passes of one: on other devices that is timed first.
    look    steps, at most, from a fresh random vector after everything has converged. A Krylov space holds one copy of a repeated
            value (``block`` copies); a further copy shows in the fresh chain, and the search goes on. The look ends where the risk of a
            hidden copy is small (``info["risk"]``). Default: half of all steps, or none where a copy is improbable and it is dear to
            find out (``Search._steps``); 0 is off.
    Two passes a vector; the errors are those of the last Ritz vectors, known without a further pass. The basis is restarted
    only where it would take more than ``BUDGET``: while it fits, not restarting takes the fewest passes.
    Source: Golub & Kahan (1965); Baglama & Reichel, SIAM J. Sci. Comput. 27 (2005).
    """
    block = block if block is not None else _timed_block(rows, task)
    if 2 * block > task.max_passes or block < 1:
        raise FxscopeError(f"block={block} takes {2 * block} passes a step, max_passes is {task.max_passes}")
    basis = Basis(rows, _capacity(rows, task.k, block), _generator(task))
    _start(basis, rows, task, block)
    search = Search(basis, rows, task, block)
    search.run(look)
    info = {
        "block": block,
        "restarts": search.restarts,
        "steps": search.steps,
        "look": search.look,
        "looked": search.looked,
        "risk": search.risk,
    }
    return _triplets(basis, rows, task, info)


def _generator(task: Task) -> torch.Generator:
    """Other vectors than those an earlier result began with, whose space is known."""
    return torch.Generator().manual_seed(task.seed + (0 if task.start is None else task.start.passes))


def _timed_block(rows: Rows, task: Task) -> int:
    """1 on a CPU, where K probes cost K passes; else what a forward pass of each size says, for about sqrt(block) times the passes."""
    if rows.F.device.type == "cpu":
        return 1
    sizes = [
        b for b in BLOCKS if b == 1 or b <= min(rows.F.chunk, min(rows.n, rows.N) // 4, task.max_passes // 8)
    ]
    return min(sizes, key=lambda b: _seconds(rows, b) / b**0.5)


def _seconds(rows: Rows, count: int) -> float:
    """Of one pass of ``count`` probes, the second time; the reading of a number waits for the device."""
    probes = rows.zeros(count, rows.n)
    for _ in range(2):
        start = time.perf_counter()
        float(rows.forward(probes)[0, 0])
        taken = time.perf_counter() - start
    return taken


def _capacity(rows: Rows, k: int, block: int) -> int:
    """Rows of the basis: what ``BUDGET`` holds, and what a dense eigenproblem of that size is worth."""
    size = (rows.n + rows.N) * torch.finfo(rows.dtype).bits // 8
    return max(2 * k + 4 * block + 8, min(BUDGET // size, max(10 * k, 400) + 4 * block))


def _start(basis: Basis, rows: Rows, task: Task, block: int) -> None:
    """Random rows; with an earlier result its triplets where they are those of this F, and else its vectors as a guess."""
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
    """Its vectors of the smaller and of the larger side, as rows, and its values."""
    F = basis.turned.rows.F
    if [tuple(t.shape[1:]) for t in pytree.tree_leaves((start.v, start.u))] != [
        *F.inputs.shapes,
        *F.outputs.shapes,
    ]:
        raise ShapeError(f"start= is the decomposition of another operator: F is {F}")
    v, u = (
        flatten(space, space.stack(vectors)[0]).to(F.device, F.dtype)
        for space, vectors in ((F.inputs, start.v), (F.outputs, start.u))
    )
    small, large = (u, v) if basis.turned.swapped else (v, u)
    return small, basis.turned.rows.sign * large, start.s.to(v.device)


def _same(basis: Basis, small: torch.Tensor, large: torch.Tensor, s: torch.Tensor) -> bool:
    """Whether F maps the vectors as the result says: one pass, of a combination of all."""
    weights = torch.ones(1, len(s)).to(small) / len(s) ** 0.5
    found = basis.turned.forward(weights @ small).double()
    s = s.double() / basis.turned.rows.unit  # which that product tells
    expected = weights.double() @ (s[:, None] * large.double())
    return bool((found - expected).norm() <= 1e4 * basis.turned.rows.epsilon * s.max() < math.inf)


def _triplets(basis: Basis, rows: Rows, task: Task, info: dict) -> Triplets:
    """The Ritz vectors, made exact on their span: F v = s u to rounding, and F^T u from H."""
    k = min(task.k, basis.done)
    theta, Y = basis.ritz()
    Y = Y[:, :k]
    # squared, the small values drown; A itself still has them
    if theta[k - 1] < 1e4 * rows.epsilon * theta[0]:
        Y = decomposed(basis.A[: basis.done].T)[2][:k].T.double().cpu().numpy()
    small = torch.as_tensor(Y.T.copy()).to(basis.A)
    Q, s, left = decomposed(small @ basis.A[: basis.done])
    Z = Q.T @ small
    v = Z @ basis.V[: basis.done]
    back = torch.as_tensor((basis.H[: basis.total, : basis.done] @ Z.T.double().cpu().numpy()).T.copy()).to(
        basis.A
    )
    Ftu = back @ basis.V[: basis.total] / s[:, None].clamp_min(torch.finfo(s.dtype).tiny)
    weak = s < 1e-4 * s[0] if s[0] > 0 else torch.ones_like(s, dtype=torch.bool)
    if weak.any():  # F^T u = F^T F v / s has lost its digits: ask the network
        Ftu[weak] = basis.turned.adjoint(left[weak])
    found = {"v": v, "u": left, "Fv": Z @ basis.A[: basis.done], "Ftu": Ftu}
    if basis.turned.swapped:
        found = {"u": v, "v": left, "Ftu": found["Fv"], "Fv": Ftu}
    border = back[:, basis.done :].T / s[0] ** 2 if basis.waiting and not weak.any() else None
    rest = (
        {}
        if border is None
        else {"waiting": basis.V[basis.done : basis.total].clone(), "border": border.contiguous()}
    )
    return Triplets(s=s, info=info, rest=rest, **found)
