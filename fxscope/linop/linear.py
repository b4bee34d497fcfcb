"""``Operator``: F or F^T as a linear operator: products, rows, columns, sums, dense and scipy forms."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, NotLocal, ShapeError
from ..frontend.autocast import computes_without_autocast
from ..graph.arguments import checked
from ..results.display import Displayed
from ..results.progress import steps
from ..results.provenance import of_operator
from ..results.tables import Column, Table
from . import algebra
from .filters import Filters
from .flat import FlatOperator, as_scipy
from .index import several
from .local.alignment import Alignment
from .local.sparse import Field, Support, plan, to_sparse
from .narrow import Factors
from .pictured import mapped, shapes
from .scale import multiplied
from .spaces import Space
from .svd import SVD, Estimate, Spectrum, norm, spectrum, svd, trace
from .svd.spread import ALONE, Alone

if TYPE_CHECKING:
    from .store import StoredMap


@computes_without_autocast
class Operator(Displayed):
    """A linear map between two spaces, given by its products and those of its transpose.

    ::

        F @ v         (..., *inputs) -> (..., *outputs)
        F.T @ u       (..., *outputs) -> (..., *inputs)
        F.row(i)      F^T e_i, (*inputs)
        F.column(j)   F e_j, (*outputs)

    Leading dimensions are probes, and ``chunk`` of them run together. ``F.shape`` is (N, n), for n inputs and
    N outputs. With a batch B > 1 the batch is a dimension of both spaces, and F is block-diagonal over it;
    the warning ``ImagesMix`` says if it is not.

    Parameters
    ----------
    forward, adjoint : callable
        Products of F and of F^T with stacked vectors (K, B, ...).
    inputs, outputs : Space
        The two spaces.
    chunk : int
        Probes that run together.
    batch : int
        Images in x0.
    support, origin, blocks : callable, optional
        Support of F, its provenance, and the check that F is block-diagonal.
    maker : callable, optional
        What ``__reduce__`` gives; None for an operator that cannot be pickled.
    lin : callable, optional
        The interpreter whose F this is.
    name : str
        How it is called where it is shown: "F", "F^T F".
    of : tuple of str
        The networks and policies whose maps it is made of.
    factor : float
        The factor c of c * F, by which every product is multiplied at its end, so that the products of F
        itself are not rounded.

    Examples
    --------
    >>> import fxscope
    >>> F = fxscope.interpret(torch.nn.Conv2d(1, 2, 3), torch.rand(1, 1, 8, 8)).F
    >>> F.shape, tuple((F @ torch.rand(5, 1, 8, 8)).shape), tuple(F.row((1, 2, 2)).shape)
    ((72, 64), (5, 2, 6, 6), (1, 8, 8))
    """

    __array_ufunc__ = None  # numpy's numbers leave their products to this class
    spread: Alone = ALONE  # how the vectors lie in processes

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
        maker: Callable | None = None,
        narrow: Callable | None = None,
        lin: Callable | None = None,
        name: str = "F",
        of: tuple[str, ...] = (),
    ):
        self._forward, self._adjoint, self.factor = forward, adjoint, factor
        self.inputs, self.outputs = inputs, outputs
        self._at_once, self.batch = chunk, batch
        self._support, self._origin, self._blocks = support, origin, blocks or (lambda: None)
        self._maker, self._narrow, self._lin = maker, narrow, lin
        self.name, self.of = name, of

    def __deepcopy__(self, memo: dict) -> Operator:
        return self  # it never changes

    def __reduce__(self) -> tuple:
        """Pickle ``lin.F`` and its transpose with their interpreter."""
        if self._maker is None:
            raise TypeError(
                "only lin.F and lin.F.T can be pickled, not their sums, products, multiples and restrictions:"
                " pickle lin, and make them again from lin.F"
            )
        return self._maker()

    @property
    def shape(self) -> tuple[int, int]:
        """(N, n): entries of an output and of an input."""
        return self.outputs.numel, self.inputs.numel

    @property
    def chunk(self) -> int:
        """The number of probes that run together; ``interpret`` and ``prepare`` take another one."""
        return self._at_once

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the inputs."""
        return self.inputs.dtype

    @property
    def device(self) -> torch.device:
        """The device of the inputs."""
        return self.inputs.device

    @property
    def T(self) -> Operator:
        """The transpose, an ``Operator``."""
        return self._like(
            self._adjoint,
            self._forward,
            inputs=self.outputs,
            outputs=self.inputs,
            name=algebra.transposed(self.name),
            blocks=self._blocks,
            maker=None if self._maker is None else lambda: (getattr, (self, "T")),
            narrow=None if self._narrow is None else functools.partial(_turned, self._narrow),
        )

    @property
    def bare(self) -> Operator:
        """The operator without its factor: F = factor * bare."""
        return self if self.factor == 1 else self._times(1.0)

    def __matmul__(self, v: Any) -> Any:
        if isinstance(v, Operator):
            return algebra.product(self, v)
        stacked, head = self.inputs.stack(v)
        leaves, spec = pytree.tree_flatten(stacked)
        K = leaves[0].shape[0]
        if K == 0:
            return self.outputs.unstack(self.outputs.build(self.outputs.zeros(0)), head)
        many = self._through(self._factors(K, progress=False))
        if many is not self:
            return many @ v
        size = -(-K // -(-K // self.chunk))  # equal parts: with chunk = 7, 8 probes run as 4 and 4
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
        """The rows F^T e_i of several outputs.

        Parameters
        ----------
        indices : list
            R indices, each as in ``row``.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        torch.Tensor or structure of tensors
            (R, *inputs), in output units per input unit.

        Raises
        ------
        PlaceIndexError
            If this is a single index, or one of the indices is none.
        """
        return self.T.columns(several(indices, self.outputs.name), progress)

    def columns(self, indices: Iterable[Any], progress: bool = True) -> torch.Tensor:
        """The columns F e_j of several inputs.

        Parameters
        ----------
        indices : list
            R indices, each as in ``column``.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        torch.Tensor or structure of tensors
            (R, *outputs), in output units per input unit.

        Raises
        ------
        PlaceIndexError
            If this is a single index, or one of the indices is none.
        """
        found = [
            y for _, y in self._iterate(list(several(indices, self.inputs.name)), self.chunk, None, progress)
        ]
        if not found:
            return self.outputs.build(self.outputs.zeros(0))
        return pytree.tree_map(_stacked, *found)

    def row(self, index: Any) -> Any:
        """The row of an output, its receptive filter: <row, x0> + r[index] = y0[index] (paper, eq. 7 and 8).

        Parameters
        ----------
        index : tuple, boolean mask, dict or list
            A place of the un-batched output, e.g. (c, y, x). Slices or a boolean mask give the sum of the
            rows, and {index: weight} their weighted sum. With several outputs an index begins with a key:
            (key, ...). With B > 1 this is one index for all images, or a list of B indices.

        Returns
        -------
        torch.Tensor or structure of tensors
            F^T e_index, (*inputs), in output units per input unit.

        Raises
        ------
        PlaceIndexError
            If this is no index. A list or an array of whole numbers is refused, because it may mean one
            place or several.
        NoLinearPath
            If the index is in an output that does not depend on the probe.
        """
        return pytree.tree_map(lambda t: t[0], self.rows([index], progress=False))

    def column(self, index: Any) -> Any:
        """The column of an input, its projective filter F e_index (paper, eq. 9).

        Parameters
        ----------
        index : tuple, boolean mask, dict or list
            A place of the un-batched input, as in ``row``.

        Returns
        -------
        torch.Tensor or structure of tensors
            F e_index, (*outputs), in output units per input unit.

        Raises
        ------
        PlaceIndexError
            If this is no index.
        """
        return pytree.tree_map(lambda t: t[0], self.columns([index], progress=False))

    def filters(
        self, rows: Iterable[Any] | None = None, columns: Iterable[Any] | None = None, progress: bool = True
    ) -> Filters:
        """Rows or columns as a ``Filters`` record with provenance, plotting and file I/O.

        Parameters
        ----------
        rows, columns : list
            Indices of outputs, or of inputs. One of the two has to be given.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        Filters
            The rows or columns, in output units per input unit.

        Raises
        ------
        FxscopeError
            If both or none are given.
        PlaceIndexError
            If one of the indices is none.
        """
        if rows is not None and columns is None:
            kind, indices = "row", list(several(rows, self.outputs.name))
            values = self.rows(indices, progress)
        elif columns is not None and rows is None:
            kind, indices = "column", list(several(columns, self.inputs.name))
            values = self.columns(indices, progress)
        else:
            raise FxscopeError("filters takes rows= or columns=, a list of indices")
        places = self._places(indices, kind == "column")
        return Filters(kind, tuple(map(str, indices)), values, self.origin(), places)

    def _places(self, indices: list[Any], of_inputs: bool) -> tuple[tuple[int, int] | None, ...]:
        """The place on which each filter is centred; none where F is not from images to images."""
        shapes = (self.inputs.shapes, self.outputs.shapes)
        if any(len(s) != 1 or len(s[0]) != 3 for s in shapes):
            return ()
        try:
            lines = self.alignment()
        except NotLocal:
            return ()
        space, move = (self.inputs, lines.output_of) if of_inputs else (self.outputs, lines.input_of)
        _, height, width = space.shape
        places: list[tuple[int, int] | None] = []
        for i in indices:
            is_place = isinstance(i, tuple) and len(i) == 3 and all(isinstance(n, int) for n in i)
            found = move((i[1] % height, i[2] % width)) if is_place else None
            places.append(None if found is None else (found[0], found[1]))
        return tuple(places)

    @staticmethod
    def _structured(space: Space) -> bool:
        return not space.spec.is_leaf()

    def iter_rows(
        self, indices: Iterable[Any], chunk: int | None = None, out_device: Any = None, progress: bool = True
    ) -> Iterator[tuple[Any, Any]]:
        """Iterate over the rows of many outputs, also if they do not fit into memory together.

        Parameters
        ----------
        indices : iterable
            Indices as in ``row``.
        chunk : int, optional
            Number of rows that are computed together. The default is ``F.chunk``.
        out_device : optional
            The device to which the rows are moved.
        progress : bool
            Whether to show a progress bar.

        Yields
        ------
        (index, torch.Tensor or structure of tensors)
            Each index with its row, in order.
        """
        return self.T._iterate(several(indices, self.outputs.name), chunk or self.chunk, out_device, progress)

    def _iterate(
        self, indices: Iterable[Any], chunk: int, out_device: Any, progress: bool
    ) -> Iterator[tuple[Any, Any]]:
        if chunk < 1:
            raise ShapeError(f"chunk={chunk}: at least one probe goes through at once")
        known = list(indices) if isinstance(indices, (list, tuple)) else None
        if known is not None:
            many = self._through(self._factors(len(known), progress))
            if many is not self:
                self._blocks()
                yield from many._iterate(known, chunk, out_device, progress)
                return
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
        """The operator on flat vectors, (n,) or (n, k), as scipy lays them out."""
        return FlatOperator(self)

    def to_scipy(self):
        """F as a ``scipy.sparse.linalg.LinearOperator`` over numpy arrays, which svds and lsqr accept.

        F is real. It is applied to the real and to the imaginary part of a complex vector.
        """
        return as_scipy(self)

    def to_dense(self, progress: bool = True) -> torch.Tensor:
        """The whole matrix over the flattened spaces, computed by rows or by columns, whichever are fewer.

        Parameters
        ----------
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        torch.Tensor
            (N, n).
        """
        N, n = self.shape
        if n <= N:
            return self._all_columns(progress).T
        return self.T._all_columns(progress)

    def receptive_field(self, index: Any) -> Field:
        """A box of inputs that holds all nonzero coefficients of a row, found in the graph alone.

        Parameters
        ----------
        index : tuple of int
            A place of the un-batched output.

        Returns
        -------
        Field
            The box and the shape of the input.

        Raises
        ------
        PlaceIndexError
            If the index is no place of the output.
        NotLocal
            If F has several inputs or outputs, or is a transpose, a sum or a product.
        """
        return self._supported().receptive(index)

    def projective_field(self, index: Any) -> Field:
        """A box of outputs that holds all nonzero coefficients of a column, found in the graph alone.

        Parameters
        ----------
        index : tuple of int
            A place of the un-batched input.

        Returns
        -------
        Field
            The box and the shape of the output.

        Raises
        ------
        PlaceIndexError, NotLocal
            As ``receptive_field`` does.
        """
        return self._supported().projective(index)

    def alignment(self) -> Alignment:
        """Where the outputs of a network of images lie in its input: scale and offset of every axis.

        Returns
        -------
        Alignment
            The map from outputs to the input places on which they are centred, and back.

        Raises
        ------
        NotLocal
            As ``receptive_field`` does, and if F is not from images to images.

        Examples
        --------
        >>> import fxscope
        >>> twice = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.PixelShuffle(2))
        >>> found = fxscope.interpret(twice, torch.rand(1, 1, 16, 16)).F.alignment()
        >>> [str(v) for v in found.scale], found.input_of((5, 6)), found.output_of((4, 4))
        (['2', '2'], (3, 4), (7, 7))
        """
        return self._supported().alignment()

    def passes(self) -> int:
        """The number of passes that ``to_sparse`` takes."""
        return plan(self._supported()).passes

    def to_sparse(self, progress: bool = True):
        """The whole matrix as a sparse matrix; probes whose fields do not overlap share a pass.

        Parameters
        ----------
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        scipy.sparse.csr_matrix
            (N, n).

        Raises
        ------
        NotLocal
            If no axis of the outputs follows one of the inputs, as after global pooling or a dense layer.

        References
        ----------
        Curtis, Powell, Reid, "On the estimation of sparse Jacobian matrices", IMA J. Appl. Math. 13 (1974).
        """
        return to_sparse(self, self._supported(), progress)

    @checked
    def to_zarr(
        self,
        path: str | Path,
        rows: Any = None,
        columns: Any = None,
        dtype: Any = None,
        progress: bool = True,
        command: str | None = None,
    ) -> StoredMap:
        """Write rows, columns, or all of F to disk, as an array of zarr; ``fxscope.open_map`` reads it.

        All of a local F are windows around the places of its outputs, computed from crops where the
        decisions of the network are local. If the map is there in part, what is missing is added, so that
        work that was interrupted goes on. Several processes may write one map: under torchrun each has
        shards of its own, and no shard is computed twice. The files are the same bytes however many
        processes there were, if each had as many threads.

        Parameters
        ----------
        path : str or Path
            A folder that does not exist, is empty, or holds this map.
        rows, columns : list of tuple of int, optional
            Places of the un-batched output, or input. Without either, all of F is written.
        dtype : torch.dtype, optional
            float16, float32 or float64, in which F is stored. The default is that of F.
        progress : bool
            Whether to show a progress bar.
        command : str, optional
            How to go on, for the message about an unfinished map; {path} stands for the folder.

        Returns
        -------
        StoredMap
            The map, as ``fxscope.open_map(path)``.

        Raises
        ------
        MapError
            If something else lies there, or a map of another network, image or policy; if the disk is full
            or cannot be written; or if ``dtype`` cannot hold a coefficient.
        """
        from .store.write import to_zarr

        return to_zarr(self, path, rows, columns, dtype, progress, command)

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
        """The k largest singular triplets of F without its matrix: F v = s u, F^T u = s v (paper, section 3).

        The same seed gives the same result. With B > 1 these are the triplets of the block-diagonal F. The
        methods are described in docs/svd.md.

        Parameters
        ----------
        k : int
            Number of triplets, at most min(N, n).
        method : {"lanczos", "dense", "power", "randomized", "scipy"}, optional
            Default: "dense" if F has few rows or columns, else "lanczos". "power" is Algorithm 1 of the
            paper. "randomized" is fast and gives bounds.
        tol : float
            A triplet has converged if ``|F v - s u|`` and ``|F^T u - s v|`` are at most ``tol * s``.
        seed : int
            Seed of the random vectors.
        progress : bool
            Whether to show a progress bar.
        start : SVD, optional
            An earlier result of this F to go on from, or one of another image as a guess.
        max_passes : int, optional
            Limit of products with F or F^T, one vector each (default: 100 k, at least 1000). Beyond it the
            result is returned as it is, with the warning ``NotConverged``.
        **options
            Options of the method: ``block=`` and ``look=`` of "lanczos", ``momentum=`` and ``literal=`` of
            "power", ``solver=`` of "scipy".

        Returns
        -------
        SVD

        Raises
        ------
        FxscopeError
            If an argument is wrong.
        NonFinite
            If a product holds NaN or infinite values.
        """
        return svd(self, k, method, tol, seed, progress, start, max_passes, **options)

    @checked
    def norm(
        self, ord: Any = 2, probes: int = 64, tol: float = 1e-5, seed: int = 0, progress: bool = True
    ) -> Estimate:
        """A norm of F, with its error.

        Parameters
        ----------
        ord : {2, "fro"}
            2 is the largest singular value. "fro" is the Frobenius norm; it is exact if the whole of F takes
            at most twice ``probes`` passes, and else estimated by Hutch++.
        probes : int
            Number of random vectors, for "fro".
        tol : float
            As in ``svd``, for 2.
        seed : int
            Seed of the random vectors.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        Estimate
            The value; its error is a residual, a standard error, or 0 if the value is exact.

        References
        ----------
        Meyer, Musco, Musco, Woodruff, "Hutch++", SOSA 2021.
        """
        return norm(self, ord, probes, tol, seed, progress)

    @checked
    def trace(self, probes: int = 64, seed: int = 0, progress: bool = True) -> Estimate:
        """The trace of a square F, exact or estimated by Hutch++ under the condition of ``norm("fro")``.

        Parameters
        ----------
        probes, seed, progress
            As in ``norm``.

        Returns
        -------
        Estimate
            The value with a standard error, which is 0 if the value is exact.

        Raises
        ------
        ShapeError
            If the inputs and outputs have different shapes.
        """
        return trace(self, probes, seed, progress)

    @checked
    def spectrum(self, probes: int = 8, steps: int = 30, seed: int = 0, progress: bool = True) -> Spectrum:
        """The distribution of all min(N, n) singular values, by stochastic Lanczos quadrature.

        Parameters
        ----------
        probes : int
            Number of random vectors, at least 2.
        steps : int
            Lanczos steps for each; together they take at most ``probes * (2 * steps - 1)`` passes.
        seed : int
            Seed of the random vectors.
        progress : bool
            Whether to show a progress bar.

        Returns
        -------
        Spectrum
            Counts and moments of the singular values, with standard errors.

        References
        ----------
        Ubaru, Chen, Saad, SIAM J. Matrix Anal. 38 (2017).
        """
        return spectrum(self, probes, steps, seed, progress)

    def joined(self, vectors: Any, of_inputs: bool) -> Any:
        """Vectors of the inputs or outputs, of which this process may have a part, as a whole."""
        return vectors

    def origin(self) -> dict[str, Any]:
        """Provenance of F: model, hashes of weights and image, policy, dtype, versions."""
        return of_operator(self) if self._origin is None else self._origin()

    def _all_columns(self, progress: bool) -> torch.Tensor:
        N, n = self.shape
        made = self._factors(n, progress)
        if made is not None and self.batch == 1:
            return multiplied(made.columns(), self.factor)
        found = torch.empty(n, N, dtype=self.outputs.dtype, device=self.device)
        flat = self._through(made).flat
        with steps(n, "columns", progress) as bar:
            for start in range(0, n, self.chunk):
                count = min(self.chunk, n - start)
                ones = torch.zeros(n, count, dtype=self.dtype, device=self.device)
                ones[torch.arange(start, start + count), torch.arange(count)] = 1
                found[start : start + count] = (flat @ ones).T
                bar.update(count)
        return found

    def _factors(self, count: int, progress: bool) -> Factors | None:
        """The factors of F at the narrowest place of the network, if they pay for this many products."""
        return None if self._narrow is None else self._narrow(count, progress)

    def _through(self, made: Factors | None) -> Operator:
        """The same operator, whose products go through these factors if there are any."""
        if made is None:
            return self
        return self._like(made.forward, made.adjoint)

    def _like(self, forward: Callable, adjoint: Callable, **changed: Any) -> Operator:
        """An operator of other products, between the same spaces where nothing else is said."""
        given = {
            "inputs": self.inputs,
            "outputs": self.outputs,
            "chunk": self.chunk,
            "batch": self.batch,
            "factor": self.factor,
            "name": self.name,
            "of": self.of,
        }
        return Operator(forward, adjoint, **{**given, **changed})

    def _times(self, factor: float) -> Operator:
        """The same products with another factor."""
        same = {"support": self._support, "blocks": self._blocks, "narrow": self._narrow}
        return self._like(self._forward, self._adjoint, factor=factor, **same)

    def __mul__(self, factor: float) -> Operator:
        if not algebra.is_number(factor):
            return NotImplemented  # the product of two operators is F @ G
        return self._times(self.factor * algebra.finite(factor))

    __rmul__ = __mul__

    def __truediv__(self, factor: float) -> Operator:
        return self * algebra.inverse(factor)

    def __neg__(self) -> Operator:
        return self * -1.0

    def __radd__(self, other: Any) -> Operator:
        return self if other == 0 else NotImplemented  # sum() begins with 0

    def __add__(self, other: Operator) -> Operator:
        if not isinstance(other, Operator):
            raise ShapeError("a sum needs two operators between the same spaces")
        return algebra.total(self, other)

    def __sub__(self, other: Operator) -> Operator:
        return self + (-other)

    def restrict(self, inputs: Any = None, outputs: Any = None) -> Operator:
        """The operator between parts of its spaces: the same shape, but 0 outside of the given indices.

        Parameters
        ----------
        inputs, outputs : index, optional
            The parts, as in ``row``, with slices or masks. The default is the whole space.

        Returns
        -------
        Operator
            P F Q, where P and Q select the outputs and the inputs.
        """
        return algebra.restricted(self, inputs, outputs)

    def _said(self) -> Iterable[str]:
        N, n = self.shape
        dtype = str(self.dtype).removeprefix("torch.")
        size = f"{N} x {n}, {shapes(self.inputs)} -> {shapes(self.outputs)}"
        return [algebra.times(self.factor, self.name), size, dtype, *self.of]

    def _table(self) -> Table:
        rows = [
            ("rows, columns", f"{self.shape[0]:,} x {self.shape[1]:,}"),
            ("takes", shapes(self.inputs)),
            ("gives", shapes(self.outputs)),
            ("dtype and device", f"{str(self.dtype).removeprefix('torch.')}, {self.device}"),
            ("factor", self.factor),
            ("vectors that run together", self.chunk),
            *(("of", name) for name in self.of),
        ]
        note = "F @ x1 and F.T @ y2 are products; F.row(i), F.column(j) and F.svd(k) read it."
        return Table(("", Column("value")), rows, notes=(note,))

    def _picture(self) -> str:
        return mapped(self, algebra.times(self.factor, self.name))


def _stacked(*tensors: torch.Tensor) -> torch.Tensor:
    """Tensors as one; a single one, which may be larger than memory, without a copy."""
    return torch.stack(tensors) if len(tensors) > 1 else tensors[0].unsqueeze(0)


def _turned(narrow: Callable, count: int, progress: bool) -> Factors | None:
    """The factors of the transpose."""
    made = narrow(count, progress)
    return None if made is None else made.T
