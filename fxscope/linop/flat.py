"""Operators on flat vectors, and as scipy takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..errors import ShapeError
from ..results.display import Displayed
from ..results.tables import Table
from .local.sparse import as_numpy

if TYPE_CHECKING:
    from .linear import Operator


class FlatOperator(Displayed):
    """An operator on flat vectors: (n,) -> (N,), or (n, k) -> (N, k)."""

    def __init__(self, operator: Operator):
        self.operator = operator

    @property
    def shape(self) -> tuple[int, int]:
        """(N, n), as that of the operator."""
        return self.operator.shape

    @property
    def T(self) -> FlatOperator:
        """The transpose, (N,) -> (n,)."""
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
        flat = torch.cat([t.reshape(columns.shape[1], -1) for t in pytree.tree_leaves(found)], 1).T
        return flat[:, 0] if v.dim() == 1 else flat

    def _said(self) -> Iterable[str]:
        return [f"({self.shape[1]},) -> ({self.shape[0]},)", *self.operator._said()]

    def _table(self) -> Table:
        return self.operator._table()

    def _picture(self) -> str:
        return self.operator._picture()

    matvec = __matmul__

    def rmatvec(self, u: torch.Tensor) -> torch.Tensor:
        """The product with the transpose, (N,) or (N, k)."""
        return self.T @ u


def as_scipy(operator: Operator):
    """A ``scipy.sparse.linalg.LinearOperator``, for real and complex vectors."""
    from scipy.sparse.linalg import LinearOperator

    flat = operator.flat

    def real(flat: FlatOperator, v: np.ndarray) -> np.ndarray:
        return as_numpy(
            flat @ torch.as_tensor(np.ascontiguousarray(v), dtype=operator.dtype, device=operator.device)
        )

    def through(flat: FlatOperator) -> Callable:
        return lambda v: real(flat, v.real) + 1j * real(flat, v.imag) if np.iscomplexobj(v) else real(flat, v)

    forward, backward = through(flat), through(flat.T)
    return LinearOperator(
        operator.shape,
        matvec=lambda v: forward(v.reshape(-1)),
        rmatvec=lambda v: backward(v.reshape(-1)),
        matmat=forward,
        rmatmat=backward,
        dtype=as_numpy(torch.empty(0, dtype=operator.dtype)).dtype,
    )
