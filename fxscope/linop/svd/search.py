"""The steps of one call of the Lanczos method: when the basis is looked at, when it is enough, and the look for copies of a value."""

from __future__ import annotations

import math

import numpy as np

from .krylov import Basis
from .look import RISK, Chance, steps_to_tell
from .rows import Rows
from .task import Task

FEWEST = 10  # steps that a look may take at least
DEAR = 20  # a look of more than a DEAR-th of all steps is one to think about


class Search:
    """
    steps, restarts   done so far
    looked            whether nothing is left to look for;   look   the steps it may take;   risk   that a copy is hidden, or None
    """

    def __init__(self, basis: Basis, rows: Rows, task: Task, block: int):
        self.basis, self.rows, self.task, self.block = basis, rows, task, block
        earlier = {} if task.start is None else task.start.info
        # rows of another F's result: nothing points to exact ones, so they are multiplied first
        self.given = 0 if task.start is None or basis.done else basis.waiting
        self.restarts = self.steps = self._due = 0
        self.look, self.looked, self.risk = (
            0 if task.start is None else earlier.get("look", FEWEST),
            earlier.get("looked", True),
            earlier.get("risk"),
        )
        # a block's chain has no such polynomials, and rows left of a cut look may hold the copy
        self.bounds = block == 1 and self.looked
        self.largest: list[tuple[int, float]] = []  # steps, and the largest value of F^T F then
        self._checked, self._enough = -1, False

    @property
    def affordable(self) -> bool:
        return self.rows.passes + 2 * self.block <= self.task.max_passes

    def run(self, look: int | None) -> None:
        """Steps until all have converged and a fresh chain finds nothing more."""
        # what a look that was cut has left may hold what it was after
        for _ in range(0 if self.looked else -(-self.basis.waiting // self.block)):
            if self.affordable:
                self.step("oldest")
        self._converge()
        if self.steps:
            self.looked, self.risk = False, None
        while not self.looked and self.affordable and self.converged():
            self.looked = self.second_look(look)
            self._converge()

    def _converge(self) -> None:
        while self.affordable and not self.converged():
            self.step()

    def step(self, which: str = "wanted") -> None:
        """Multiply the waiting rows that the wanted vectors point to most, or the newest, or the oldest."""
        if which == "newest":
            self.basis.arrange(np.roll(np.arange(self.basis.waiting), self.block))
        elif which == "wanted" and self.basis.waiting > self.block and self.basis.done >= self.given:
            self._arrange(towards=-1)
        if not self.basis.room(self.block):
            self.basis.restart(self.task.k + (self.basis.capacity - self.task.k) // 3)
            self.restarts += 1
        self.basis.grow(self.block)
        self.steps += 1

    def _arrange(self, towards: int) -> None:
        """The waiting rows that the wanted vectors point to most first (-1) or last (1)."""
        size = np.linalg.norm(self.basis.left(self.basis.ritz()[1][:, : self.task.k]), axis=1)
        self.basis.arrange(np.argsort(towards * size, kind="stable"))

    def converged(self) -> bool:
        """|F^T u - s v| <= tol s for the k best. Far from it only every few steps: the eigenproblem costs as much as a pass of a small network."""
        if self._checked != self.steps and (self.steps >= self._due or self.basis.waiting < self.block):
            excess = self._excess()
            self._checked, self._enough = self.steps, excess <= 1
            self._due = self.steps + max(
                1, min(self.basis.done // 24, int(math.log10(excess)) if 1 < excess < math.inf else 1)
            )
        return self._checked == self.steps and self._enough

    def _excess(self) -> float:
        """The largest error over what is allowed, in terms of theta = s^2: |F^T F v - theta v| <= tol theta."""
        k = self.task.k
        if not self.basis.done:
            return math.inf
        theta, Y = self.basis.ritz()
        self.largest.append((self.steps, float(theta[0])))
        if self.basis.done < max(k, self.given):
            return math.inf
        errors = np.linalg.norm(self.basis.left(Y[:, :k]), axis=0)
        limit = np.maximum(self.task.tol * theta[:k], 8 * self.rows.epsilon * theta[0])
        return float(np.divide(errors, limit, out=np.where(errors > 0, np.inf, 0.0), where=limit > 0).max())

    def second_look(self, asked: int | None) -> bool:
        """Whether a fresh chain leaves the k best values as they are; what it finds stays in the basis.

        Values of a growing basis only grow, and converged ones by at most their residual, tol theta: more is a new triplet.
        """
        theta, Y = self.basis.ritz()
        before = theta[: self.task.k]
        self.look = (
            self._steps(before, np.linalg.norm(self.basis.left(Y[:, : self.task.k]), axis=0))
            if asked is None
            else asked
        )
        self.risk = 1.0 if self.bounds else None
        if self.basis.done == self.basis.turned.small:
            self.risk = 0.0
        return self.risk == 0 or not self.look or (self.affordable and self._follow(before))

    def _follow(self, before: np.ndarray) -> bool:
        """``look`` steps of a fresh chain, fewer where the risk is small by then; False where it finds something, or passes run out."""
        most = before * (1 + self.task.tol) + 64 * self.rows.epsilon * before[0]
        # where one value repeats others do, and they may be half in the basis already
        goal = RISK / (100 if self._agree(before) else 1)
        chance, restarts = (
            Chance(float(before[-2:][0]), self.basis.turned.small - self.basis.total, mixed=self._begin()),
            self.restarts,
        )
        for _ in range(self.look):
            if self.basis.done == self.basis.turned.small:
                self.risk = 0.0
            elif self.risk is None or self.risk > goal:
                if not self.affordable:
                    return False
                total = self.basis.total
                self.step("newest")
                if (self.basis.ritz()[0][: self.task.k] > most).any():
                    return False
                if self.bounds and self.restarts == restarts:  # which a restart breaks
                    self.risk = self._told(chance, total)
        return True

    def _told(self, chance: Chance, total: int) -> float:
        """The risk after the last step, which began with ``total`` rows, the last of them the one that the chain leaves aside."""
        last = self.basis.done - 1
        column = self.basis.H[: self.basis.total, last]
        chance.add(
            column[last],
            column[-1] if self.basis.total > total else 0.0,
            column[total - 1] if total > last + 1 else 0.0,
        )
        return chance.risk

    def _agree(self, theta: np.ndarray) -> bool:
        """Whether a value is there twice."""
        return bool((theta[:-1] - theta[1:] <= self.task.tol * theta[:-1]).any())

    def _begin(self) -> bool:
        """Fresh rows, turned into what is left of the wanted vectors, so that their chain goes on as well; whether there was any."""
        mixed = self.basis.waiting >= self.block
        if mixed and self.basis.waiting > 1:
            self._arrange(towards=1)
        known = self.basis.total
        self.basis.refill(self.block)
        mixed = mixed and self.basis.total == known + self.block
        if mixed:
            self.basis.mix(self.block)
        return mixed

    def _steps(self, theta: np.ndarray, errors: np.ndarray) -> int:
        """Half of the steps so far; none where a copy is improbable and it is dear to find out.

        Improbable: of most values the error is down at rounding, which by then has brought their copies into the basis, and no two agree.
        Dear: values crowd, so that a fresh chain has to grow for more than a ``DEAR``-th of all steps to tell.
        Of a block, which holds several copies as it is, as many as it took to see a value that large, and a quarter more.
        """
        if self.task.k == 1:
            return 0  # a copy of the smallest that is wanted is no news
        if self.block > 1:
            seen = next((steps for steps, value in self.largest if value >= theta[-1]), 1)
            return max(self.look, 2 + seen + seen // 4)
        shown = (errors[:-1] <= 0.1 * self.rows.epsilon * theta[0]).mean() >= 0.5
        dear = (
            steps_to_tell(self.basis.H, self.basis.done, float(theta[-2]), self.basis.turned.small)
            > self.steps / DEAR
        )
        return 0 if shown and dear and not self._agree(theta) else max(self.look, FEWEST, self.steps // 2)
