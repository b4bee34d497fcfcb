"""The default: Golub-Kahan-Lanczos with thick restart and full reorthogonalisation, in block form."""

from __future__ import annotations

import time

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ...errors import FxscopeError, ShapeError
from .krylov import DEFLATED, Basis
from .result import SVD
from .rows import Rows, decomposed, flatten
from .task import Task, Triplets

BLOCKS = (1, 8, 16, 32, 64)
BUDGET = 2 << 30  # bytes that the basis may take before it is restarted


def lanczos(rows: Rows, task: Task, block: int | None = None, look: int | None = None) -> Triplets:
    """The k largest triplets from the Krylov space of F^T F (of F F^T where F has fewer rows than columns).

    block   vectors that go through the network together. 1 takes the fewest passes, and is the default on a CPU; more pays
            where a pass of several costs less than as many passes of one: on other devices that is timed first.
    look    steps from a fresh random vector after everything has converged. A Krylov space holds one copy of a repeated
            value (``block`` copies); a further copy that is larger than what was found shows in the fresh chain, and the
            search goes on. Default: as many as the first chain took to see a value that large, and a quarter more; 0 is off.
    Two passes a vector; the errors are those of the last Ritz vectors, known without a further pass. The basis is restarted
    only where it would take more than ``BUDGET``: while it fits, not restarting takes the fewest passes.
    Source: Golub & Kahan (1965); Baglama & Reichel, SIAM J. Sci. Comput. 27 (2005).
    """
    block = block if block is not None else _timed_block(rows, task)
    if 2 * block > task.max_passes or block < 1:
        raise FxscopeError(f"block={block} takes {2 * block} passes a step, max_passes is {task.max_passes}")
    basis = Basis(rows, _capacity(rows, task.k, block), _generator(task))
    _start(basis, rows, task, block)
    run = _Run(basis, rows, task, block, 0 if task.start is None or basis.done else basis.waiting)
    while run.affordable and not run.converged():
        run.step()
    while run.steps and run.affordable and run.converged() and not run.second_look(look):
        while run.affordable and not run.converged():
            run.step()
    return _triplets(basis, rows, task, {"block": block, "restarts": run.restarts, "steps": run.steps, "look": run.look})


def _generator(task: Task) -> torch.Generator:
    """Other vectors than those an earlier result began with, whose space is known."""
    return torch.Generator().manual_seed(task.seed + (0 if task.start is None else task.start.passes))


