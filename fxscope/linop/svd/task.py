"""What a method is asked for, and what it gives back; both in rows, before they are shaped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from ..scale import norms


@dataclass(frozen=True)
class Task:
    """k triplets to a relative residual of ``tol`` within ``max_passes`` products; ``start`` is a result to go on from."""

    k: int
    tol: float
    seed: int
    max_passes: int
    start: Any = None


@dataclass
class Triplets:
    """s descending, v (k, n) and u (k, N) as rows, with F v and F^T u as ``Rows`` gave them, in its units.

    Converged means that both errors are at most tol s.

    upper     a value that the true s does not exceed, but for a probability of ``risk``, where a method has one
    rest      {waiting, border}: rows to go on with, and with which weights F^T F v = s^2 v + s_1^2 border^T waiting (of the smaller side)
    """

    s: torch.Tensor
    v: torch.Tensor
    u: torch.Tensor
    Fv: torch.Tensor
    Ftu: torch.Tensor
    info: dict[str, Any] = field(default_factory=dict)
    upper: torch.Tensor | None = None
    rest: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def forward_errors(self) -> torch.Tensor:
        """|F v - s u|, (k,)."""
        return norms(self.Fv - self.s[:, None] * self.u)

    @property
    def adjoint_errors(self) -> torch.Tensor:
        """|F^T u - s v|, (k,)."""
        return norms(self.Ftu - self.s[:, None] * self.v)
