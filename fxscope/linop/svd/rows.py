"""F on stacked flat vectors, (K, n) -> (K, N), as the solvers use it; passes are counted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from ...errors import NonFinite
from ..scale import multiplied, power_of_two
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
    """F and F^T on rows, divided by the size of F; a pass is one product of F or F^T with one vector.

    ::

        forward   (K, n) -> (K, N), F v / unit
        adjoint   (K, N) -> (K, n), F^T u / unit

    The first nonzero product gives the size of F. Every method then works with an operator of size 1, whose
    squares and fourth powers neither underflow nor overflow; the caller multiplies the result by ``unit``.
    The size is a power of two, so scaling rounds nothing. The factor c of c * F is left out of all products,
    which are therefore those of F, bit for bit.

    Raises
    ------
    NonFinite
        If a product holds NaN or infinite values.
    """

    def __init__(self, F: Operator, bar: Any = None):
        self.F, self._bar = F.bare if F.factor else F, bar  # 0 * F is zero, whatever F is
        self.spread = self.F.spread
        self.factor = F.factor or 1.0
        self.passes = 0
        self._size: float | None = None  # of the operator without its factor, a power of two

    @property
    def n(self) -> int:
        """Entries of an input."""
        return self.F.shape[1]

    @property
    def N(self) -> int:
        """Entries of an output."""
        return self.F.shape[0]

    @property
    def epsilon(self) -> float:
        """Machine epsilon of the dtype with the fewest digits among inputs and outputs."""
        return max(torch.finfo(d).eps for d in self._dtypes)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all rows, which holds both inputs and outputs."""
        return torch.promote_types(self.F.inputs.dtype, self.F.outputs.dtype)

    @property
    def _dtypes(self) -> tuple[torch.dtype, ...]:
        return self.F.inputs.dtypes + self.F.outputs.dtypes

    @property
    def unit(self) -> float:
        """The size of F, known after the first product: F is ``sign * unit`` times what the methods use."""
        return abs(self.factor) * (self._size or 1.0)

    @property
    def sign(self) -> float:
        """Sign of the factor of F."""
        return math.copysign(1.0, self.factor)

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """F v / unit, (K, n) -> (K, N)."""
        return self._product(self.F, v)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        """F^T u / unit, (K, N) -> (K, n)."""
        return self._product(self.F.T, u)

    def whole(self, product: Callable, size: int) -> torch.Tensor:
        """The products with all unit vectors, ``F.chunk`` at a time.

        Each part gives its own size; the largest is the size of F.
        """
        units = torch.eye(size, dtype=self.dtype, device=self.F.device).split(self.F.chunk)
        parts, sizes = [], []
        for unit in units:
            self._size = None
            parts.append(product(unit))
            sizes.append(self._size or 0.0)
        largest = max(sizes)
        self._size = largest or None
        if not largest:
            product(noise(self, 1, size, torch.Generator().manual_seed(0)))
        if self._size and self._size < self._least:  # the whole matrix is out of range as it is
            return torch.cat([product(unit) for unit in units])
        return torch.cat(
            [multiplied(part, each / largest) if each else part for part, each in zip(parts, sizes)]
        )

    def zeros(self, count: int, size: int) -> torch.Tensor:
        """Rows of zeros, (count, size)."""
        return torch.zeros(count, size, dtype=self.dtype, device=self.F.device)

    def noise(self, size: int, generator: torch.Generator, of_inputs: bool) -> torch.Tensor:
        """A random vector, (1, size), of the inputs or of the outputs."""
        found = self.spread.noise(1, size, generator, of_inputs)
        return found.to(self.F.device, self.dtype)

    def decomposed(self, A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """U, s, V^T of a few rows, as ``decomposed``."""
        U, s, Vt = self.spread.decomposed(A)
        return U.to(A.dtype), s.to(A.dtype), Vt.to(A.dtype)

    def _product(self, operator: Operator, given: torch.Tensor) -> torch.Tensor:
        if self._size is None:
            return self._first(operator, given)
        # half of the size is applied before the network and half after it, so its sums are of order 1
        lift = self._lift(-0.5 * math.log2(self._size))
        found = multiplied(self._raw(operator, given, lift), 1 / (lift * self._size))
        if not self._finite(found):
            raise NonFinite(_NON_FINITE)
        return found

    def _first(self, operator: Operator, given: torch.Tensor) -> torch.Tensor:
        """The first product, which gives the size of F.

        If it leaves the range of the dtype, it is computed again with vectors of another size.
        """
        lift, found = 1.0, self._raw(operator, given, 1.0)
        sign = 1 if self._finite(found) else -1
        # a vector with zeros may be mapped to 0 although F is not 0
        retried = not self._in_range(found) and (sign < 0 or self.spread.every(bool(given.all())))
        for part in (0.5, 0.8) if retried else ():
            other = self._lift(sign * part * self._bits)
            again = self._raw(operator, given, other)
            if self._finite(again):
                lift, found = other, again
            if self._in_range(found):
                break
        if not self._finite(found):
            raise NonFinite(_NON_FINITE)
        whole = self.spread.norm(found)
        if not whole:
            return found
        self._size = power_of_two(whole / self.spread.norm(given) / lift)
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
        """2^power, limited to what the dtype holds."""
        most = int(0.8 * self._bits)
        return math.ldexp(1.0, max(-most, min(most, int(power))))

    @property
    def _least(self) -> float:
        """Numbers above this have their full precision."""
        return max(torch.finfo(d).tiny / torch.finfo(d).eps for d in self._dtypes)

    def _in_range(self, found: torch.Tensor) -> bool:
        """Whether no entry is infinite and the largest have full precision."""
        most = found.abs().max() if found.numel() else 0.0
        return self._finite(found) and self.spread.largest(float(most)) >= self._least

    def _finite(self, found: torch.Tensor) -> bool:
        """Whether all numbers are finite: their sum tells at once, unless it overflows."""
        is_so = bool(torch.isfinite(found.sum())) or bool(torch.isfinite(found).all())
        return self.spread.every(is_so)


_NON_FINITE = "a product with F holds NaN or infinite values: the network, or x0, does"


class ShortSide:
    """F or F^T, whichever takes the shorter vectors.

    ``forward`` maps (K, small) to (K, large), and ``adjoint`` maps (K, large) to (K, small).
    """

    def __init__(self, rows: Rows):
        self.rows, self.swapped = rows, rows.n > rows.N
        self.small, self.large = sorted((rows.n, rows.N))
        # what this process has of each: all, unless the vectors are spread over several
        sizes = rows.F.inputs.numel, rows.F.outputs.numel
        self.here, self.there = reversed(sizes) if self.swapped else sizes

    def forward(self, v: torch.Tensor) -> torch.Tensor:
        """(K, small) -> (K, large)."""
        return self.rows.adjoint(v) if self.swapped else self.rows.forward(v)

    def noise(self, generator: torch.Generator) -> torch.Tensor:
        """A random vector of the smaller side, (1, small)."""
        return self.rows.noise(self.small, generator, not self.swapped)

    def adjoint(self, u: torch.Tensor) -> torch.Tensor:
        """(K, large) -> (K, small)."""
        return self.rows.forward(u) if self.swapped else self.rows.adjoint(u)


def noise(rows: Rows, count: int, size: int, generator: torch.Generator) -> torch.Tensor:
    """Standard normal vectors, (count, size), the same on every device."""
    return torch.randn(count, size, generator=generator, dtype=torch.float64).to(rows.F.device, rows.dtype)


def decomposed(A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """U, s, V^T of a small matrix, by LAPACK in double precision.

    In single precision its singular vectors are orthogonal to 1e-5 only.
    """
    U, s, Vt = torch.linalg.svd(A.double(), full_matrices=False)
    return U.to(A.dtype), s.to(A.dtype), Vt.to(A.dtype)


def orthonormal(rows: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of the span of rows (K, n), K <= n."""
    return torch.linalg.qr(rows.T)[0].T
