"""The adjoint of basic and advanced indexing: zeros, with y put back where it was taken from."""

from __future__ import annotations

from typing import Any

import torch

from .base import Back, Like


def put_back(k: Back, y, x: Like, key: tuple):
    """The transpose of x -> x[key], for probes with K in front."""
    sizes = x.sizes()
    if not all(v is None or v is Ellipsis or isinstance(v, (int, slice)) for v in key):
        return _by_places(k, y, x, key)
    cuts = _cuts(key, len(sizes))
    return _by_slices(k, y, sizes, cuts)


def is_whole(cut: slice) -> bool:
    """Whether a slice is ``:``, told without comparing sizes that only the emitted graph knows."""
    return cut.start is None and cut.stop is None and cut.step is None


def _cuts(key: tuple, rank: int) -> list[Any]:
    """One entry for every dimension of y and every dimension taken away: None (new), an int, or a slice; ellipsis filled in."""
    taken = sum(v is not None and v is not Ellipsis for v in key)
    where = next((i for i, v in enumerate(key) if v is Ellipsis), len(key))
    rest = [v for v in key[where + 1 :]]
    return [*key[:where], *[slice(None)] * (rank - taken), *rest]


def _by_slices(k: Back, y, sizes: list, cuts: list):
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


def _by_places(k: Back, y, x: Like, key: tuple):
    """Through the place of every entry: any index, repeated ones too."""
    sizes = x.sizes()
    count = sizes[0]
    for size in sizes[1:]:
        count = count * size
    places = torch.arange(count, device=y.device).reshape(sizes)[key].flatten()
    return k.reshape(y.new_zeros([k.K, count]).index_add(1, places, y.flatten(1)), x)
