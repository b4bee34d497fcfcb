"""The transpose of padding by mirrored, repeated or wrapped values.

The values of the border are added to the places that they were copied from.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from .base import ShapeRef
from .places import Shape, Support


def fold_back(y, x: ShapeRef, pad, mode: str):
    """Fold every padded axis back, the last one first.

    ``pad`` counts from the last axis: before, behind, before, behind, ...

    One addition at indices an axis: both borders may reach the same places, as they do where a mirror is
    wider than half of the image.
    """
    for axis in range(len(pad) // 2):
        before, behind = pad[2 * axis], pad[2 * axis + 1]
        n = x.size(x.ndim - 1 - axis)
        if _cut(before) or _cut(behind):
            y = _by_places(y, x.ndim + 1, -1 - axis, [before, behind], n, mode, x.device)
        elif not (_zero(before) and _zero(behind)):
            y = _folded(y, -1 - axis, before, behind, n, mode, x.device)
    return y


def _zero(value) -> bool:
    return isinstance(value, int) and value == 0


def _cut(count) -> bool:
    return isinstance(count, int) and count < 0


def _by_places(y, rank: int, dim: int, sides: list, n, mode: str, device):
    """Add every entry at the place that it came from, where the padding cuts a side off."""
    places = torch.arange(n, device=device, dtype=torch.float64).reshape([1, 1, n])
    index = F.pad(places, sides, mode).flatten().to(torch.int64)
    sizes = [n if d == rank + dim else y.size(d) for d in range(rank)]
    return y.new_zeros(sizes).index_add(dim, index, y)


def _folded(y, dim: int, before, behind, n, mode: str, device):
    strips, places = [], []
    for count, start, place in ((before, 0, _BEFORE[mode]), (behind, before + n, _BEHIND[mode])):
        if not _zero(count):
            strip = y.narrow(dim, start, count)
            if mode == "replicate":
                strip, count = strip.sum(dim, keepdim=True), 1
            strips.append(strip)
            places.append(place(torch.arange(count, device=device), count, n))
    strip, index = (strips[0], places[0]) if len(strips) == 1 else (torch.cat(strips, dim), torch.cat(places))
    return y.narrow(dim, before, n).index_add(dim, index, strip)


# Where in the image the entry i of a border of ``count`` came from: in front of the first of n entries, and
# behind the last.
_BEFORE = {
    "reflect": lambda i, count, n: count - i,
    "replicate": lambda i, count, n: i,
    "circular": lambda i, count, n: i + (n - count),
}
_BEHIND = {
    "reflect": lambda i, count, n: (n - 2) - i,
    "replicate": lambda i, count, n: i + (n - 1),
    "circular": lambda i, count, n: i,
}


def of_padding(pad: Any, mode: str, given: Shape) -> Support:
    """Where every place comes from, by padding the places themselves."""
    found: Support = {}
    border = {"value": -1.0} if mode == "constant" else {}
    for d, n in enumerate(given):
        back = 2 * (len(given) - 1 - d)
        sides = list(pad[back : back + 2]) if back < len(pad) else [0, 0]
        places = torch.arange(n, dtype=torch.float64)[None, None]
        padded = F.pad(places, sides, mode, **border)[0, 0].long().numpy()
        found[d] = (d, (np.where(padded < 0, 1, padded), np.where(padded < 0, 0, padded)))
    return found
