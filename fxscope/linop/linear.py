"""``Operator``: F or F^T of one image, without a matrix; products, rows, columns, algebra, and dense or scipy forms."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, NotLocal, ShapeError
from ..results.progress import steps
from ..results.provenance import of_operator
from .filters import Filters
from .index import several
from .local.sparse import Field, Support, as_numpy, plan, to_sparse
from .scale import multiplied
from .spaces import Space
from .svd import SVD, Estimate, Spectrum, norm, spectrum, svd, trace

_COMPLEX = (torch.complex32, torch.complex64, torch.complex128, np.dtype("complex64"), np.dtype("complex128"))


class Operator:
    """A linear map between two spaces, known by its action and its transpose's.

        F @ v         (..., *inputs) -> (..., *outputs): the leading dimensions are probes
        F.T @ u       (..., *outputs) -> (..., *inputs)
        F.row(i)      F^T e_i, of the inputs' shape;    F.column(j)   F e_j, of the outputs' shape

    n inputs, N outputs; ``F.shape`` is (N, n). With a batch B > 1 the batch is a dimension of both spaces and F is
    block-diagonal over it (``ImagesMix`` warns where it is not). Probes run ``chunk`` at a time.

    factor   a number that every product is multiplied with: c * F keeps c apart, so that nothing of F is rounded away by it
    """

    __array_ufunc__ = None  # numpy's numbers leave their products to this class

    def __init__(
        self,
        forward: Callable,
        adjoint: Callable,
        inputs: Space,
        outputs: Space,
        chunk: int = 32,
        batch: int = 1,
        support: Callable | None = None,
        origin: Callable | None = None,
        blocks: Callable | None = None,
        factor: float = 1.0,
    ):
        self._forward, self._adjoint, self.factor = forward, adjoint, factor
        self.inputs, self.outputs = inputs, outputs
        self.chunk, self.batch = chunk, batch
        self._support, self._origin, self._blocks = support, origin, blocks or (lambda: None)

    @property
    def shape(self) -> tuple[int, int]:
        return self.outputs.numel, self.inputs.numel

    @property
    def dtype(self) -> torch.dtype:
        return self.inputs.dtype

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    @property
    def T(self) -> Operator:
        """The transpose, an operator of the same class."""
        return Operator(
            self._adjoint,
            self._forward,
            self.outputs,
            self.inputs,
            self.chunk,
            self.batch,
            blocks=self._blocks,
            factor=self.factor,
        )

    @property
    def bare(self) -> Operator:
        """The same operator without its factor: F = factor * bare."""
        return self if self.factor == 1 else self._times(1.0)

    def __matmul__(self, v: Any) -> Any:
        if isinstance(v, Operator):
            return self._after(v)
        stacked, head = self.inputs.stack(v)
        leaves, spec = pytree.tree_flatten(stacked)
        K = leaves[0].shape[0]
        if K == 0:
            return self.outputs.unstack(self.outputs.build(self.outputs.zeros(0)), head)
        size = -(-K // -(-K // self.chunk))  # passes of one size: 8 probes, 7 at most together, are 4 and 4
        done = [
            self._forward(pytree.tree_unflatten([t[i : i + size] for t in leaves], spec))
            for i in range(0, K, size)
        ]
        each = [
            torch.cat(parts) if len(parts) > 1 else parts[0]
            for parts in zip(*(pytree.tree_leaves(d) for d in done))
        ]
        each = [multiplied(t, self.factor) for t in each]
        return self.outputs.unstack(self.outputs.build(each), head)

    def rows(self, indices: Iterable[Any], progress: bool = True) -> torch.Tensor:
        """F^T e_i for every index, (R, *inputs)."""
        return self.T.columns(several(indices, self.outputs.name), progress)

    def columns(self, indices: Iterable[Any], progress: bool = True) -> torch.Tensor:
        """F e_j for every index, (R, *outputs)."""
        found = [
            y for _, y in self._iterate(list(several(indices, self.inputs.name)), self.chunk, None, progress)
        ]
        if not found:
            return self.outputs.build(self.outputs.zeros(0))
        return pytree.tree_map(lambda *t: torch.stack(t), *found)

    def row(self, index: Any) -> Any:
        """The row of an output, <row, x0> + r = y0[index]: its receptive filter (paper, eq. 7 and 8).

        index   of the un-batched output, e.g. (c, y, x); with slices or a boolean mask the sum of the rows; {index: weight}
                their combination; with several outputs (key, ...); with B > 1 one for all images, or a list of B of them

        Raises ``PlaceIndexError``, also for a list or an array of whole numbers, which may mean one place or several.
        """
        return (
            self.rows([index], progress=False)[0]
            if not self._structured(self.inputs)
            else pytree.tree_map(lambda t: t[0], self.rows([index], progress=False))
        )

    def column(self, index: Any) -> Any:
        """The column of an input, F e_j: its projective filter (paper, eq. 9)."""
        return (
            self.columns([index], progress=False)[0]
            if not self._structured(self.outputs)
            else pytree.tree_map(lambda t: t[0], self.columns([index], progress=False))
        )

    def filters(
        self, rows: Iterable[Any] | None = None, columns: Iterable[Any] | None = None, progress: bool = True
    ) -> Filters:
        """Rows (receptive filters) or columns (projective filters) as a record that knows what it is of, shows, saves and loads itself."""
        if (rows is None) == (columns is None):
            raise FxscopeError("filters takes rows= or columns=, a list of indices")
        indices = list(several(*((columns, self.inputs.name) if rows is None else (rows, self.outputs.name))))
        values = self.columns(indices, progress) if rows is None else self.rows(indices, progress)
        return Filters("column" if rows is None else "row", tuple(map(str, indices)), values, self.origin())

    @staticmethod
    def _structured(space: Space) -> bool:
        return not space.spec.is_leaf()

    def iter_rows(
        self, indices: Iterable[Any], chunk: int | None = None, out_device: Any = None, progress: bool = True
    ) -> Iterator[tuple[Any, Any]]:
        """(index, row) one by one, computed ``chunk`` at a time and moved to ``out_device``: for more rows than memory holds."""
        return self.T._iterate(several(indices, self.outputs.name), chunk or self.chunk, out_device, progress)

    def _iterate(
        self, indices: Iterable[Any], chunk: int, out_device: Any, progress: bool
    ) -> Iterator[tuple[Any, Any]]:
        if chunk < 1:
            raise ShapeError(f"chunk={chunk}: at least one probe goes through at once")
        known = list(indices) if isinstance(indices, (list, tuple)) else None
        pending: list[Any] = []
        with steps(None if known is None else len(known), "rows", progress) as bar:
            for index in indices if known is None else known:
                pending.append(index)
                if len(pending) == chunk:
                    yield from self._chunk(pending, out_device)
                    bar.update(len(pending))
                    pending = []
            if pending:
                yield from self._chunk(pending, out_device)
                bar.update(len(pending))

    def _chunk(self, indices: list[Any], out_device: Any) -> Iterator[tuple[Any, Any]]:
        self._blocks()
        results = self @ self.inputs.cotangents(indices, self.batch)
        if out_device is not None:
            results = pytree.tree_map(lambda t: t.to(out_device), results)
        for k, index in enumerate(indices):
            yield index, pytree.tree_map(lambda t, k=k: t[k], results)

    @property
    def flat(self) -> FlatOperator:
        """The same operator on vectors, (n,) or (n, k) as scipy has them."""
        return FlatOperator(self)

    def to_scipy(self):
        """A ``scipy.sparse.linalg.LinearOperator``: numpy in, numpy out, accepted by svds and lsqr.

        F is real: of a complex vector it takes the real and the imaginary part, which come back as such.
        """
        from scipy.sparse.linalg import LinearOperator

        flat = self.flat

        def real(operator: FlatOperator, v: np.ndarray) -> np.ndarray:
            return as_numpy(
                operator @ torch.as_tensor(np.ascontiguousarray(v), dtype=self.dtype, device=self.device)
            )

        def through(operator: FlatOperator) -> Callable:
            return lambda v: (
                real(operator, v.real) + 1j * real(operator, v.imag)
                if np.iscomplexobj(v)
                else real(operator, v)
            )

        forward, backward = through(flat), through(flat.T)
        return LinearOperator(
            self.shape,
            matvec=lambda v: forward(v.reshape(-1)),
            rmatvec=lambda v: backward(v.reshape(-1)),
            matmat=forward,
            rmatmat=backward,
            dtype=as_numpy(torch.empty(0, dtype=self.dtype)).dtype,
        )

    def to_dense(self, progress: bool = True) -> torch.Tensor:
        """The whole matrix (N, n), by rows or by columns, whichever is fewer; entries are those of the flattened spaces."""
        N, n = self.shape
        if n <= N:
            return self._all_columns(progress).T
        return self.T._all_columns(progress)

    def receptive_field(self, index: Any) -> Field:
        """A box of inputs that holds every coefficient of a row which is not zero: from the graph, without probing."""
        return self._supported().receptive(index)

    def projective_field(self, index: Any) -> Field:
        """A box of outputs that holds every coefficient of a column which is not zero."""
        return self._supported().projective(index)

    def passes(self) -> int:
        """Products that ``to_sparse`` takes."""
        return plan(self._supported()).passes

    def to_sparse(self, progress: bool = True):
        """The whole matrix (N, n) as scipy CSR, entries those of the flattened spaces: probes whose fields do not overlap share a pass.

        Raises ``NotLocal`` where no axis of the outputs follows one of the inputs (a global pooling, a dense layer).
        Source: Curtis, Powell, Reid (1974), on the estimation of sparse Jacobians.
        """
        return to_sparse(self, self._supported(), progress)

    def _supported(self) -> Support:
        if self._support is None:
            raise NotLocal(
                "the support is known for lin.F, its multiples and its restrictions, not for transposes, sums"
                " and products"
            )
        if self._structured(self.inputs) or self._structured(self.outputs):
            raise NotLocal(
                "the support is known for one input and one output; name them with inputs= and outputs="
            )
        return self._support()

    def svd(
        self,
        k: int,
        method: str | None = None,
        tol: float = 1e-5,
        seed: int = 0,
        progress: bool = True,
        start: SVD | None = None,
        max_passes: int | None = None,
        **options: Any,
    ) -> SVD:
        """The k largest singular values with eigen-inputs v and eigen-outputs u: F v = s u, F^T u = s v, without the matrix.

        method   None or "lanczos" (``block=``, ``look=``); "dense" where F has few rows or columns; "power" (the paper's Algorithm 1:
                 ``momentum=``, ``literal=``); "randomized" (a quick look, with a bound); "scipy" (``solver=``)
        tol      a triplet has converged where |F v - s u| and |F^T u - s v| are at most tol s
        start    an earlier result of this F to go on from, or one of another image as a guess
        max_passes   products with F or F^T, one vector each, after which what was found is returned, marked, with the warning
                 ``NotConverged`` (default: 100 k, at least 1000)

        The same seed gives the same result. With B > 1 these are the triplets of the block-diagonal F. Raises ``FxscopeError``
        on bad arguments and ``NonFinite``. Source: the paper, section 3; docs/svd.md.
        """
        return svd(self, k, method, tol, seed, progress, start, max_passes, **options)

    def norm(
        self, ord: Any = 2, probes: int = 64, tol: float = 1e-5, seed: int = 0, progress: bool = True
    ) -> Estimate:
        """The largest singular value (``ord=2``) or the Frobenius norm ("fro"), with an error; ``float()`` of it is the number.

        "fro" is exact where all of F takes at most twice ``probes`` passes, and else Hutch++.
        """
        return norm(self, ord, probes, tol, seed, progress)

    def trace(self, probes: int = 64, seed: int = 0, progress: bool = True) -> Estimate:
        """The sum of the diagonal of a square F, exact or by Hutch++ as ``norm("fro")`` is; its error is a standard error."""
        return trace(self, probes, seed, progress)

    def spectrum(self, probes: int = 8, steps: int = 30, seed: int = 0, progress: bool = True) -> Spectrum:
        """The distribution of all min(N, n) singular values, by stochastic Lanczos quadrature: 2 ``probes`` ``steps`` passes."""
        return spectrum(self, probes, steps, seed, progress)

    def origin(self) -> dict[str, Any]:
        """What this F is the F of: model, hashes of weights and image, policy, dtype, versions."""
        return of_operator(self) if self._origin is None else self._origin()

    def _all_columns(self, progress: bool) -> torch.Tensor:
        N, n = self.shape
        found = torch.empty(n, N, dtype=self.outputs.dtype, device=self.device)
        flat = self.flat
        with steps(n, "columns", progress) as bar:
            for start in range(0, n, self.chunk):
                count = min(self.chunk, n - start)
                ones = torch.zeros(n, count, dtype=self.dtype, device=self.device)
                ones[torch.arange(start, start + count), torch.arange(count)] = 1
                found[start : start + count] = (flat @ ones).T
                bar.update(count)
        return found

    def _after(self, first: Operator) -> Operator:
        """Self @ first: first acts first."""
        if first.outputs.shapes != self.inputs.shapes:
            raise ShapeError(
                f"cannot multiply: the first gives {first.outputs.shapes}, the second takes"
                f" {self.inputs.shapes}"
            )
        return Operator(
            lambda v: self._forward(first._forward(v)),
            lambda u: first._adjoint(self._adjoint(u)),
            first.inputs,
            self.outputs,
            min(self.chunk, first.chunk),
            self.batch,
            factor=self.factor * first.factor,
        )

    def __mul__(self, factor: float) -> Operator:
        number = isinstance(factor, numbers.Number) or (
            isinstance(factor, (torch.Tensor, np.ndarray)) and factor.ndim == 0
        )
        if not number:
            return NotImplemented  # a product of operators is F @ G
        if (
            isinstance(factor, complex)
            or getattr(factor, "dtype", None) in _COMPLEX
            or not math.isfinite(factor)
        ):
            raise FxscopeError(
                f"F is real, and so are its multiples: a factor is a finite real number, got {factor}"
            )
        return self._times(self.factor * float(factor))

    def _times(self, factor: float) -> Operator:
        """The same products with another factor."""
        return Operator(
            self._forward,
            self._adjoint,
            self.inputs,
            self.outputs,
            self.chunk,
            self.batch,
            self._support,
            blocks=self._blocks,
            factor=factor,
        )

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Operator:
        return self * (1 / factor)

    def __neg__(self) -> Operator:
        return self * -1.0

    def __radd__(self, other: Any) -> Operator:
        return self if other == 0 else NotImplemented  # sum() begins with 0

    def __add__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator) or (other.inputs.shapes, other.outputs.shapes) != (
            self.inputs.shapes,
            self.outputs.shapes,
        ):
            raise ShapeError("a sum needs two operators between the same spaces")

        factor = max(self.factor, other.factor, key=abs) or 1.0
        # one of them is 1: what both are multiplied with stays apart
        a, b = self.factor / factor, other.factor / factor

        def both(f: Callable, g: Callable) -> Callable:
            return lambda v: pytree.tree_map(lambda x, y: multiplied(x, a) + multiplied(y, b), f(v), g(v))

        return Operator(
            both(self._forward, other._forward),
            both(self._adjoint, other._adjoint),
            self.inputs,
            self.outputs,
            min(self.chunk, other.chunk),
            self.batch,
            factor=factor,
        )

    def __sub__(self, other: Operator) -> Operator:
        return self + (-other)

    def restrict(self, inputs: Any = None, outputs: Any = None) -> Operator:
        """The operator between parts of its spaces: everything outside the named indices (slices, masks) is zero."""
        masks = [
            None if index is None else space.cotangents([index], self.batch)
            for space, index in ((self.inputs, inputs), (self.outputs, outputs))
        ]
        masks = [
            None if m is None else space.stack(m)[0] for m, space in zip(masks, (self.inputs, self.outputs))
        ]

        def masked(value: Any, mask: Any) -> Any:
            return value if mask is None else pytree.tree_map(torch.mul, value, mask)

        return Operator(
            lambda v: masked(self._forward(masked(v, masks[0])), masks[1]),
            lambda u: masked(self._adjoint(masked(u, masks[1])), masks[0]),
            self.inputs,
            self.outputs,
            self.chunk,
            self.batch,
            self._support,
            blocks=self._blocks,
            factor=self.factor,
        )

    def __repr__(self) -> str:
        N, n = self.shape
        return (
            f"Operator({N} x {n},"
            f" {self.inputs.shapes[0] if len(self.inputs.shapes) == 1 else self.inputs.shapes} ->"
            f" {self.outputs.shapes[0] if len(self.outputs.shapes) == 1 else self.outputs.shapes},"
            f" {self.dtype})"
        )


class FlatOperator:
    """An operator on flat vectors: (n,) -> (N,), or (n, k) -> (N, k)."""

    def __init__(self, operator: Operator):
        self.operator = operator

    @property
    def shape(self) -> tuple[int, int]:
        return self.operator.shape

    @property
    def T(self) -> FlatOperator:
        return FlatOperator(self.operator.T)

    def __matmul__(self, v: torch.Tensor) -> torch.Tensor:
        n = self.shape[1]
        if not isinstance(v, torch.Tensor) or v.dim() not in (1, 2) or v.shape[0] != n:
            raise ShapeError(
                f"flat vectors are ({n},) or ({n}, k), got"
                f" {tuple(v.shape) if isinstance(v, torch.Tensor) else type(v).__name__}"
            )
        columns = v.unsqueeze(1) if v.dim() == 1 else v
        given, start, inputs = [], 0, self.operator.inputs
        for shape, dtype in zip(inputs.shapes, inputs.dtypes):
            size = torch.Size(shape).numel()
            part = columns[start : start + size].T.reshape(-1, *shape)
            given.append(part.to(dtype) if v.dtype == inputs.dtype else part)
            start += size
        found = self.operator @ self.operator.inputs.build(given)
        flat = torch.cat(
            [t.flatten(1) for t in [t.reshape(columns.shape[1], -1) for t in pytree.tree_leaves(found)]], 1
        ).T
        return flat[:, 0] if v.dim() == 1 else flat

    matvec = __matmul__

    def rmatvec(self, u: torch.Tensor) -> torch.Tensor:
        return self.T @ u
