"""Adjoints of the operators that only move or reduce dimensions.

The table is {function: adjoint(k, y, x, *args, **options)}; dimensions are counted with K in front.
"""

from __future__ import annotations

from typing import Any

import torch

from .base import AdjointContext, ShapeRef
from .places import Shape, Support, kept, own, reshaped


def _back(k: AdjointContext, y, x: ShapeRef, *args, **options):
    return k.reshape(y, x)


def _permute(k: AdjointContext, y, x: ShapeRef, dims):
    order = [d % len(dims) for d in dims]
    return torch.permute(y, [order.index(d) for d in range(len(order))])


def _again(function):
    """An operator that is its own transpose."""
    return lambda k, y, x, *args: function(y, *args)


def _unsqueeze(k: AdjointContext, y, x: ShapeRef, dim):
    return torch.squeeze(y, dim)


def _roll(k: AdjointContext, y, x: ShapeRef, shifts, dims):
    return torch.roll(y, [-s for s in shifts] if isinstance(shifts, (list, tuple)) else -shifts, dims)


def _spread(y, x: ShapeRef, dims, keepdim):
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


def _sum(k: AdjointContext, y, x: ShapeRef, dims, keepdim=False):
    return _spread(y, x, dims, keepdim)


def _mean(k: AdjointContext, y, x: ShapeRef, dims, keepdim=False):
    rank = len(x.sizes())
    count: Any = 1
    for d in [dims] if isinstance(dims, int) else dims:
        count = x.size(d - 1 if d >= 0 else d + rank) * count
    return _spread(y / count, x, dims, keepdim)


def _cumsum(k: AdjointContext, y, x: ShapeRef, dim):
    return y.flip([dim]).cumsum(dim).flip([dim])


def _select(k: AdjointContext, y, x: ShapeRef, dim, index):
    return torch.select_scatter(k.zeros(y, x), y, dim, index)


def _narrow(k: AdjointContext, y, x: ShapeRef, dim, start, length):
    return torch.slice_scatter(k.zeros(y, x), y, dim, start, start + length)


def _index_select(k: AdjointContext, y, x: ShapeRef, dim, index):
    return k.zeros(y, x).index_add(dim, index, y)


def _repeat_interleave(k: AdjointContext, y, x: ShapeRef, repeats, dim):
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


def _slice_scatter(k: AdjointContext, y, x: ShapeRef, src: ShapeRef, dim, start, end, step):
    piece = part(y, dim, start, end, step)
    return torch.slice_scatter(y, torch.zeros_like(piece), dim, start, end, step), piece


def _select_scatter(k: AdjointContext, y, x: ShapeRef, src: ShapeRef, dim, index):
    piece = torch.ops.aten.select(y, dim, index)
    return torch.select_scatter(y, torch.zeros_like(piece), dim, index), piece


def _diagonal_scatter(k: AdjointContext, y, x: ShapeRef, src: ShapeRef, offset, dim1, dim2):
    piece = torch.diagonal(y, offset, dim1, dim2)
    return torch.diagonal_scatter(y, torch.zeros_like(piece), offset, dim1, dim2), piece


def _movedim(k: AdjointContext, y, x: ShapeRef, source, destination):
    return torch.movedim(y, destination, source)


def _diagonal(k: AdjointContext, y, x: ShapeRef, offset, dim1, dim2):
    return torch.diagonal_scatter(k.zeros(y, x), y, offset, dim1, dim2)


def _diff(k: AdjointContext, y, x: ShapeRef, n, dim):
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
        return ([0, *sections])[i]
    return _total([(n + sections - 1 - j) // sections for j in range(i)])


_STARTS = {torch.chunk: _chunk_start, torch.split: _split_start, torch.tensor_split: _tensor_split_start}


def _from_the_front(parts: dict, number: int) -> dict:
    """Parts taken as the last ones, chunk(...)[-1], under their own numbers."""
    found: dict[int, Any] = {}
    for i, y in parts.items():
        found[i % number] = found[i % number] + y if i % number in found else y
    return found


def join(k: AdjointContext, function, parts: dict, x: ShapeRef, *args):
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
            whole = torch.select_scatter(
                whole, y if i >= 0 else y + torch.ops.aten.select(whole, dim, i), dim, i
            )
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


def batch_behind(function: Any, args: tuple, at: int, rank: int | None) -> int | None:
    """The dimension of the batch behind an operator of dimensions; None where it is not known.

    ``args`` counts dimensions with K in front.
    """
    if function is torch.permute:
        return list(args[0]).index(at + 1) - 1
    if function is torch.transpose:
        return _transposed(args, at, rank)
    dims = args[0] if isinstance(args[0], (list, tuple)) else [args[0]]
    if function is torch.unsqueeze:
        if dims[0] > 0:
            return at + (dims[0] - 1 <= at)
        return at if at == 0 and dims[0] in (-1, -2) else None
    if function in (torch.ops.aten.select, torch.unbind, torch.squeeze):
        if at and any(d < 1 or d - 1 == at for d in dims):
            return None
        return at - sum(d - 1 < at for d in dims if d > 0)
    return at if at == 0 or all(isinstance(d, int) and d - 1 > at for d in dims) else None


def _transposed(dims: tuple, at: int, rank: int | None) -> int | None:
    if any(d < 0 for d in dims) and rank is None:
        return None
    a, b = (d - 1 if d > 0 else d + (rank or 0) for d in dims)
    if at in (a, b):
        return b if at == a else a
    return at


def of_dims(function: Any, args: tuple, given: Shape, shape: Shape) -> Support:
    """Permutations, reshapes and reductions; other functions read everything."""
    if function is torch.permute:
        order = [d % (len(given) + 1) - 1 for d in args[0]][1:]
        return {i: (d, own(given[d])) for i, d in enumerate(order)}
    if function is torch.transpose:
        order = list(range(len(given)))
        a, b = (d % (len(given) + 1) - 1 for d in args)
        order[a], order[b] = order[b], order[a]
        return {i: (d, own(given[d])) for i, d in enumerate(order)}
    if function is torch.flip:
        turned = {d % (len(given) + 1) - 1 for d in args[0]}
        return {d: (d, (own(n)[0][::-1],) * 2 if d in turned else own(n)) for d, n in enumerate(given)}
    if function in _RESHAPES:
        return reshaped(given, shape)
    if function in (torch.mean, torch.sum):
        return _of_reduction(args, given, shape)
    return {}


_RESHAPES = (torch.flatten, torch.unflatten, torch.squeeze, torch.unsqueeze)


def _of_reduction(args: tuple, given: Shape, shape: Shape) -> Support:
    reduced = {d % (len(given) + 1) - 1 for d in ([args[0]] if isinstance(args[0], int) else args[0])}
    left = [d for d in range(len(given)) if d not in reduced]
    if len(given) == len(shape):
        return kept(given, *left, *(d for d in reduced if given[d] == 1))
    return {i: (d, own(given[d])) for i, d in enumerate(left)}


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
    torch.ops.aten.select: _select,
    torch.narrow: _narrow,
    torch.ops.aten.index_select: _index_select,
    torch.repeat_interleave: _repeat_interleave,
    torch.slice_scatter: _slice_scatter,
    torch.select_scatter: _select_scatter,
    torch.diagonal_scatter: _diagonal_scatter,
    torch.movedim: _movedim,
    torch.diagonal: _diagonal,
    torch.diff: _diff,
}
