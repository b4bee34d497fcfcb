"""The whole matrix and its decomposition: where F has few rows or columns, that takes the fewest passes."""

from __future__ import annotations

from .rows import Rows, Turned, decomposed
from .task import Task, Triplets


def dense(rows: Rows, task: Task) -> Triplets:
    """Exact: min(N, n) passes, then LAPACK."""
    turned = Turned(rows)
    A = rows.whole(turned.forward, turned.small)
    Q, s, large = decomposed(A)
    small, s, large = Q.T[: task.k], s[: task.k], large[: task.k]
    onto, back = small @ A, large @ A.T
    v, u, Fv, Ftu = (large, small, back, onto) if turned.swapped else (small, large, onto, back)
    return Triplets(s=s, v=v, u=u, Fv=Fv, Ftu=Ftu)
