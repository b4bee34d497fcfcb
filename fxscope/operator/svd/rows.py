"""F on stacked flat vectors, (K, n) -> (K, N): what every solver works with; it counts its passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from ...errors import NonFinite
from ..spaces import Space

if TYPE_CHECKING:
    from ..linear import Operator


def flatten(space: Space, value: Any) -> torch.Tensor:
    """Vectors of a space, (K, ...) in its structure, as rows (K, n)."""
    return torch.cat([t.reshape(t.shape[0], -1) for t in pytree.tree_leaves(value)], 1) if len(space.shapes) > 1 else pytree.tree_leaves(value)[0].flatten(1)


def unflatten(space: Space, rows: torch.Tensor) -> Any:
    """Rows (K, n) as vectors of a space, (K, ...) in its structure."""
    sizes = [torch.Size(s).numel() for s in space.shapes]
    return space.build([part.reshape(-1, *s) for part, s in zip(rows.split(sizes, 1), space.shapes)])


class Rows:
    """One direction of F and the other, on rows; a pass is one product with F or F^T of one vector.

    forward   (K, n) -> (K, N);   adjoint   (K, N) -> (K, n)
    Raises ``NonFinite`` where a product holds NaN or infinite values.
    """

    def __init__(self, F: "Operator", bar: Any = None):
        self.F, self._bar = F, bar
        self.passes = 0

    @property
    def n(self) -> int:
        return self.F.shape[1]

    @property
    def N(self) -> int:
        return self.F.shape[0]

    @property
    def epsilon(self) -> float:
        return torch.finfo(self.F.dtype).eps

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self._product(self.F, v)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        return self._product(self.F.T, u)

    def zeros(self, count: int, size: int) -> torch.Tensor:
        return torch.zeros(count, size, dtype=self.F.dtype, device=self.F.device)

    def _product(self, operator: "Operator", given: torch.Tensor) -> torch.Tensor:
        found = flatten(operator.outputs, operator @ unflatten(operator.inputs, given))
        self.passes += given.shape[0]
        if self._bar is not None:
            self._bar.update(given.shape[0])
        if not torch.isfinite(found.sum()) and not torch.isfinite(found).all():
            raise NonFinite("a product with F holds NaN or infinite values: the network, or x0, does")
        return found


class Turned:
    """The same operator seen from its smaller side: ``forward`` takes vectors of ``small`` entries, ``adjoint`` gives them back."""

    def __init__(self, rows: Rows):
        self.rows, self.swapped = rows, rows.N < rows.n
        self.small, self.large = sorted((rows.n, rows.N))

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.rows.adjoint(v) if self.swapped else self.rows.forward(v)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        return self.rows.forward(u) if self.swapped else self.rows.adjoint(u)


def noise(rows: Rows, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Normal vectors, (count, size), the same on every device."""
    return torch.randn(count, size, generator=generator, dtype=torch.float64).to(rows.F.device, rows.F.dtype)


def decomposed(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, s, V^T of a small matrix by LAPACK in double precision: in single its vectors were seen to be orthogonal to 1e-5 only."""
    return tuple(t.to(A.dtype) for t in torch.linalg.svd(A.double(), full_matrices=False))


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of the span of rows (K, n), K <= n."""
    return torch.linalg.qr(rows.T)[0].T
