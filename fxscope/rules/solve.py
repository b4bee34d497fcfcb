"""Solutions of linear systems with a frozen matrix: linear in the right-hand side."""

import torch

from ..twins.applied import Applied
from .declare import Sample, linear

_ATEN = torch.ops.aten


def triangular(b, matrix, adjoint, upper, left, unit):
    if adjoint:
        matrix, upper = torch.conj(matrix.transpose(-2, -1)), not upper
    return torch.linalg.solve_triangular(matrix, b, upper=upper, left=left, unitriangular=unit)


def cholesky(b, factor, adjoint, upper):
    return torch.cholesky_solve(b, factor, upper)


def lu(b, factors, pivots, adjoint, left, own):
    return torch.linalg.lu_solve(factors, pivots, b, left=left, adjoint=own != adjoint)


def _solution(call, solve, right, matrix, states, *options):
    """The twin of A0 y = b1; the transpose of A0 is the adjoint of its conjugate."""
    lift = call.need_lift(right, matrix)

    def forward(k, b, *states):
        return solve(k.lift(b, lift), *states, False, *options)

    def back(k, y, b, *states):
        return k.fold(solve(y, *(torch.conj(s) for s in states), True, *options), b, lift)

    return Applied(forward, back, states), [call.value(right)]


def solve_triangular(A, B, upper=None, left=True, unitriangular=False, *, call):
    return _solution(call, triangular, "B", "A", (A,), upper, left, unitriangular)


def cholesky_solve(B, L, upper=False, *, call):
    return _solution(call, cholesky, "B", "L", (L,), upper)


def lu_solve(LU, pivots, B, left=True, adjoint=False, *, call):
    return _solution(call, lu, "B", "LU", (LU, pivots), left, adjoint)


def _matrix(rng):
    return torch.randn(3, 3, generator=rng, dtype=torch.float64) + 3 * torch.eye(3, dtype=torch.float64)


def _factors(rng):
    return torch.linalg.lu_factor(_matrix(rng))[0]


def _rule(name, target, solve, matrix, overload, samples, formula, **fields):
    return linear(
        name,
        target,
        solve,
        functions=(overload,),
        carries=("B",),
        rank=lambda rank, a: rank(a["B"]) if rank(a[matrix]) == 2 else rank(a[matrix]),
        samples=samples,
        formula=formula,
        source="the paper, eq. 7",
        **fields,
    )


SOLVE_TRIANGULAR = _rule(
    "solve_triangular",
    torch.linalg.solve_triangular,
    solve_triangular,
    "A",
    _ATEN.linalg_solve_triangular.default,
    (
        Sample(
            (2, 3, 4),
            {"upper": True},
            tensors={"A": _matrix},
            call=lambda f, x, A, upper: f(A, x, upper=upper),
        ),
        Sample(
            (2, 4, 3),
            {"upper": False, "left": False},
            tensors={"A": _matrix},
            call=lambda f, x, A, upper, left: f(A, x, upper=upper, left=left),
        ),
    ),
    "y1 = A0^-1 x1",
)
CHOLESKY_SOLVE = _rule(
    "cholesky_solve",
    torch.cholesky_solve,
    cholesky_solve,
    "L",
    _ATEN.cholesky_solve.default,
    (Sample((2, 3, 4), tensors={"L": _matrix}),),
    "y1 = (L0 L0^T)^-1 x1",
    methods=("cholesky_solve",),
)
LU_SOLVE = _rule(
    "lu_solve",
    torch.linalg.lu_solve,
    lu_solve,
    "LU",
    _ATEN.linalg_lu_solve.default,
    (
        Sample(
            (2, 3, 4),
            tensors={"LU": _factors},
            call=lambda f, x, LU: f(LU, torch.arange(1, 4, dtype=torch.int32), x),
        ),
    ),
    "y1 = A0^-1 x1",
)
