"""``Task`` and ``Triplets``: the arguments and the result of a method, as rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from .spread import Alone


@dataclass(frozen=True)
class Task:
    """k triplets to a relative residual ``tol`` within ``max_passes`` passes.

    ``start`` is an earlier result to go on from.
    """

    k: int
    tol: float
    seed: int
    max_passes: int
    start: Any = None


@dataclass
class Triplets:
    """Triplets as rows: s (k,) descending, v (k, n), u (k, N), and the products F v and F^T u of ``Rows``.

    upper   upper bounds of the true values, each with probability 1 - risk, if the method has any
    rest    rows to go on with and their weights, {waiting, border}, on the smaller side:
            F^T F v = s^2 v + s_1^2 border^T waiting
    """

    s: torch.Tensor
    v: torch.Tensor
    u: torch.Tensor
    Fv: torch.Tensor
    Ftu: torch.Tensor
    info: dict[str, Any] = field(default_factory=dict)
    upper: torch.Tensor | None = None
    rest: dict[str, torch.Tensor] = field(default_factory=dict)

    def errors(self, spread: Alone) -> tuple[torch.Tensor, torch.Tensor]:
        """|F v - s u| and |F^T u - s v|, (k,) each."""
        s = self.s[:, None]
        return spread.norms(self.Fv - s * self.u), spread.norms(self.Ftu - s * self.v)
