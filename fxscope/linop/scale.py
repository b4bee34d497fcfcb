"""Norms of tensors whose squares may overflow, scaled to order 1 and summed in double precision."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch


def power_of_two(size: float) -> float:
    """The largest power of two up to ``size``, 1 if that is 0 or not finite; products with it are exact."""
    if not size or not math.isfinite(size):
        return 1.0
    return math.ldexp(1.0, math.frexp(size)[1] - 1)


def norms(rows: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of every row (K, n), as (K,) in double precision, at any scale."""
    if not rows.numel():
        return rows.new_zeros(len(rows), dtype=torch.float64)
    wide = rows.double()
    peaks = wide.abs().amax(1)
    peaks = torch.where((peaks > 0) & torch.isfinite(peaks), peaks, torch.ones_like(peaks))
    return (wide / peaks[:, None]).norm(dim=1) * peaks


def norm_of(tensors: Iterable[torch.Tensor]) -> float:
    """Euclidean norm of all tensors together, at any scale."""
    found = [float(norms(t.detach().reshape(1, -1))[0]) for t in tensors]
    return math.hypot(*found) if found else 0.0


def multiplied(values: torch.Tensor, factor: float) -> torch.Tensor:
    """``factor * values``, also if the dtype of the values can hold the product but not the factor."""
    if factor == 1:
        return values
    limits = torch.finfo(values.dtype)
    if factor == 0 or limits.tiny <= abs(factor) <= limits.max:
        return values * factor
    first = math.ldexp(1.0, math.frexp(factor)[1] // 2)
    return multiplied(multiplied(values, first), factor / first)