class _Run:
    """The steps of one call: when they end, and what they have seen."""

    def __init__(self, basis: Basis, rows: Rows, task: Task, block: int, given: int):
        self.basis, self.rows, self.task, self.block = basis, rows, task, block
        self.given = given  # rows of another F's result: nothing points to exact ones, so they are multiplied first
        self.restarts = self.steps = 0
        self.look = 0 if task.start is None else task.start.info.get("look", 10)
        self.largest: list[float] = []  # of F^T F, after every step

    @property
    def affordable(self) -> bool:
        return self.rows.passes + 2 * self.block <= self.task.max_passes

    def step(self, newest: bool = False) -> None:
        """Multiply the waiting rows that the wanted vectors point to most, or the newest ones."""
        if self.basis.waiting > self.block and self.basis.done >= self.given:
            towards = np.arange(self.basis.waiting) if newest else np.linalg.norm(self.basis.left(self.basis.ritz()[1][:, : self.task.k]), axis=1)
            self.basis.arrange(np.argsort(-towards, kind="stable"))
        if not self.basis.room(self.block):
            self.basis.restart(self.task.k + (self.basis.capacity - self.task.k) // 3)
            self.restarts += 1
        self.basis.grow(self.block)
        self.steps += 1

    def converged(self) -> bool:
        """|F^T u - s v| <= tol s for the k best, in terms of theta = s^2: |F^T F v - theta v| <= tol theta."""
        if not self.basis.done:
            return False
        theta, Y = self.basis.ritz()
        self.largest.append(float(theta[0]))
        if self.basis.done < max(self.task.k, self.given):
            return False
        limit = np.maximum(self.task.tol * theta[: self.task.k], 8 * self.rows.epsilon * theta[0])
        return bool((np.linalg.norm(self.basis.left(Y[:, : self.task.k]), axis=0) <= limit).all())

    def second_look(self, asked: int | None) -> bool:
        """Whether a fresh chain leaves the k best values as they are; what it finds stays in the basis.

        Values of a growing basis only grow, and converged ones by at most their residual, tol theta: more is a new triplet.
        """
        before = self.basis.ritz()[0][: self.task.k]
        smallest, most = before[-1], before * (1 + self.task.tol) + 64 * self.rows.epsilon * before[0]
        if asked is None and self.task.k == 1:
            asked = 0  # a copy of the largest value is no news
        elif asked is None:
            seen = next((i for i, value in enumerate(self.largest) if value >= smallest), 0) + 1
            asked = max(self.look, 2 + seen + seen // 4)
        self.look = asked
        for taken in range(asked):
            if self.basis.done == self.basis.turned.small or not self.affordable:
                return True
            if not taken:
                self.basis.refill(self.block)
            self.step(newest=True)
            if (self.basis.ritz()[0][: self.task.k] > most).any():
                return False
        return True


def _timed_block(rows: Rows, task: Task) -> int:
    """1 on a CPU, where K probes cost K passes; else what a forward pass of each size says, for about sqrt(block) times the passes."""
    if rows.F.device.type == "cpu":
        return 1
    sizes = [b for b in BLOCKS if b == 1 or b <= min(rows.F.chunk, min(rows.n, rows.N) // 4, task.max_passes // 8)]
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
    size = (rows.n + rows.N) * torch.finfo(rows.F.dtype).bits // 8
    return max(2 * k + 4 * block + 8, min(BUDGET // size, max(10 * k, 400) + 4 * block))


def _start(basis: Basis, rows: Rows, task: Task, block: int) -> None:
    """Random rows; with an earlier result its triplets where they are those of this F, and else its vectors as a guess."""
    if task.start is not None:
        small, large, s = _earlier(task.start, basis)
        if _same(basis, small, large, s):
            basis.resume(small, large * s[:, None], s, task.start.rest)
        else:
            basis.append(small, DEFLATED * rows.epsilon)
    if basis.waiting < block:
        basis.refill(block - basis.waiting)


def _earlier(start: SVD, basis: Basis) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Its vectors of the smaller and of the larger side, as rows, and its values."""
    F = basis.turned.rows.F
    if [tuple(t.shape[1:]) for t in pytree.tree_leaves((start.v, start.u))] != [*F.inputs.shapes, *F.outputs.shapes]:
        raise ShapeError(f"start= is the decomposition of another operator: F is {F}")
    v, u = (flatten(space, space.stack(vectors)[0]).to(F.device, F.dtype) for space, vectors in ((F.inputs, start.v), (F.outputs, start.u)))
    return (u, v, start.s.to(v)) if basis.turned.swapped else (v, u, start.s.to(v))


def _same(basis: Basis, small: torch.Tensor, large: torch.Tensor, s: torch.Tensor) -> bool:
    """Whether F maps the vectors as the result says: one pass, of a combination of all."""
    weights = torch.ones(1, len(s)).to(s) / len(s) ** 0.5
    expected = weights @ (s[:, None] * large)
    return bool((basis.turned.forward(weights @ small) - expected).norm() <= 1e4 * basis.turned.rows.epsilon * s.max())


def _triplets(basis: Basis, rows: Rows, task: Task, info: dict) -> Triplets:
    """The Ritz vectors, made exact on their span: F v = s u to rounding, and F^T u from H."""
    k = min(task.k, basis.done)
    theta, Y = basis.ritz()
    Y = Y[:, :k]
    if theta[k - 1] < 1e4 * rows.epsilon * theta[0]:  # squared, the small values drown; A itself still has them
        Y = decomposed(basis.A[: basis.done].T)[2][:k].T.double().cpu().numpy()
    small = torch.as_tensor(Y.T.copy()).to(basis.A)
    Q, s, left = decomposed(small @ basis.A[: basis.done])
    Z = Q.T @ small
    v = Z @ basis.V[: basis.done]
    back = torch.as_tensor((basis.H[: basis.total, : basis.done] @ Z.T.double().cpu().numpy()).T.copy()).to(basis.A)
    Ftu = back @ basis.V[: basis.total] / s[:, None].clamp_min(torch.finfo(s.dtype).tiny)
    weak = s < 1e-4 * s[0] if s[0] > 0 else torch.ones_like(s, dtype=torch.bool)
    if weak.any():  # F^T u = F^T F v / s has lost its digits: ask the network
        Ftu[weak] = basis.turned.adjoint(left[weak])
    found = {"v": v, "u": left, "Fv": Z @ basis.A[: basis.done], "Ftu": Ftu}
    if basis.turned.swapped:
        found = {"u": v, "v": left, "Ftu": found["Fv"], "Fv": Ftu}
    border = back[:, basis.done :].T if basis.waiting and not weak.any() else None
    rest = {} if border is None else {"waiting": basis.V[basis.done : basis.total].clone(), "border": border.contiguous()}
    return Triplets(s=s, info=info, rest=rest, **found)
