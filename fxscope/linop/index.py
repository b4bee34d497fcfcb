"""Check the indices of rows and columns: one index, or a list of indices.

Every other spelling is refused with an error that shows the right one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch

from ..errors import PlaceIndexError

_SUMS = "their sum has a tuple with slices, a boolean mask, or {index: weight}"


def several(indices: Iterable[Any], name: str) -> Iterable[Any]:
    """Check a list of indices, and return it unchanged.

    Raises ``PlaceIndexError`` for a single index, {index: weight} or a mask, because iterating over these
    would silently give other rows.
    """
    if isinstance(indices, dict):
        raise PlaceIndexError(
            f"{name}: several indices are a list; {{index: weight}} is one combination, row({{...}}) or"
            " rows([{...}])"
        )
    if isinstance(indices, (str, bytes)) or not hasattr(indices, "__iter__") or _dim(indices) == 0:
        raise PlaceIndexError(
            f"{name}: several indices are a list, got {indices!r}; one of them is row(index) or rows([index])"
        )
    if (
        isinstance(indices, tuple)
        and indices
        and (
            all(map(_is_part, indices))
            or any(part is Ellipsis or isinstance(part, slice) for part in indices)
        )
    ):
        raise PlaceIndexError(f"{name}: {indices!r} is one index; several are a list: rows([{indices!r}])")
    if _is_mask(indices):
        raise PlaceIndexError(
            f"{name}: a mask is one index, whose rows are summed: row(mask); each by itself: rows([tuple(i)"
            " for i in mask.nonzero().tolist()])"
        )
    if _dim(indices) > 1:
        raise PlaceIndexError(
            f"{name}: several indices are a list of tuples, got an array: rows([tuple(i) for i in"
            " array.tolist()])"
        )
    return indices


def key(index: Any, shape: tuple[int, ...], name: str) -> tuple:
    """Check one index of a tensor: whole numbers, slices, ... and boolean masks, as torch takes it."""
    parts = index if isinstance(index, tuple) else (index,)
    return tuple(_part(part, index, shape, name) for part in parts)


def _part(part: Any, index: Any, shape: tuple[int, ...], name: str) -> Any:
    if part is None or isinstance(part, (bool, np.bool_)) or (_is_mask(part) and _dim(part) == 0):
        raise PlaceIndexError(
            f"{name}: index {index!r} is not in a tensor of shape {shape}: None and bools name no place"
        )
    if _is_mask(part):
        return torch.as_tensor(part)
    if isinstance(part, (list, tuple, range, set, frozenset)) or _dim(part) > 0:
        raise PlaceIndexError(
            f"{name}: {_short(part)} is no index: is it one place or several? One is a tuple, index=(c, y,"
            f" x); several have rows([...]) or columns([...]); {_SUMS}"
        )
    if part is Ellipsis or isinstance(part, slice):
        return part
    try:
        return operator.index(part)
    except TypeError as error:
        raise PlaceIndexError(
            f"{name}: index {index!r} is not in a tensor of shape {shape}: a place is whole numbers, slices,"
            f" ... or a boolean mask, got {part!r}"
        ) from error


def _is_part(part: Any) -> bool:
    """Whether this is a part of an index, and not an index in a list of indices."""
    return (
        isinstance(part, slice)
        or part is Ellipsis
        or part is None
        or (hasattr(part, "__index__") and _dim(part) <= 0)
    )


def _is_mask(value: Any) -> bool:
    return isinstance(value, (torch.Tensor, np.ndarray)) and value.dtype in (torch.bool, np.dtype(bool))


def _dim(value: Any) -> int:
    """Number of dimensions of a tensor or array; -1 for anything else."""
    return value.ndim if isinstance(value, (torch.Tensor, np.ndarray)) else -1


def _short(value: Any) -> str:
    if _dim(value) >= 0:
        return f"an array of {value.dtype} and shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
