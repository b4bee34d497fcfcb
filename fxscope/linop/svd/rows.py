"""F on stacked flat vectors, (K, n) -> (K, N): what every solver works with; it counts its passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from ...errors import NonFinite
from ..scale import multiplied, norm_of, power_of_two
from ..spaces import Space

if TYPE_CHECKING:
    from ..linear import Operator


def flatten(space: Space, value: Any) -> torch.Tensor:
    """Vectors of a space, (K, ...) in its structure, as rows (K, n)."""
    return (
        torch.cat([t.reshape(t.shape[0], -1) for t in pytree.tree_leaves(value)], 1)
        if len(space.shapes) > 1
        else pytree.tree_leaves(value)[0].flatten(1)
    )


def unflatten(space: Space, rows: torch.Tensor) -> Any:
    """Rows (K, n) as vectors of a space, (K, ...) in its structure."""
    sizes = [torch.Size(s).numel() for s in space.shapes]
    return space.build(
        [part.reshape(-1, *s).to(d) for part, s, d in zip(rows.split(sizes, 1), space.shapes, space.dtypes)]
    )


class Rows:
    """One direction of F and the other, on rows, in units of F's own size; a pass is one product with F or F^T of one vector.

        forward   (K, n) -> (K, N), F v / unit;      adjoint   (K, N) -> (K, n), F^T u / unit

    The size of F is read off the first product that is not zero. Every method then works with an operator of size 1, whose squares
    and fourth powers neither under- nor overflow, and what it finds is multiplied with ``unit`` at the end. Powers of two bring it
    there, so that nothing is rounded; a factor c of c * F is left out of all products, which are those of F, bit for bit.
    Raises ``NonFinite`` where a product holds NaN or infinite values.
    """

    def __init__(self, F: Operator, bar: Any = None):
        self.F, self._bar = F.bare if F.factor else F, bar  # 0 * F is nothing, whatever F is
        self.factor = F.factor or 1.0
        self.passes = 0
        self._size: float | None = None  # of the operator without its factor, a power of two

    @property
    def n(self) -> int:
        return self.F.shape[1]

    @property
    def N(self) -> int:
        return self.F.shape[0]

    @property
    def epsilon(self) -> float:
        """Of the type with the fewest digits that F takes or gives."""
        return max(torch.finfo(d).eps for d in self._dtypes)

    @property
    def dtype(self) -> torch.dtype:
        """The type of all rows: what holds both the inputs and the outputs."""
        return torch.promote_types(self.F.inputs.dtype, self.F.outputs.dtype)

    @property
    def _dtypes(self) -> tuple[torch.dtype, ...]:
        return *self.F.inputs.dtypes, *self.F.outputs.dtypes

    @property
    def unit(self) -> float:
        """F is ``sign`` times ``unit`` times the operator that the methods see; known after the first product."""
        return abs(self.factor) * (self._size or 1.0)

    @property
    def sign(self) -> float:
        return math.copysign(1.0, self.factor)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self._product(self.F, v)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        return self._product(self.F.T, u)

    def whole(self, product: Callable, size: int) -> torch.Tensor:
        """All of one side: the products of the unit vectors, ``F.chunk`` at a time; each part tells its size, and the largest is F's."""
        units = torch.eye(size, dtype=self.dtype, device=self.F.device).split(self.F.chunk)
        parts, sizes = [], []
        for unit in units:
            self._size = None
            parts.append(product(unit))
            sizes.append(self._size or 0.0)
        self._size = max(sizes) or None
        if not self._size:
            product(noise(self, 1, size, torch.Generator().manual_seed(0)))
        if self._size and self._size < self._least:  # all of it is out of range as it is
            return torch.cat([product(unit) for unit in units])
        return torch.cat(
            [multiplied(part, each / self._size) if each else part for part, each in zip(parts, sizes)]
        )

    def zeros(self, count: int, size: int) -> torch.Tensor:
        return torch.zeros(count, size, dtype=self.dtype, device=self.F.device)

    def _product(self, operator: Operator, given: torch.Tensor) -> torch.Tensor:
        if self._size is None:
            return self._first(operator, given)
        # half of F's size on either side: what the network adds up lies around 1
        lift = self._lift(-0.5 * math.log2(self._size))
        found = multiplied(self._raw(operator, given, lift), 1 / (lift * self._size))
        if not torch.isfinite(found.sum()) and not torch.isfinite(found).all():
            raise NonFinite(_NON_FINITE)
        return found

    def _first(self, operator: Operator, given: torch.Tensor) -> torch.Tensor:
        """A product that tells the size of F. One that leaves the range of the type is taken again, of vectors of another size."""
        lift, found = 1.0, self._raw(operator, given, 1.0)
        sign = 1 if torch.isfinite(found).all() else -1
        # F may well ignore a vector with zeros
        retried = not self._in_range(found) and (sign < 0 or bool(given.all()))
        for part in (0.5, 0.8) if retried else ():
            other = self._lift(sign * part * self._bits)
            again = self._raw(operator, given, other)
            if torch.isfinite(again).all():
                lift, found = other, again
            if self._in_range(found):
                break
        if not torch.isfinite(found).all():
            raise NonFinite(_NON_FINITE)
        whole = norm_of([found])
        if not whole:
            return found
        self._size = power_of_two(whole / norm_of([given]) / lift)
        return multiplied(found, 1 / (lift * self._size))

    def _raw(self, operator: Operator, given: torch.Tensor, lift: float) -> torch.Tensor:
        """F (lift v), counted."""
        found = flatten(operator.outputs, operator @ unflatten(operator.inputs, multiplied(given, lift))).to(
            self.dtype
        )
        self.passes += given.shape[0]
        if self._bar is not None:
            self._bar.update(given.shape[0])
        return found

    @property
    def _bits(self) -> float:
        return min(math.log2(torch.finfo(d).max) for d in self._dtypes)

    def _lift(self, power: float) -> float:
        """2^power, within what the type holds."""
        most = int(0.8 * self._bits)
        return math.ldexp(1.0, max(-most, min(most, int(power))))

    @property
    def _least(self) -> float:
        """What is larger has all its digits."""
        return max(torch.finfo(d).tiny / torch.finfo(d).eps for d in self._dtypes)

    def _in_range(self, found: torch.Tensor) -> bool:
        """Whether neither the largest entries nor the digits of the others are lost."""
        return bool(torch.isfinite(found).all()) and float(found.abs().max()) >= self._least


_NON_FINITE = "a product with F holds NaN or infinite values: the network, or x0, does"


class Turned:
    """The same operator seen from its smaller side: ``forward`` takes vectors of ``small`` entries, ``adjoint`` gives them back."""

    def __init__(self, rows: Rows):
        self.rows, self.swapped = rows, rows.n > rows.N
        self.small, self.large = sorted((rows.n, rows.N))

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        return self.rows.adjoint(v) if self.swapped else self.rows.forward(v)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        return self.rows.forward(u) if self.swapped else self.rows.adjoint(u)


def noise(rows: Rows, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Normal vectors, (count, size), the same on every device."""
    return torch.randn(count, size, generator=generator, dtype=torch.float64).to(rows.F.device, rows.dtype)


def decomposed(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, s, V^T of a small matrix by LAPACK in double precision: in single its vectors were seen to be orthogonal to 1e-5 only."""
    return tuple(t.to(A.dtype) for t in torch.linalg.svd(A.double(), full_matrices=False))


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of the span of rows (K, n), K <= n."""
    return torch.linalg.qr(rows.T)[0].T
