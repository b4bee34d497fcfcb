"""Method "power": Algorithm 1 of the paper, the power method with momentum, as corrected and as printed."""

from __future__ import annotations

import torch

from ...errors import FxscopeError
from ..scale import norm_of, norms
from .rows import Rows, noise
from .task import Task, Triplets

PRINTED_STEPS = 100  # S of Algorithm 1, which the paper does not give


def power(
    rows: Rows,
    task: Task,
    momentum: float | str = "auto",
    literal: bool = False,
    steps: int | None = None,
    residual: torch.Tensor | None = None,
) -> Triplets:
    """One triplet after the other by power iteration with momentum on the deflated operator.

    A step takes two passes (paper, section 3, Algorithm 1)::

        u = F v;    w = F^T u - m v_prev;    v_prev, v = v/|w|, w/|w|

    The letters (a) to (h) in the comments are those of docs/svd.md, which lists the corrections.

    Parameters
    ----------
    momentum : float or "auto"
        0 is plain power iteration. A float in (0, 1) is relative to sigma^4/4 of the current sigma; at 1 or
        more the iteration does not converge. "auto" estimates the best value, sigma_2^4/4, for each triplet.
    literal : bool
        Use the printed form: ``momentum`` is its m and ``steps`` its S (default 100). Its sigma is biased
        if m is not 0.
    residual : torch.Tensor, optional
        r, for the literal form, which then computes u = y1(v) - r as printed.

    References
    ----------
    De Sa, He, Mitliagkas, Re, Xu, AISTATS 2018, on the momentum.
    Austin, Pollock, Zhu (2024), on "auto".
    """
    _checked(momentum, literal, residual)
    found = _Found(rows, task)
    generator = torch.Generator().manual_seed(task.seed)
    while len(found.s) < task.k and rows.passes + 2 <= task.max_passes:
        v = noise(rows, 1, rows.n, generator)
        if literal:
            _printed(found, v, float(momentum), steps or PRINTED_STEPS, residual)
        else:
            _one(found, v, momentum, steps, generator)
    return found.triplets(sort=not literal)


def _checked(momentum: float | str, literal: bool, residual: torch.Tensor | None) -> None:
    if momentum != "auto" and (isinstance(momentum, str) or momentum < 0):
        raise FxscopeError(
            f'momentum is 0, a float in (0, 1) relative to sigma^4/4, or "auto"; got {momentum!r}'
        )
    if literal and momentum == "auto":
        raise FxscopeError(
            "the literal form takes its m as a number: svd(k, method='power', literal=True, momentum=m)"
        )
    if not literal and not isinstance(momentum, str) and momentum >= 1:
        raise FxscopeError(
            f"momentum={momentum} is relative to sigma^4/4: at 1 or more no iteration converges to the"
            " largest value"
        )
    if residual is not None and not literal:
        raise FxscopeError(
            "residual= is for the literal form; the corrected one uses F itself, which has none"
        )


class _Found:
    """The triplets so far, and F deflated by them."""

    def __init__(self, rows: Rows, task: Task):
        self.rows, self.task = rows, task
        self.s: list[torch.Tensor] = []
        self.pairs: dict[str, list[torch.Tensor]] = {"v": [], "u": [], "Fv": [], "Ftu": []}
        self.iterations: list[int] = []

    def deflated(self, product: torch.Tensor, given: torch.Tensor, left: str, right: str) -> torch.Tensor:
        """(g) F - s u v^T and its transpose; the paper's "F + r - s u v^T" adds a vector to a matrix."""
        if not self.s:
            return product
        weights = torch.cat(self.pairs[right]) @ given.T * torch.stack(self.s)[:, None]
        return product - weights.T @ torch.cat(self.pairs[left])

    def put(self, s: torch.Tensor, iterations: int, **rows: torch.Tensor) -> None:
        self.s.append(s)
        self.iterations.append(iterations)
        for name, row in rows.items():
            self.pairs[name].append(row)

    def triplets(self, sort: bool) -> Triplets:
        if not self.s:
            raise FxscopeError(
                f"max_passes={self.task.max_passes} is not enough for one step; a step takes 2"
            )
        s = torch.stack(self.s)
        order = s.argsort(descending=True) if sort else torch.arange(len(s), device=s.device)
        v, u, Fv, Ftu = (torch.cat(self.pairs[name])[order] for name in ("v", "u", "Fv", "Ftu"))
        info = {"iterations": [self.iterations[i] for i in order.tolist()]}
        return Triplets(s[order], v, u, Fv, Ftu, info)


