"""``SVD``: singular triplets with their true errors, plotting and file I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...errors import FxscopeError
from ...graph.interpretation import KEY
from ...results.base import Result
from ...results.provenance import caption
from ...results.records import plain
from ...results.tables import Column, Table
from .shapes import Shape, shapes_of

_PLAIN = ("orthogonality", "passes", "seconds", "method", "tol", "seed", "info", "origin")


@dataclass(frozen=True, repr=False)
class SVD(Result):
    """The k largest singular triplets of F: F v = s u and F^T u = s v, up to the given errors.

    Attributes
    ----------
    s : torch.Tensor
        Singular values, (k,), descending; in double precision if the dtype of F cannot hold them.
    v : torch.Tensor or structure of tensors
        Eigen-inputs, (k, *inputs).
    u : torch.Tensor or structure of tensors
        Eigen-outputs, (k, *outputs).
    forward_errors, adjoint_errors : torch.Tensor
        ``|F v - s u|`` and ``|F^T u - s v|``, (k,), in double precision.
    orthogonality : float
        Largest entry of ``|V V^T - 1|`` and ``|U U^T - 1|``.
    converged : torch.Tensor
        (k,), True if both errors are at most ``tol * s``, or at most 64 eps of the largest value.
    passes : int
        Products with F or F^T, one vector each.
    seconds : float
        Duration of the whole call.
    method, tol, seed
        Arguments of the call.
    info : dict
        Details of the method.
    origin : dict
        Provenance of F: model, hashes of weights and image, policy, versions.
    upper : torch.Tensor or None
        Upper bounds of the true values, with probability 1 - risk (method "randomized").
    rest : dict
        Rows from which ``start=`` continues.
    """

    description: ClassVar[str] = "singular value decomposition"
    s: torch.Tensor
    v: Any
    u: Any
    forward_errors: torch.Tensor
    adjoint_errors: torch.Tensor
    orthogonality: float
    converged: torch.Tensor
    passes: int
    seconds: float
    method: str
    tol: float
    seed: int
    info: dict[str, Any]
    origin: dict[str, Any]
    upper: torch.Tensor | None = None
    rest: dict[str, torch.Tensor] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.s)

    @property
    def errors(self) -> torch.Tensor:
        """The larger error of each triplet, (k,)."""
        return torch.maximum(self.forward_errors, self.adjoint_errors)

    def shapes(self, which: str = "v") -> list[Shape]:
        """How localised, oriented and bandpass every eigen-input or eigen-output is (paper, section 4).

        Parameters
        ----------
        which : {"v", "u"}
            "v" are the eigen-inputs, "u" the eigen-outputs.

        Returns
        -------
        list of Shape
            One entry for each triplet.

        Raises
        ------
        FxscopeError
            If the vectors are no images.
        """
        if which not in ("v", "u"):
            raise FxscopeError(f'shapes are those of "v" or "u", got {which!r}')
        return shapes_of(getattr(self, which))

    def numbers(self) -> dict[str, Any]:
        """All fields except the vectors, as plain numbers."""
        return plain(
            {
                n: getattr(self, n)
                for n in ("s", "forward_errors", "adjoint_errors", "converged", "upper", KEY, *_PLAIN)
            }
        )

    def _said(self) -> Iterable[str]:
        first = [f"{s:.4g}" for s in self.s[:4].tolist()] + (["..."] if len(self) > 4 else [])
        return [
            f"{len(self)} triplets",
            f"s = {' '.join(first)}",
            f"{int(self.converged.sum())} converged to {self.tol:g}",
            f"{self.method}, {self.passes} passes",
            *caption(self.origin).split(", ")[:2],
        ]

    def _table(self) -> Table:
        columns = (
            "",
            Column("s", form=".6g"),
            Column("|F v - s u|", form=".1e"),
            Column("|F^T u - s v|", form=".1e"),
            "converged",
        )
        numbers = (self.s, self.forward_errors, self.adjoint_errors, self.converged)
        made = f"{self.method}: {self.passes} passes, {self.seconds:.2f} s"
        apart = f"orthogonal to {self.orthogonality:.1e}"
        rows = list(zip(range(1, len(self) + 1), *(each.tolist() for each in numbers)))
        return Table(columns, rows, caption(self.origin), (made, apart))
