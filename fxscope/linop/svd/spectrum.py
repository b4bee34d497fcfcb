"""Norms, trace and spectrum of F from random probes, with errors; exact if that takes few passes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import FxscopeError, NotLocal, ShapeError
from ...graph.arguments import shown
from ...graph.interpretation import KEY
from ...results.base import Result
from ...results.display import Displayed
from ...results.progress import steps as progress_bar
from ...results.provenance import caption
from ...results.tables import Column, Table
from ..scale import norm_of, norms
from .rows import Rows, ShortSide, noise, orthonormal
from .solve import svd

if TYPE_CHECKING:
    from ..linear import Operator


@dataclass(frozen=True, repr=False)
class Estimate(Displayed):
    """A number with its error.

    Attributes
    ----------
    value : float
        The estimate; ``float(estimate)`` gives it.
    error : float
        Standard error of random probes, or a bound; 0 if the value is exact to rounding.
    passes : int
        Products with F or F^T, one vector each.
    method : str
        How the value was computed.
    """

    value: float
    error: float
    passes: int
    method: str

    def __float__(self) -> float:
        return self.value

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.error:.1g} ({self.method}, {self.passes} passes)"

    def _said(self) -> Iterable[str]:
        return [f"{self.value:.6g} ± {self.error:.1g}", self.method, f"{self.passes} passes"]

    def _table(self) -> Table:
        columns = (Column("value", form=".6g"), Column("standard error", form=".1g"), "passes", "method")
        return Table(columns, [(self.value, self.error, self.passes, self.method)])


def norm(
    F: Operator, ord: Any = 2, probes: int = 64, tol: float = 1e-5, seed: int = 0, progress: bool = True
) -> Estimate:
    """See ``Operator.norm``."""
    if not isinstance(ord, torch.Tensor) and ord == 2:
        found = svd(F, 1, tol=tol, seed=seed, progress=progress)
        return Estimate(float(found.s[0]), float(found.errors[0]), found.passes, found.method)
    if not isinstance(ord, str) or ord != "fro":
        raise FxscopeError(f'norm is 2 (the largest singular value) or "fro" (Frobenius), got {shown(ord)}')
    exact = _few_passes(F, probes)
    if exact is not None:
        return Estimate(*_exact_square(F, exact, progress))
    with progress_bar(probes, "norm: passes", progress) as bar:
        short = ShortSide(Rows(F, bar))
        square, error = _hutchpp(short, _square, probes, seed)
    unit, root = short.rows.unit, math.sqrt(square)
    return Estimate(unit * root, unit * error / (2 * root) if root else 0.0, short.rows.passes, "hutch++")


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
        short = ShortSide(Rows(F, bar))
        value, error = _hutchpp(short, _inner, probes, seed)
    rows = short.rows
    return Estimate(rows.sign * rows.unit * value, rows.unit * error, rows.passes, "hutch++")


def _few_passes(F: Operator, probes: int) -> str | None:
    """``dense`` or ``sparse`` if the whole of F takes at most twice ``probes`` passes, else None."""
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


def _square(short: ShortSide, z: torch.Tensor) -> torch.Tensor:
    """z^T F^T F z, one pass each."""
    return short.forward(z).double().square().sum(1)


def _inner(short: ShortSide, z: torch.Tensor) -> torch.Tensor:
    """z^T F z, one pass each."""
    return (short.forward(z).double() * z.double()).sum(1)


def _hutchpp(short: ShortSide, form: Any, probes: int, seed: int) -> tuple[float, float]:
    """The trace of a quadratic form, exact on a sketch of the range and estimated on the rest.

    A sixth of the probes span the range, with two passes each. A sixth of the passes gives its exact part,
    and half of the passes are those of random signs. Source: Meyer, Musco, Musco, Woodruff, "Hutch++" (SOSA
    2021).
    """
    generator = torch.Generator().manual_seed(seed)
    size = max(1, min(probes // 6, short.small // 2))
    Q = orthonormal(short.adjoint(short.forward(noise(short.rows, size, short.small, generator))))
    count = max(2, probes - 3 * size)
    signs = noise(short.rows, count, short.small, generator).sign()
    rest = signs - (signs @ Q.T) @ Q
    samples = form(short, rest)
    return float(form(short, Q).sum() + samples.mean()), float(samples.std() / count**0.5)


@dataclass(frozen=True, repr=False)
class Spectrum(Result):
    """The distribution of all singular values, as quadrature nodes and weights of every probe.

    Attributes
    ----------
    nodes : numpy.ndarray
        Singular values, (probes, steps).
    weights : numpy.ndarray
        Number of singular values that each node stands for, (probes, steps); they sum to min(N, n).
    size : int
        min(N, n).
    passes : int
        Products with F or F^T, one vector each.
    seed : int
        Seed of the probes.
    origin : dict
        Provenance of F.
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    passes: int
    seed: int
    origin: dict[str, Any]

    def count(self, threshold: float) -> Estimate:
        """The number of singular values of at least ``threshold``, with its standard error."""
        return self._mean((self.weights * (self.nodes >= threshold)).sum(1))

    def moment(self, power: float) -> Estimate:
        """The sum of s^power over all singular values, with its standard error.

        Power 2 gives the squared Frobenius norm, and 1 the nuclear norm.
        """
        return self._mean((self.weights * self.nodes**power).sum(1))

    def _mean(self, each: np.ndarray) -> Estimate:
        """Mean of one number a probe, and its standard error."""
        error = float(each.std(ddof=1) / len(each) ** 0.5)
        return Estimate(float(each.mean()), error, self.passes, "lanczos quadrature")

    def density(self, bins: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """A histogram of the singular values, from 0 to the largest node.

        Parameters
        ----------
        bins : int
            Number of bins.

        Returns
        -------
        edges, counts, errors : numpy.ndarray
            (bins + 1,) edges, (bins,) counts, and the standard errors of the counts.
        """
        edges = np.linspace(0, float(self.nodes.max()) * (1 + 1e-9) or 1.0, bins + 1)
        each = np.stack([np.histogram(n, edges, weights=w)[0] for n, w in zip(self.nodes, self.weights)])
        return edges, each.mean(0), each.std(0, ddof=1) / len(each) ** 0.5

    def numbers(self) -> dict[str, Any]:
        """The histogram of ``density`` and what the estimate depends on."""
        edges, counts, errors = self.density()
        return {
            "edges": edges.tolist(),
            "counts": counts.tolist(),
            "errors": errors.tolist(),
            "size": self.size,
            "passes": self.passes,
            "seed": self.seed,
            KEY: self.interpretation,
            "origin": self.origin,
        }

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        header, _ = super()._parts()
        arrays = {name: torch.from_numpy(header.pop(name)) for name in ("nodes", "weights")}
        return header, arrays

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Spectrum:
        return cls(**{n: t.cpu().numpy() for n, t in tensors.items()}, **header)

    def _said(self) -> Iterable[str]:
        about = caption(self.origin).split(", ")[:2]
        square = self.moment(2)
        return [
            f"{self.size} values",
            f"largest {self.nodes.max():.4g}",
            f"|F|_F^2 = {square.value:.4g} ± {square.error:.1g}",
            *about,
        ]

    def _table(self) -> Table:
        largest = float(self.nodes.max())
        rows: list[tuple[str, float, float | None]] = [
            (f"values of at least {part:g} of the largest", *self._pair(self.count(part * largest)))
            for part in (0.5, 0.1, 0.01)
        ]
        rows += [
            ("largest value, |F|", largest, None),
            ("sum of squares, |F|_F^2", *self._pair(self.moment(2))),
            ("sum of values, |F|_*", *self._pair(self.moment(1))),
        ]
        made = f"{self.size} values, {len(self.nodes)} probes, {self.passes} passes, seed {self.seed}"
        return Table(("", "estimate", "standard error"), rows, caption(self.origin), (made,))

    @staticmethod
    def _pair(estimate: Estimate) -> tuple[float, float]:
        return estimate.value, estimate.error


def spectrum(F: Operator, probes: int = 8, steps: int = 30, seed: int = 0, progress: bool = True) -> Spectrum:
    """See ``Operator.spectrum``."""
    if probes < 2 or steps < 1:
        raise FxscopeError(
            f"error bars need 2 probes or more, and a step: got probes={probes}, steps={steps}"
        )
    with progress_bar(None, "spectrum: passes", progress) as bar:
        short = ShortSide(Rows(F, bar))
        signs = noise(short.rows, probes, short.small, torch.Generator().manual_seed(seed)).sign()
        diagonal, beside = _tridiagonal(short, signs / short.small**0.5, min(steps, short.small))
    nodes, weights = zip(*(_quadrature(a, b, short.small) for a, b in zip(diagonal, beside)))
    return Spectrum(
        short.rows.unit * np.stack(nodes),
        np.stack(weights),
        short.small,
        short.rows.passes,
        seed,
        F.origin(),
    )


def _tridiagonal(short: ShortSide, v: torch.Tensor, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Lanczos on F^T F from each row of v separately, in the same passes, with full reorthogonalisation."""
    basis = [v]
    alphas, betas = [], []
    for step in range(steps):
        Fv = short.forward(basis[-1])
        alphas.append(Fv.double().square().sum(1))
        if step + 1 == steps:
            break
        w = short.adjoint(Fv)
        for _ in range(2):
            stacked = torch.stack(basis, 1)  # (probes, step, small)
            w = w - torch.einsum("ps,psn->pn", torch.einsum("psn,pn->ps", stacked, w), stacked)
        size = norms(w)[:, None].to(w)
        # 0 if the space is invariant
        size = torch.where(
            size > 64 * short.rows.epsilon * alphas[0].max().to(size), size, torch.zeros_like(size)
        )
        betas.append(size[:, 0].double())
        basis.append(
            torch.where(size > 0, w / size.clamp_min(torch.finfo(w.dtype).tiny), torch.zeros_like(w))
        )
    return torch.stack(alphas, 1).cpu().numpy(), (
        torch.stack(betas, 1).cpu().numpy() if betas else np.zeros((len(v), 0))
    )


def _quadrature(alpha: np.ndarray, beta: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss nodes and weights of a tridiagonal matrix.

    The nodes are its eigenvalues, the weights the squared first entries of its eigenvectors.
    Source: Ubaru, Chen, Saad, SIAM J. Matrix Anal. 38 (2017).
    """
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta, 1) + np.diag(beta, -1))
    return np.sqrt(np.maximum(values, 0)), size * vectors[0] ** 2
