"""``SVD``: singular triplets with their true errors, as a frozen record that shows, saves and loads itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from ...errors import FxscopeError
from ...graph.interpretation import KEY
from ...results.base import Result
from ...results.records import plain
from .shapes import Shape, shapes_of

_PLAIN = ("orthogonality", "passes", "seconds", "method", "tol", "seed", "info", "origin")


@dataclass(frozen=True, repr=False)
class SVD(Result):
    """The k largest triplets of F: F v = s u and F^T u = s v, up to the errors that stand with each.

    s   (k,), descending; in double precision where F's own does not hold them;   v   eigen-inputs, (k, *inputs);   u   eigen-outputs, (k, *outputs)
    forward_errors, adjoint_errors   |F v - s u| and |F^T u - s v|, (k,), in double precision
    orthogonality   the largest entry of |V V^T - 1| and |U U^T - 1|
    converged   (k,): both errors are at most tol s (64 eps of the largest value count as nothing)
    passes   products with F or F^T, one vector each;   seconds   of the whole call
    upper   values that the true ones do not exceed with probability 1 - risk (method "randomized"), or None
    info    what the method says of itself;   origin   of F: model, hashes of weights and image, policy, versions
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
        """How localised, oriented and bandpass every eigen-input ("v") or eigen-output ("u") is, in numbers."""
        if which not in ("v", "u"):
            raise FxscopeError(f'shapes are those of "v" or "u", got {which!r}')
        return shapes_of(getattr(self, which))

    def numbers(self) -> dict[str, Any]:
        """Everything but the vectors, as plain numbers."""
        return plain(
            {
                n: getattr(self, n)
                for n in ("s", "forward_errors", "adjoint_errors", "converged", "upper", KEY, *_PLAIN)
            }
        )

    def __repr__(self) -> str:
        count = int(self.converged.sum())
        first = ", ".join(f"{s:.4g}" for s in self.s[:4].tolist()) + (", ..." if len(self) > 4 else "")
        return (
            f"SVD({len(self)} triplets, s = {first}; {count} converged to {self.tol:g}; {self.method},"
            f" {self.passes} passes, {self.seconds:.2f} s)"
        )

    def _table(self) -> tuple[str, Sequence[str], Iterable[Sequence[Any]]]:
        caption = f"{self.method}, {self.passes} passes, {self.seconds:.2f} s, orthogonal to {self.orthogonality:.1e}"
        rows = zip(
            range(len(self)),
            (f"{s:.6g}" for s in self.s.tolist()),
            (f"{e:.1e}" for e in self.forward_errors.tolist()),
            (f"{e:.1e}" for e in self.adjoint_errors.tolist()),
            ("yes" if c else "no" for c in self.converged.tolist()),
        )
        return caption, ("", "s", "|F v - s u|", "|F^T u - s v|", "converged"), rows
