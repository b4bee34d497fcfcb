"""Adjoints of the operators of dimensions alone: {function: adjoint(k, y, x, *args, **options)}, dimensions already shifted."""

from __future__ import annotations

from typing import Any

import torch

from .base import Back, Like


def _back(k: Back, y, x: Like, *args, **options):
    return k.reshape(y, x)


def _permute(k: Back, y, x: Like, dims):
    order = [d % len(dims) for d in dims]
    return torch.permute(y, [order.index(d) for d in range(len(order))])


def _again(function):
    """An operator that is its own transpose."""
    return lambda k, y, x, *args: function(y, *args)


def _unsqueeze(k: Back, y, x: Like, dim):
    return torch.squeeze(y, dim)


def _roll(k: Back, y, x: Like, shifts, dims):
    return torch.roll(y, [-s for s in shifts] if isinstance(shifts, (list, tuple)) else -shifts, dims)


def _spread(y, x: Like, dims, keepdim):
    """A reduced tensor, in the input's shape again."""
    dims = [dims] if isinstance(dims, int) else list(dims)
    if not keepdim:
        places = (
            sorted({d if d >= 0 else d + len(x.sizes()) + 1 for d in dims})
            if any(d >= 0 for d in dims)
            else sorted(dims, reverse=True)
        )
        for d in places:
            y = y.unsqueeze(d)
    return y.expand([-1, *x.sizes()])


def _sum(k: Back, y, x: Like, dims, keepdim=False):
    return _spread(y, x, dims, keepdim)


def _mean(k: Back, y, x: Like, dims, keepdim=False):
    rank = len(x.sizes())
    count: Any = 1
    for d in [dims] if isinstance(dims, int) else dims:
        count = x.size(d - 1 if d >= 0 else d + rank) * count
    return _spread(y / count, x, dims, keepdim)


def _cumsum(k: Back, y, x: Like, dim):
    return y.flip([dim]).cumsum(dim).flip([dim])


def _select(k: Back, y, x: Like, dim, index):
    return torch.select_scatter(k.zeros(y, x), y, dim, index)


def _narrow(k: Back, y, x: Like, dim, start, length):
    return torch.slice_scatter(k.zeros(y, x), y, dim, start, start + length)


def _index_select(k: Back, y, x: Like, dim, index):
    return k.zeros(y, x).index_add(dim, index, y)


def _repeat_interleave(k: Back, y, x: Like, repeats, dim):
    if isinstance(repeats, int):
        return y.unflatten(dim, [-1, repeats]).sum(dim + 1 if dim >= 0 else dim)
    rank = len(x.sizes())
    n = x.size(dim - 1 if dim >= 0 else dim + rank)
    index = torch.arange(n, device=y.device).repeat_interleave(repeats)
    return k.zeros(y, x).index_add(dim, index, y)


def part(y, dim: int, start, end, step):
    """y[..., start:end:step, ...] along one dimension."""
    key = (
        (slice(None),) * dim + (slice(start, end, step),)
        if dim >= 0
        else (Ellipsis, slice(start, end, step)) + (slice(None),) * (-dim - 1)
    )
    return y[key]


def _slice_scatter(k: Back, y, x: Like, src: Like, dim, start, end, step):
    piece = part(y, dim, start, end, step)
    return torch.slice_scatter(y, torch.zeros_like(piece), dim, start, end, step), piece


def _select_scatter(k: Back, y, x: Like, src: Like, dim, index):
    piece = torch.select(y, dim, index)
    return torch.select_scatter(y, torch.zeros_like(piece), dim, index), piece


def _diagonal_scatter(k: Back, y, x: Like, src: Like, offset, dim1, dim2):
    piece = torch.diagonal(y, offset, dim1, dim2)
    return torch.diagonal_scatter(y, torch.zeros_like(piece), offset, dim1, dim2), piece


def _movedim(k: Back, y, x: Like, source, destination):
    return torch.movedim(y, destination, source)


def _diagonal(k: Back, y, x: Like, offset, dim1, dim2):
    return torch.diagonal_scatter(k.zeros(y, x), y, offset, dim1, dim2)


def _diff(k: Back, y, x: Like, n, dim):
    for _ in range(n):
        edge = torch.zeros_like(torch.narrow(y, dim, 0, 1))
        y = -torch.diff(torch.cat([edge, y, edge], dim), 1, dim)
    return y


def _chunk_start(i: int, n, chunks, dim):
    return (n + chunks - 1) // chunks * i


def _split_start(i: int, n, size, dim):
    if isinstance(size, (list, tuple)):
        return _total(size[:i])
    return size * (i if i >= 0 else (n + size - 1) // size + i)


def _total(sizes):
    total: Any = 0
    for size in sizes:
        total = total + size
    return total


def _tensor_split_start(i: int, n, sections, dim):
    if isinstance(sections, (list, tuple)):
        return ([0] + list(sections))[i]
    return _total([(n + sections - 1 - j) // sections for j in range(i)])


_STARTS = {torch.chunk: _chunk_start, torch.split: _split_start, torch.tensor_split: _tensor_split_start}


def _from_the_front(parts: dict, number: int) -> dict:
    """Parts taken as the last ones, chunk(...)[-1], under their own numbers."""
    found: dict[int, Any] = {}
    for i, y in parts.items():
        found[i % number] = found[i % number] + y if i % number in found else y
    return found


def join(k: Back, function, parts: dict, x: Like, *args):
    """The adjoint of a split into parts, from {part: y}; parts that nothing reads are zeros."""
    dim = args[-1] if args else 1
    number = _number(function, args[0])
    if number is not None:
        parts = _from_the_front(parts, number)
    if function is not torch.unbind and len(parts) == number:
        return torch.cat([parts[i] for i in range(number)], dim)
    place = dim - 1 if dim >= 0 else dim + len(x.sizes())
    whole = k.zeros(next(iter(parts.values())), x)
    # the last may be among the others, under its other number
    for i, y in sorted(parts.items(), key=lambda part: part[0] < 0):
        if function is torch.unbind:
            whole = torch.select_scatter(whole, y if i >= 0 else y + torch.select(whole, dim, i), dim, i)
        else:
            start = _STARTS[function](i, x.size(place), *args)
            whole = torch.slice_scatter(
                whole,
                y if i >= 0 else y + torch.narrow(whole, dim, start, y.size(dim)),
                dim,
                start,
                start + y.size(dim),
            )
    return whole


def _number(function, sections) -> int | None:
    """How many parts there are, where the arguments alone tell."""
    if isinstance(sections, (list, tuple)):
        return len(sections) + (function is torch.tensor_split)
    return sections if function in (torch.chunk, torch.tensor_split) else None


ADJOINTS = {
    torch.flatten: _back,
    torch.unflatten: _back,
    torch.squeeze: _back,
    torch.unsqueeze: _unsqueeze,
    torch.permute: _permute,
    torch.transpose: _again(torch.transpose),
    torch.flip: _again(torch.flip),
    torch.tril: _again(torch.tril),
    torch.triu: _again(torch.triu),
    torch.roll: _roll,
    torch.sum: _sum,
    torch.mean: _mean,
    torch.cumsum: _cumsum,
    torch.select: _select,
    torch.narrow: _narrow,
    torch.index_select: _index_select,
    torch.repeat_interleave: _repeat_interleave,
    torch.slice_scatter: _slice_scatter,
    torch.select_scatter: _select_scatter,
    torch.diagonal_scatter: _diagonal_scatter,
    torch.movedim: _movedim,
    torch.diagonal: _diagonal,
    torch.diff: _diff,
}
