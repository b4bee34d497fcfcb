"""Solutions of linear systems with a frozen matrix: linear in the right-hand side."""

import torch

from ..twins.applied import Applied
from .declare import Sample, linear

_ATEN = torch.ops.aten


def triangular(k, b, matrix, lift, upper, left, unit):
    return torch.linalg.solve_triangular(matrix, k.lift(b, lift), upper=upper, left=left, unitriangular=unit)


def triangular_back(k, y, b, matrix, lift, upper, left, unit):
    turned = matrix.transpose(-2, -1)
    found = torch.linalg.solve_triangular(turned, y, upper=not upper, left=left, unitriangular=unit)
    return k.fold(found, b, lift)


def cholesky(k, b, factor, lift, upper):
    return torch.cholesky_solve(k.lift(b, lift), factor, upper)


def cholesky_back(k, y, b, factor, lift, upper):
    return k.fold(torch.cholesky_solve(y, factor, upper), b, lift)


def lu(k, b, factors, pivots, lift, left, adjoint):
    return torch.linalg.lu_solve(factors, pivots, k.lift(b, lift), left=left, adjoint=adjoint)


def lu_back(k, y, b, factors, pivots, lift, left, adjoint):
    return k.fold(torch.linalg.lu_solve(factors, pivots, y, left=left, adjoint=not adjoint), b, lift)


def solve_triangular(A, B, upper=None, left=True, unitriangular=False, *, call):
    lift = call.need_lift("B", "A")
    twin = Applied(triangular, triangular_back, (A,), (lift, upper, left, unitriangular))
    return twin, [call.value("B")]


def cholesky_solve(B, L, upper=False, *, call):
    twin = Applied(cholesky, cholesky_back, (L,), (call.need_lift("B", "L"), upper))
    return twin, [call.value("B")]


def lu_solve(LU, pivots, B, left=True, adjoint=False, *, call):
    twin = Applied(lu, lu_back, (LU, pivots), (call.need_lift("B", "LU"), left, adjoint))
    return twin, [call.value("B")]


def _matrix(rng):
    return torch.randn(3, 3, generator=rng, dtype=torch.float64) + 3 * torch.eye(3, dtype=torch.float64)


def _factors(rng):
    return torch.linalg.lu_factor(_matrix(rng))[0]


def _wide_rank(name):
    return lambda rank, a: rank(a["B"]) if rank(a[name]) == 2 else rank(a[name])


_SOURCE = "the paper, eq. 7"
SOLVE_TRIANGULAR = linear(
    "solve_triangular",
    torch.linalg.solve_triangular,
    solve_triangular,
    functions=(_ATEN.linalg_solve_triangular.default,),
    carries=("B",),
    rank=_wide_rank("A"),
    samples=(
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
    formula="y1 = A0^-1 x1",
    source=_SOURCE,
)
CHOLESKY_SOLVE = linear(
    "cholesky_solve",
    torch.cholesky_solve,
    cholesky_solve,
    functions=(_ATEN.cholesky_solve.default,),
    methods=("cholesky_solve",),
    carries=("B",),
    rank=_wide_rank("L"),
    samples=(Sample((2, 3, 4), tensors={"L": _matrix}),),
    formula="y1 = (L0 L0^T)^-1 x1",
    source=_SOURCE,
)
LU_SOLVE = linear(
    "lu_solve",
    torch.linalg.lu_solve,
    lu_solve,
    functions=(_ATEN.linalg_lu_solve.default,),
    carries=("B",),
    rank=_wide_rank("LU"),
    samples=(
        Sample(
            (2, 3, 4),
            tensors={"LU": _factors},
            call=lambda f, x, LU: f(LU, torch.arange(1, 4, dtype=torch.int32), x),
        ),
    ),
    formula="y1 = A0^-1 x1",
    source=_SOURCE,
)
