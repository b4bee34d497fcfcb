"""Norms, trace and the whole spectrum of F from random probes, with error bars; exact where that is cheap."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import FxscopeError, NotLocal, ShapeError
from ...graph.interpretation import KEY, of
from ...results.progress import steps as progress_bar
from ...results.registry import Drawn
from ..scale import norm_of, norms
from .rows import Rows, Turned, noise, orthonormal
from .solve import svd

if TYPE_CHECKING:
    from ..linear import Operator


@dataclass(frozen=True)
class Estimate:
    """A number and how far off it may be: ``error`` is a standard error of random probes, or a bound; 0 where exact to rounding."""

    value: float
    error: float
    passes: int
    method: str

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"{self.value:.6g} ± {self.error:.1g} ({self.method}, {self.passes} passes)"


def norm(
    F: Operator, ord: Any = 2, probes: int = 64, tol: float = 1e-5, seed: int = 0, progress: bool = True
) -> Estimate:
    """See ``Operator.norm``."""
    if ord == 2:
        found = svd(F, 1, tol=tol, seed=seed, progress=progress)
        return Estimate(float(found.s[0]), float(found.errors[0]), found.passes, found.method)
    if ord != "fro":
        raise FxscopeError(f'norm is 2 (the largest singular value) or "fro" (Frobenius), got {ord!r}')
    exact = _few_passes(F, probes)
    if exact is not None:
        return Estimate(*_exact_square(F, exact, progress))
    with progress_bar(probes, "norm: passes", progress) as bar:
        turned = Turned(Rows(F, bar))
        square, error = _hutchpp(turned, _square, probes, seed)
    unit, root = turned.rows.unit, math.sqrt(square)
    return Estimate(unit * root, unit * error / (2 * root) if root else 0.0, turned.rows.passes, "hutch++")


def trace(F: Operator, probes: int = 64, seed: int = 0, progress: bool = True) -> Estimate:
    """See ``Operator.trace``."""
    if F.inputs.shapes != F.outputs.shapes:
        raise ShapeError(
            f"the trace is that of an operator from a space to itself; F takes {F.inputs.shapes} and gives"
            f" {F.outputs.shapes}"
        )
    exact = _few_passes(F, probes)
    if exact == "sparse":
        diagonal = F.bare.to_sparse(progress=progress).diagonal().astype(np.float64)
        return Estimate(F.factor * float(diagonal.sum()), 0.0, F.passes(), "sparse")
    if exact == "dense":
        return Estimate(
            F.factor * float(F.bare.to_dense(progress=progress).double().trace()), 0.0, min(F.shape), "dense"
        )
    with progress_bar(probes, "trace: passes", progress) as bar:
        turned = Turned(Rows(F, bar))
        value, error = _hutchpp(turned, _inner, probes, seed)
    rows = turned.rows
    return Estimate(rows.sign * rows.unit * value, rows.unit * error, rows.passes, "hutch++")


def _few_passes(F: Operator, probes: int) -> str | None:
    """``dense`` or ``sparse`` where all of F takes no more passes than twice the probes would."""
    if min(F.shape) <= 2 * probes:
        return "dense"
    try:
        return "sparse" if F.passes() <= 2 * probes else None
    except NotLocal:
        return None


def _exact_square(F: Operator, how: str, progress: bool) -> tuple[float, float, int, str]:
    if how == "dense":
        return abs(F.factor) * norm_of([F.bare.to_dense(progress=progress)]), 0.0, min(F.shape), how
    data = torch.from_numpy(F.bare.to_sparse(progress=progress).data)
    return abs(F.factor) * norm_of([data]), 0.0, F.passes(), how


def _square(turned: Turned, z: torch.Tensor) -> torch.Tensor:
    """z^T F^T F z, one pass each."""
    return turned.forward(z).double().square().sum(1)


def _inner(turned: Turned, z: torch.Tensor) -> torch.Tensor:
    """z^T F z, one pass each."""
    return (turned.forward(z).double() * z.double()).sum(1)


def _hutchpp(turned: Turned, form: Any, probes: int, seed: int) -> tuple[float, float]:
    """Trace of a quadratic form, and its standard error: exact on a sketch of the range, random signs on the rest.

    A sixth of the probes go into the range (F^T F takes two passes), a sixth is its exact part, half are random signs.
    Source: Meyer, Musco, Musco, Woodruff, "Hutch++" (SOSA 2021).
    """
    generator = torch.Generator().manual_seed(seed)
    size = max(1, min(probes // 6, turned.small // 2))
    Q = orthonormal(turned.adjoint(turned.forward(noise(turned.rows, size, turned.small, generator))))
    count = max(2, probes - 3 * size)
    signs = noise(turned.rows, count, turned.small, generator).sign()
    rest = signs - (signs @ Q.T) @ Q
    samples = form(turned, rest)
    return float(form(turned, Q).sum() + samples.mean()), float(samples.std() / count**0.5)


@dataclass(frozen=True)
class Spectrum(Drawn):
    """All singular values at once, as their distribution: quadrature nodes of every probe, and the number of values each stands for.

    nodes   (probes, steps), singular values;   weights   (probes, steps), counts that sum to min(N, n)
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    passes: int
    seed: int
    origin: dict[str, Any]

    @property
    def interpretation(self) -> int:
        """The version of the interpretation that this is of."""
        return of(self.origin)

    def count(self, threshold: float) -> Estimate:
        """How many singular values are at least ``threshold``."""
        each = (self.weights * (self.nodes >= threshold)).sum(1)
        return Estimate(
            float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5), self.passes, "lanczos quadrature"
        )

    def moment(self, power: float) -> Estimate:
        """The sum of s^power over all singular values: 2 is the squared Frobenius norm, 1 the nuclear norm."""
        each = (self.weights * self.nodes**power).sum(1)
        return Estimate(
            float(each.mean()), float(each.std(ddof=1) / len(each) ** 0.5), self.passes, "lanczos quadrature"
        )

    def density(self, bins: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(edges, counts, standard errors) of a histogram from 0 to the largest node."""
        edges = np.linspace(0, float(self.nodes.max()) * (1 + 1e-9) or 1.0, bins + 1)
        each = np.stack([np.histogram(n, edges, weights=w)[0] for n, w in zip(self.nodes, self.weights)])
        return edges, each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5

    def to_json(self) -> str:
        edges, counts, errors = self.density()
        return json.dumps(
            {
                "edges": edges.tolist(),
                "counts": counts.tolist(),
                "errors": errors.tolist(),
                "size": self.size,
                "passes": self.passes,
                "seed": self.seed,
                KEY: self.interpretation,
                "origin": self.origin,
            },
            indent=2,
        )

    def __repr__(self) -> str:
        return f"Spectrum({self.size} values, largest {self.nodes.max():.4g}, |F|_F^2 = {self.moment(2)})"


def spectrum(F: Operator, probes: int = 8, steps: int = 30, seed: int = 0, progress: bool = True) -> Spectrum:
    """See ``Operator.spectrum``."""
    if probes < 2 or steps < 1:
        raise FxscopeError(
            f"error bars need 2 probes or more, and a step: got probes={probes}, steps={steps}"
        )
    with progress_bar(None, "spectrum: passes", progress) as bar:
        turned = Turned(Rows(F, bar))
        signs = noise(turned.rows, probes, turned.small, torch.Generator().manual_seed(seed)).sign()
        diagonal, beside = _tridiagonal(turned, signs / turned.small**0.5, min(steps, turned.small))
    nodes, weights = zip(*(_quadrature(a, b, turned.small) for a, b in zip(diagonal, beside)))
    return Spectrum(
        turned.rows.unit * np.stack(nodes),
        np.stack(weights),
        turned.small,
        turned.rows.passes,
        seed,
        F.origin(),
    )


def _tridiagonal(turned: Turned, v: torch.Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos on F^T F from every row of v by itself, all in the same passes; fully reorthogonalised."""
    basis = [v]
    alphas, betas = [], []
    for step in range(steps):
        Fv = turned.forward(basis[-1])
        alphas.append(Fv.double().square().sum(1))
        if step + 1 == steps:
            break
        w = turned.adjoint(Fv)
        for _ in range(2):
            stacked = torch.stack(basis, 1)  # (probes, step, small)
            w = w - torch.einsum("ps,psn->pn", torch.einsum("psn,pn->ps", stacked, w), stacked)
        size = norms(w)[:, None].to(w)
        # an invariant space: nothing follows
        size = torch.where(
            size > 64 * turned.rows.epsilon * alphas[0].max().to(size), size, torch.zeros_like(size)
        )
        betas.append(size[:, 0].double())
        basis.append(
            torch.where(size > 0, w / size.clamp_min(torch.finfo(w.dtype).tiny), torch.zeros_like(w))
        )
    return torch.stack(alphas, 1).cpu().numpy(), (
        torch.stack(betas, 1).cpu().numpy() if betas else np.zeros((len(v), 0))
    )


def _quadrature(alpha: np.ndarray, beta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights: eigenvalues of the tridiagonal matrix, squared first entries of its eigenvectors (Ubaru, Chen, Saad 2017)."""
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    return np.sqrt(np.maximum(values, 0)), size * vectors[0] ** 2
