"""The multiplicity check: search for copies of a repeated singular value that the Krylov space does not hold.

A Krylov space of one random vector holds one copy of each value. Further copies are orthogonal to it, and no
residual shows them. So, once k values have converged, the check adds a fresh random vector to the basis and
follows its chain:

* The values of a growing basis never decrease. If one of the k largest grows by more than its residual
allows,
  the chain has found a copy, and the search continues with the rows that are now in the basis.
* If none grows, ``Chance`` bounds the probability that a copy exists and that the chain has missed it. The
  check passes when this bound is small, or when the chain has taken the steps that it may take.

A block of b vectors holds b copies of each value. It is checked with a fresh block, for which no bound is
known.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .result import SVD
    from .search import Search

RISK = 0.05  # the check passes if a copy is hidden with at most this probability
RISK_REPEATED = 0.0005  # used if a value repeats: then others may too, and may be in the basis in part
FEWEST = 10  # a fresh chain may always take this many steps
EXPENSIVE = 20  # a check is expensive if it takes more than 1/EXPENSIVE of the steps so far
RECENT = 8  # the growth of a chain is estimated from this many steps


class MultiplicityCheck:
    """The check of one call of the Lanczos method; it runs again after every copy that it finds.

    Attributes
    ----------
    passed : bool
        Whether the check is finished.
    limit : int
        Number of steps that the last fresh chain was allowed to take; 0 if there was none.
    risk : float or None
        Upper bound of the probability that a copy is hidden; None if no bound is known.
    """

    def __init__(self, search: Search, earlier: SVD | None, asked: int | None):
        info = {} if earlier is None else earlier.info
        self.search, self.basis, self.asked = search, search.basis, asked
        self.limit: int = 0 if earlier is None else info.get("look", FEWEST)
        self.passed: bool = info.get("looked", True)
        self.risk: float | None = info.get("risk")
        # the bound holds for a single vector, and for a basis without rows of an unfinished check
        self._bounded = search.block == 1 and self.passed

    def reset(self) -> None:
        """Forget the result of an earlier check, because the basis has grown."""
        self.passed, self.risk = False, None

    def run(self) -> None:
        """Follow a fresh chain and set ``passed``; all rows of the chain stay in the basis."""
        theta, errors = self.search.wanted()
        self.limit = self._limit(theta, errors) if self.asked is None else self.asked
        self.risk = 1.0 if self._bounded else None
        if self._settled(0.0) or not self.limit:
            self.passed = True
        else:
            self.passed = self.search.affordable and self._follow(theta)

    def _follow(self, before: np.ndarray) -> bool:
        """Take the steps of a fresh chain; returns False if it finds a copy or the passes run out."""
        search, basis = self.search, self.basis
        most = before * (1 + search.task.tol) + 64 * search.rows.epsilon * before[0]
        goal = RISK_REPEATED if self._repeats(before) else RISK
        unseen, restarts = basis.short.small - basis.total, search.restarts
        # a copy of the smallest wanted value changes nothing, so the one before it is the hardest to see
        chance = Chance(float(before[-2:][0]), unseen, mixed=self._begin())
        for _ in range(self.limit):
            if self._settled(goal):
                return True
            if not search.affordable:
                return False
            total = basis.total
            search.step("newest")
            if (search.wanted()[0] > most).any():
                return False
            if self._bounded and search.restarts == restarts:  # the recurrence of Chance ends at a restart
                self.risk = self._updated(chance, total)
        return True

    def _settled(self, goal: float) -> bool:
        """Whether the risk is at most ``goal``; it is 0 where the basis spans the whole space."""
        if self.basis.done == self.basis.short.small:
            self.risk = 0.0
        return self.risk is not None and self.risk <= goal

    def _updated(self, chance: Chance, total: int) -> float:
        """The risk after the last step, before which the basis had ``total`` rows, the row set aside last."""
        last = self.basis.done - 1
        column = self.basis.H[: self.basis.total, last]
        border = column[-1] if self.basis.total > total else 0.0
        aside = column[total - 1] if total > last + 1 else 0.0
        chance.add(column[last], border, aside)
        return chance.risk

    def _begin(self) -> bool:
        """Add fresh random rows, and mix each with a row that the wanted vectors point to, if there is one.

        The chain of the sum of two rows continues both, so the wanted vectors improve meanwhile.
        """
        basis, block = self.basis, self.search.block
        old = basis.total
        if basis.waiting > 1 and basis.waiting >= block:
            self.search.arrange(last=True)
        mixed = basis.waiting >= block
        basis.refill(block)
        mixed = mixed and basis.total == old + block
        if mixed:
            basis.mix(block)
        return mixed

    def _limit(self, theta: np.ndarray, errors: np.ndarray) -> int:
        """Number of steps that a fresh chain may take: half of the steps so far, or 0 to skip the check.

        The check of a single vector is skipped if a copy is improbable and the check is expensive. For k = 1
        a copy changes nothing. A fresh block gets the steps after which the first block found the smallest of
        the wanted values, and a quarter more.
        """
        search = self.search
        if search.task.k == 1:
            return 0
        if search.block > 1:
            seen = next((steps for steps, value in search.largest if value >= theta[-1]), 1)
            return max(self.limit, 2 + seen + seen // 4)
        if not self._repeats(theta) and self._improbable(theta, errors) and self._expensive(theta):
            return 0
        return max(self.limit, FEWEST, search.steps // 2)

    def _repeats(self, theta: np.ndarray) -> bool:
        """Whether two of the values agree."""
        return bool((theta[:-1] - theta[1:] <= self.search.task.tol * theta[:-1]).any())

    def _improbable(self, theta: np.ndarray, errors: np.ndarray) -> bool:
        """Whether most errors are at rounding; rounding has then brought copies into the basis."""
        return bool((errors[:-1] <= 0.1 * self.search.rows.epsilon * theta[0]).mean() >= 0.5)

    def _expensive(self, theta: np.ndarray) -> bool:
        """Whether the values are so close that a fresh chain needs many steps before it tells anything."""
        basis = self.basis
        steps = steps_to_tell(basis.H, basis.done, float(theta[-2]), basis.short.small)
        return steps > self.search.steps / EXPENSIVE


class Chance:
    r"""Upper bound of the probability that a fresh chain has missed a copy x of the value s.

    A Krylov space that does not hold x is orthogonal to x. A fresh chain w_1, w_2, ... beside it satisfies,
    with G = F^T F and a row w' that is set aside, ::

        G w_j = b_{j-1} w_{j-1} + a_j w_j + b_j w_{j+1} + h_j w' + (a vector of the Krylov space)

    so that <w_j, x> = p_j <w_1, x>, with p_1 = 1 and ::

        b_j p_{j+1} = (s^2 - a_j) p_j - b_{j-1} p_{j-1} - h_j p'

    The rows are orthonormal, so <w_1, x>^2 is at most 1 / (p'^2 + sum p_j^2). For a random w_1 of ``size``
    entries the probability of this is at most sqrt(2 size / (pi sum)). If the chain begins with (v + w) /
    sqrt 2, where w is random and v continues the Krylov space, then w' = (v - w) / sqrt 2 is set aside, and
    p' = -1.

    Source: van Dorsselaer, Hochstenbach, van der Vorst, SIAM J. Matrix Anal. 22 (2000).
    """

    def __init__(self, theta: float, size: int, mixed: bool):
        self.theta, self.size, self.aside = theta, size, -1.0 if mixed else 0.0
        self.before, self.now, self.last, self.sum = 0.0, 1.0, 0.0, 1.0 + self.aside**2

    def add(self, diagonal: float, border: float, aside: float) -> None:
        """Add a step: a_j, b_j, h_j. If b_j = 0, the chain holds all that w_1 has of any eigenvector."""
        following = (self.theta - diagonal) * self.now - self.last * self.before - aside * self.aside
        self.before, self.now, self.last = self.now, following / border if border > 0 else math.inf, border
        self.sum += self.now**2

    @property
    def risk(self) -> float:
        """Upper bound of the probability that a copy exists and is hidden."""
        return min(1.0, math.sqrt(2 * self.size * (1 + self.aside**2) / (math.pi * self.sum)))


def steps_to_tell(H: np.ndarray, done: int, theta: float, size: int) -> float:
    """Steps until the risk is at most ``RISK``, if a fresh chain grows as the latest steps did."""
    last = np.arange(max(0, done - RECENT), done)
    if not len(last):
        return 0.0
    diagonal = float(H[last, last].mean())
    border = float(np.linalg.norm(np.tril(H[:, last], -1 - last[0]), axis=0).mean())
    if border == 0:
        return 0.0
    x = (theta - diagonal) / (2 * border)
    return math.log(math.sqrt(2 * size / math.pi) / RISK) / math.acosh(x) if x > 1 else math.inf