def _one(
    found: _Found, v: torch.Tensor, momentum: float | str, steps: int | None, generator: torch.Generator
) -> None:
    """Iterate to the largest triplet of the deflated operator."""
    rows, task = found.rows, found.task
    # (d) v starts un-normalised in the paper: its first sigma and momentum are then off by |v|
    v = v / norm_of([v])
    previous, m, before, step = torch.zeros_like(v), 0.0, None, 0
    tol = task.tol if task.k == 1 else task.tol / 10  # the error of one triplet leaks into the next ones
    largest = max((float(s) for s in found.s), default=0.0)
    while True:
        Fv = rows.forward(v)  # (f) F itself: y1(v) - r cancels where r is large
        deflated = found.deflated(Fv, v, "u", "v")
        # (b) |F v| at |v| = 1: v^T (F^T F v - m v_prev) is biased by the momentum
        sigma = norms(deflated)[0].to(v)
        if float(sigma) <= 64 * rows.epsilon * largest or float(sigma) == 0.0:
            return _null(found, v, Fv, generator, step)
        u = deflated / sigma  # (h) F v = sigma u, not u = sigma F v
        Ftu = rows.adjoint(u)
        back = found.deflated(Ftu, u, "v", "u")
        step += 1
        error = norm_of([back - sigma * v]) / float(sigma)
        if error <= tol or rows.passes + 2 > task.max_passes or (steps and step >= steps):
            return found.put(sigma, step, v=v, u=u, Fv=Fv, Ftu=Ftu)  # (e) u and v of one and the same step
        m = _momentum(momentum, float(sigma), error, before)
        before = error
        w = back * sigma - m * previous  # (a) m is the caller's: line 1 of the paper overwrites it with 0
        size = norm_of([w])
        previous, v = v / size, w / size


def _momentum(momentum: float | str, sigma: float, error: float, before: float | None) -> float:
    """(c) The best m is sigma_2^4/4; "auto" estimates it from the rate rho at which the residuals fall.

    sigma_2^2/sigma_1^2 = 2 rho/(1 + rho^2).
    """
    if not isinstance(momentum, str):
        return momentum * sigma**4 / 4
    if before is None:
        return 0.0
    rho = min(error / before, 1.0)
    ratio = min(2 * rho / (1 + rho**2), 1 - 1e-9)
    return (sigma**2 * ratio) ** 2 / 4


def _null(found: _Found, v: torch.Tensor, Fv: torch.Tensor, generator: torch.Generator, step: int) -> None:
    """Add a triplet of value 0, whose random v and u are orthogonal to the others."""
    rows = found.rows
    u = noise(rows, 1, rows.N, generator)
    for _ in range(2):
        for other in found.pairs["u"]:
            u = u - (u @ other.T) * other
        for other in found.pairs["v"]:
            v = v - (v @ other.T) * other
    u, v = u / norm_of([u]), v / norm_of([v])
    found.put(
        torch.zeros((), dtype=v.dtype, device=v.device),
        step,
        v=v,
        u=u,
        Fv=rows.forward(v),
        Ftu=rows.adjoint(u),
    )


def _in_units(m: float, rows: Rows) -> float:
    """The quotient m / unit^4 by four divisions: unit^4 may overflow although the quotient does not."""
    for _ in range(4):
        m = m / rows.unit
    return m


def _printed(found: _Found, v: torch.Tensor, m: float, steps: int, residual: torch.Tensor | None) -> None:
    """Lines 1 to 10 as printed, except the m of line 1; two more passes give the true errors."""
    rows, previous = found.rows, torch.zeros_like(v)
    squared = torch.zeros((), dtype=torch.float64, device=v.device)
    for step in range(steps):
        if rows.passes + 4 > found.task.max_passes and step:
            break
        u = rows.forward(v)
        if residual is not None:  # line 3
            r = (residual.reshape(1, -1).double() / (rows.sign * rows.unit)).to(u)
            u = (u + r) - r
        u = found.deflated(u, v, "u", "v")
        w = found.deflated(rows.adjoint(u), u, "v", "u") - _in_units(m, rows) * previous  # line 4
        squared = (v.double() * w.double()).sum()  # line 5
        size = norm_of([w])
        previous, v = v / size, w / size  # lines 6 and 7
    sigma = squared.clamp_min(0).sqrt().to(v)
    u = u / norm_of([u])  # line 10: of the v before the last
    found.put(sigma, step + 1, v=v, u=u, Fv=rows.forward(v), Ftu=rows.adjoint(u))
