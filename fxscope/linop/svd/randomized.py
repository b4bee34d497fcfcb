"""Method "randomized": a range finder with power iterations, and a bound on what it misses."""

from __future__ import annotations

import math

import torch

from ..scale import norms
from .rows import Rows, decomposed, noise, orthonormal
from .task import Task, Triplets

RISK = 1e-3  # probability that the bound fails


def randomized(rows: Rows, task: Task, oversample: int = 10, powers: int = 2, probes: int = 10) -> Triplets:
    """The k largest triplets of Q Q^T F; Q spans (F F^T)^powers F applied to k + oversample random vectors.

    ::

        s_i <= sigma_i <= sqrt(s_i^2 + E^2),   E = a sqrt(2/pi) max_j |(F - Q Q^T F) w_j|,   a^probes = 1/RISK

    The upper bounds hold with probability 1 - RISK. The passes are 2 (powers + 1) (k + oversample) + k +
    probes.

    References
    ----------
    Halko, Martinsson, Tropp, SIAM Review 53 (2011), algorithm 4.4 and lemma 4.1.
    """
    generator = torch.Generator().manual_seed(task.seed)
    size = min(task.k + oversample, rows.n, rows.N)
    Q = orthonormal(rows.forward(noise(rows, size, rows.n, generator)))
    for _ in range(powers):
        Q = orthonormal(rows.forward(orthonormal(rows.adjoint(Q))))
    back = rows.adjoint(Q)
    small, s, v = decomposed(back)
    left = small.T[: task.k]
    s, v, u = s[: task.k], v[: task.k], left @ Q
    missed = _missed(rows, Q, probes, generator)
    return Triplets(
        s=s,
        v=v,
        u=u,
        Fv=rows.forward(v),
        Ftu=left @ back,
        upper=(s**2 + missed**2).sqrt(),
        info={"oversample": oversample, "powers": powers, "probes": probes, "risk": RISK},
    )


def _missed(rows: Rows, Q: torch.Tensor, probes: int, generator: torch.Generator) -> float:
    """Upper bound of |F - Q Q^T F|_2 with probability 1 - RISK."""
    y = rows.forward(noise(rows, probes, rows.n, generator))
    for _ in range(2):
        y = y - (y @ Q.T) @ Q
    return RISK ** (-1 / probes) * math.sqrt(2 / math.pi) * float(norms(y).max())
