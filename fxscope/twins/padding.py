"""The transpose of padding by mirrored, repeated or wrapped values: what stands in the border is added where it came from."""

from __future__ import annotations

import torch

from .base import Like


def fold_back(y, x: Like, pad, mode: str):
    """Fold every padded axis back, the last one first; ``pad`` counts from the last axis (before, behind, before, behind, ...)."""
    for axis in range(len(pad) // 2):
        before, behind = pad[2 * axis], pad[2 * axis + 1]
        if not (_zero(before) and _zero(behind)):
            y = _MODES[mode](y, -1 - axis, before, behind, x.size(x.rank - 1 - axis))
    return y


def _zero(value) -> bool:
    return isinstance(value, int) and value == 0


def _added(x, strip, dim: int, start, count):
    """x with a strip added at start .. start + count."""
    return torch.slice_scatter(x, x.narrow(dim, start, count) + strip, dim, start, start + count)


def _reflect(y, dim: int, before, behind, n):
    x = y.narrow(dim, before, n)
    if not _zero(before):
        x = _added(x, y.narrow(dim, 0, before).flip([dim]), dim, 1, before)
    if not _zero(behind):
        x = _added(x, y.narrow(dim, before + n, behind).flip([dim]), dim, n - 1 - behind, behind)
    return x


def _replicate(y, dim: int, before, behind, n):
    x = y.narrow(dim, before, n)
    if not _zero(before):
        x = _added(x, y.narrow(dim, 0, before).sum(dim, keepdim=True), dim, 0, 1)
    if not _zero(behind):
        x = _added(x, y.narrow(dim, before + n, behind).sum(dim, keepdim=True), dim, n - 1, 1)
    return x


def _circular(y, dim: int, before, behind, n):
    x = y.narrow(dim, before, n)
    if not _zero(before):
        x = _added(x, y.narrow(dim, 0, before), dim, n - before, before)
    if not _zero(behind):
        x = _added(x, y.narrow(dim, before + n, behind), dim, 0, behind)
    return x


_MODES = {"reflect": _reflect, "replicate": _replicate, "circular": _circular}
