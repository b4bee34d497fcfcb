"""Method "dense": the whole matrix and LAPACK, with the fewest passes if F has few rows or columns."""

from __future__ import annotations

from .rows import Rows, ShortSide, decomposed
from .task import Task, Triplets


def dense(rows: Rows, task: Task) -> Triplets:
    """The k largest triplets, exact to rounding, with min(N, n) passes."""
    short = ShortSide(rows)
    A = rows.whole(short.forward, short.small)
    Q, s, large = decomposed(A)
    small, s, large = Q.T[: task.k], s[: task.k], large[: task.k]
    onto, back = small @ A, large @ A.T
    v, u, Fv, Ftu = (large, small, back, onto) if short.swapped else (small, large, onto, back)
    return Triplets(s=s, v=v, u=u, Fv=Fv, Ftu=Ftu)
