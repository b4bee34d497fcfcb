"""The adjoint of basic and advanced indexing: zeros, with y put back where it was taken from."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .base import AdjointContext, ShapeRef
from .places import Shape, Support, holds_node


def put_back(k: AdjointContext, y, x: ShapeRef, key: tuple):
    """The transpose of x -> x[key], for probes with K in front."""
    sizes = x.sizes()
    if not all(v is None or v is Ellipsis or isinstance(v, (int, slice)) for v in key):
        return _by_places(k, y, x, key)
    cuts = _cuts(key, len(sizes))
    return _by_slices(k, y, sizes, cuts)


def stand_apart(key: tuple) -> bool:
    """Whether tensors or lists of places have a slice, None or an ellipsis between them, as x[:, i, :, j].

    A number is no such place: torch takes it out first.
    """
    kinds = [isinstance(part, slice) or part is None or part is Ellipsis for part in key if not _is_int(part)]
    places = [i for i, basic in enumerate(kinds) if not basic]
    return bool(places) and places[-1] - places[0] >= len(places)


def _is_int(part: Any) -> bool:
    return isinstance(part, int) and not isinstance(part, bool)


def is_whole(cut: slice) -> bool:
    """Whether a slice is ``:``, told without comparing sizes that only the emitted graph knows."""
    return cut.start is None and cut.stop is None and cut.step is None


def _cuts(key: tuple, rank: int) -> list[Any]:
    """One entry for every dimension of y and every dimension that is taken away.

    An entry is None (a new dimension), an int or a slice; the ellipsis is written out.
    """
    taken = sum(v is not None and v is not Ellipsis for v in key)
    where = next((i for i, v in enumerate(key) if v is Ellipsis), len(key))
    rest = list(key[where + 1 :])
    return [*key[:where], *[slice(None)] * (rank - taken), *rest]


def _by_slices(k: AdjointContext, y, sizes: list, cuts: list):
    for place, cut in _backwards(cuts):
        if cut is None:
            y = y.squeeze(place)
    kept = [c for c in cuts if c is not None]
    for d, cut in enumerate(kept):
        if isinstance(cut, int):
            y = y.unsqueeze(d + 1)
    for d, cut in enumerate(kept):
        if isinstance(cut, int):
            y = torch.select_scatter(_blank(y, d + 1, sizes[d], len(sizes) + 1), y.squeeze(d + 1), d + 1, cut)
        elif not is_whole(cut):
            y = torch.slice_scatter(
                _blank(y, d + 1, sizes[d], len(sizes) + 1),
                y,
                d + 1,
                cut.start,
                cut.stop,
                1 if cut.step is None else cut.step,
            )
    return y


def _backwards(cuts: list):
    """(dimension of y, cut) from the last to the first: removing one leaves the places of those before it."""
    places, place = [], 1
    for cut in cuts:
        if not isinstance(cut, int):
            places.append((place, cut))
            place += 1
    return reversed(places)


def _blank(y, dim: int, size, rank: int):
    """Zeros of y's shape with ``size`` along one dimension."""
    return y.new_zeros([size if d == dim else y.size(d) for d in range(rank)])


def _by_places(k: AdjointContext, y, x: ShapeRef, key: tuple):
    """Through the place of every entry: any index, repeated ones too."""
    sizes = x.sizes()
    count = sizes[0]
    for size in sizes[1:]:
        count = count * size
    places = torch.arange(count, device=y.device).reshape(sizes)[key].flatten()
    return k.reshape(y.new_zeros([k.K, count]).index_add(1, places, y.flatten(1)), x)


def batch_behind_key(key: tuple, at: int) -> int | None:
    """The dimension of the batch behind basic indexing.

    An index in front of it takes a dimension away, and None adds one.
    """
    seen = found = 0
    for part in key:
        if part is None:
            found += 1
        elif part is Ellipsis:
            return found + at - seen
        elif not isinstance(part, (int, slice)):
            return None  # by places
        elif seen == at:
            return found if isinstance(part, slice) else None
        else:
            seen, found = seen + 1, found + isinstance(part, slice)
    return found + at - seen


def of_slices(key: tuple, given: Shape) -> Support:
    """Basic indexing by slices alone."""
    if holds_node(key) or not all(isinstance(k, slice) or k is Ellipsis for k in key):
        return {}
    where = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    missing = len(given) - sum(k is not Ellipsis for k in key)
    full = [*key[:where], *[slice(None)] * missing, *key[where + 1 :]]
    return {d: (d, (np.arange(given[d])[k],) * 2) for d, k in enumerate(full)}
