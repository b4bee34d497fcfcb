"""``Search``: the steps of the Lanczos method, its restarts, and its stopping rule."""

from __future__ import annotations

import math

import numpy as np

from .krylov import Basis
from .multiplicity_check import MultiplicityCheck
from .rows import Rows
from .task import Task


class Search:
    """One call of the Lanczos method: grow the basis until k values have converged and no copy is missing.

    Attributes
    ----------
    steps, restarts : int
        Number of them so far.
    largest : list
        The largest value of F^T F after each step: (steps, value).
    """

    def __init__(self, basis: Basis, rows: Rows, task: Task, block: int, look: int | None):
        self.basis, self.rows, self.task, self.block = basis, rows, task, block
        # vectors from a result of another F: their residuals are unknown, so they are multiplied first
        self.given = 0 if task.start is None or basis.done else basis.waiting
        self.restarts = self.steps = self._due = 0
        self.largest: list[tuple[int, float]] = []
        self._checked, self._enough = -1, False
        self.check = MultiplicityCheck(self, task.start, look)

    @property
    def affordable(self) -> bool:
        """Whether the passes allow one more step."""
        return self.rows.passes + 2 * self.block <= self.task.max_passes

    def run(self) -> None:
        """Step until the k largest values have converged and the multiplicity check passes."""
        if not self.check.passed:  # it ran out of passes in the call before: its waiting rows may hold a copy
            self._multiply_waiting()
        self._converge()
        if self.steps:
            self.check.reset()
        while not self.check.passed and self.affordable and self.converged():
            self.check.run()
            self._converge()

    def _multiply_waiting(self) -> None:
        for _ in range(-(-self.basis.waiting // self.block)):
            if self.affordable:
                self.step("oldest")

    def _converge(self) -> None:
        while self.affordable and not self.converged():
            self.step()

    def step(self, which: str = "wanted") -> None:
        """Multiply waiting rows: those that the wanted vectors point to most, the newest, or the oldest."""
        if which == "newest":
            self.basis.arrange(np.roll(np.arange(self.basis.waiting), self.block))
        elif which == "wanted" and self.basis.waiting > self.block and self.basis.done >= self.given:
            self.arrange()
        if not self.basis.room(self.block):
            self.basis.restart(self.task.k + (self.basis.capacity - self.task.k) // 3)
            self.restarts += 1
        self.basis.grow(self.block)
        self.steps += 1

    def arrange(self, last: bool = False) -> None:
        """Put the waiting rows that the wanted vectors point to most at the front, or at the end."""
        size = np.linalg.norm(self.basis.left(self.basis.ritz()[1][:, : self.task.k]), axis=1)
        self.basis.arrange(np.argsort(size if last else -size, kind="stable"))

    def wanted(self) -> tuple[np.ndarray, np.ndarray]:
        """The k largest values theta of F^T F on the basis, and |F^T F v - theta v| of their vectors."""
        theta, Y = self.basis.ritz()
        return theta[: self.task.k], np.linalg.norm(self.basis.left(Y[:, : self.task.k]), axis=0)

    def converged(self) -> bool:
        """Whether |F^T u - s v| <= tol s for the k largest values.

        Far from convergence this is checked only every few steps, because the eigenproblem costs as much as a
        pass of a small network.
        """
        if self._checked != self.steps and (self.steps >= self._due or self.basis.waiting < self.block):
            excess = self._excess()
            self._checked, self._enough = self.steps, excess <= 1
            pause = int(math.log10(excess)) if 1 < excess < math.inf else 1
            self._due = self.steps + max(1, min(self.basis.done // 24, pause))
        return self._checked == self.steps and self._enough

    def _excess(self) -> float:
        """The largest error over its limit, for theta = s^2: |F^T F v - theta v| <= tol theta."""
        if not self.basis.done:
            return math.inf
        theta, errors = self.wanted()
        self.largest.append((self.steps, float(theta[0])))
        if self.basis.done < max(self.task.k, self.given):
            return math.inf
        limit = np.maximum(self.task.tol * theta, 8 * self.rows.epsilon * theta[0])
        return float(np.divide(errors, limit, out=np.where(errors > 0, np.inf, 0.0), where=limit > 0).max())
