"""How probable it is that a fresh Lanczos chain has missed a copy of a singular value, and how many steps it would take to tell."""

from __future__ import annotations

import math

import numpy as np

RISK = 0.05  # a look ends where a copy is hidden with that probability at most
RECENT = 8  # steps that tell how fast a chain grows


class Chance:
    """A copy x of the value s that a Krylov space does not hold is orthogonal to all of it, and a fresh chain w_1, w_2, ... with

        G w_j = b_{j-1} w_{j-1} + a_j w_j + b_j w_{j+1} + h_j w' + (what lies in that space),     G = F^T F

    has <w_j, x> = p_j <w_1, x>, p_1 = 1, b_j p_{j+1} = (s^2 - a_j) p_j - b_{j-1} p_{j-1} - h_j p'. The rows are orthonormal, so <w_1, x>^2 is
    at most 1 / (p'^2 + sum p_j^2); of a random vector of ``size`` entries that has a probability of at most sqrt(2 size / (pi sum)). Where the
    chain begins with (v + w) / sqrt 2, w random and v in reach of the space, w' = (v - w) / sqrt 2 is not followed, and p' = -1.
    Source: van Dorsselaer, Hochstenbach, van der Vorst, SIAM J. Matrix Anal. 22 (2000).
    """

    def __init__(self, theta: float, size: int, mixed: bool):
        self.theta, self.size, self.aside = theta, size, -1.0 if mixed else 0.0
        self.before, self.now, self.last, self.sum = 0.0, 1.0, 0.0, 1.0 + self.aside**2

    def add(self, diagonal: float, border: float, aside: float) -> None:
        """One more step: a_j, b_j, h_j. A chain that ends (b_j = 0) holds all that w_1 has of any eigenvector."""
        following = (self.theta - diagonal) * self.now - self.last * self.before - aside * self.aside
        self.before, self.now, self.last = self.now, following / border if border > 0 else math.inf, border
        self.sum += self.now**2

    @property
    def risk(self) -> float:
        """That a copy is there and hidden, at most."""
        return min(1.0, math.sqrt(2 * self.size * (1 + self.aside**2) / (math.pi * self.sum)))


def steps_to_tell(H: np.ndarray, done: int, theta: float, size: int) -> float:
    """Until the risk is down to ``RISK``, if a fresh chain grows as fast as the last steps of the one that there is."""
    last = np.arange(max(0, done - RECENT), done)
    diagonal, border = (
        float(H[last, last].mean()),
        float(np.linalg.norm(np.tril(H[:, last], -1 - last[0]), axis=0).mean()) if len(last) else 0.0,
    )
    if border == 0:
        return 0.0
    x = (theta - diagonal) / (2 * border)
    return math.log(math.sqrt(2 * size / math.pi) / RISK) / math.acosh(x) if x > 1 else math.inf
