"""Locality of operators that move entries: joins, parts, permutations, reshapes, matrix products."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch

from ._local import Axis, Operand, Reading, Site, axis, coarser, elementwise, finer, same, sized


@sized
def concatenation(site: Site, operand: Operand) -> Reading:
    dim = site.arguments["dim"] % len(site.shape)
    sizes = [t.shape[dim] if t.dim() == len(site.shape) else 0 for t in site.arguments["tensors"]]
    places = np.arange(site.shape[dim]) - sum(sizes[: operand.at])
    inside = (places >= 0) & (places < operand.shape[dim])
    own = {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim}
    return own | {dim: axis(dim, np.where(inside, places, 1), np.where(inside, places, 0))}


def stacking(site: Site, operand: Operand) -> Reading:
    dim = site.arguments["dim"] % len(site.shape)
    return {d + (d >= dim): same(d, n) for d, n in enumerate(operand.shape)}


@sized
def item(site: Site, operand: Operand) -> Reading:
    """x[key]: slices, None, Ellipsis, integers, and one list of places, each along its own dimension."""
    key = site.arguments["index"]
    key = key if isinstance(key, tuple) else (key,)
    if operand.name != "x" or any(isinstance(k, bool) for k in key):
        return {}
    lists = [k for k in key if not (k is None or k is Ellipsis or isinstance(k, (int, slice)))]
    if len(lists) > 1 or (
        lists
        and (
            (isinstance(lists[0], torch.Tensor) and (lists[0].dim() != 1 or lists[0].dtype == torch.bool))
            or any(isinstance(k, int) for k in key)
        )
    ):
        return {}
    where = next((i for i, k in enumerate(key) if k is Ellipsis), len(key))
    taken = sum(k is not None and k is not Ellipsis for k in key)
    found, d, out = {}, 0, 0
    for k in [*key[:where], *[slice(None)] * (len(operand.shape) - taken), *key[where + 1 :]]:
        if isinstance(k, slice):
            found[out] = axis(d, np.arange(operand.shape[d])[k], rate=Fraction(1, k.step or 1))
        d, out = d + (k is not None), out + (not isinstance(k, int))
    return found


@sized
def narrowed(site: Site, operand: Operand) -> Reading:
    a = site.arguments
    dim = a["dim"] % len(operand.shape)
    start = a["start"] % operand.shape[dim] if a["start"] < 0 else a["start"]
    return _part(operand, dim, start, a["length"])


def _part(operand: Operand, dim: int, start: int, length: int) -> dict[int, Axis]:
    """Consecutive places along one dimension."""
    return {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim} | {
        dim: axis(dim, start + np.arange(length))
    }


@sized
def part(site: Site, operand: Operand) -> Reading:
    """One item of a split: it begins where those before it end."""
    dim = site.arguments["dim"] % len(operand.shape)
    sizes = [t.shape[dim] for t in site.values]
    return _part(operand, dim, sum(sizes[: (site.item or 0) % len(sizes)]), site.shape[dim])


def without_dim(site: Site, operand: Operand) -> Reading:
    """One place of a dimension, which the output has not."""
    dim = site.arguments["dim"] % len(operand.shape)
    return (
        {d - (d > dim): same(d, n) for d, n in enumerate(operand.shape) if d != dim}
        if operand.name == "x"
        else {}
    )


def along_dim(site: Site, operand: Operand) -> Reading:
    """Entries of x along one dimension in another order.

    An index of the shape of the output may hold that order.
    """
    dim = site.arguments["dim"] % len(site.shape)
    if operand.name == "x":
        return {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim}
    return elementwise(site, operand) if operand.shape == site.shape else {}


def one_place_over(site: Site, operand: Operand) -> Reading:
    """X with one place of a dimension replaced by ``src``."""
    return along_dim(site, operand) if operand.name == "x" else stacking(site, operand)


@sized
def sliced_over(site: Site, operand: Operand) -> Reading:
    """X with a slice of a dimension replaced by ``src``; what is replaced is marked."""
    a, dim = site.arguments, site.arguments["dim"] % len(site.shape)
    replaced = np.arange(site.shape[dim])[a["start"] : a["end"] : a["step"]]
    source = np.full(site.shape[dim], -1)
    source[replaced] = np.arange(len(replaced))
    others = {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim}
    if operand.name == "x":
        kept = source < 0
        return others | {
            dim: axis(dim, np.where(kept, np.arange(len(kept)), 1), np.where(kept, np.arange(len(kept)), 0))
        }
    return others | {
        dim: axis(dim, np.where(source < 0, 1, source), np.where(source < 0, 0, source), rate=a["step"])
    }


def repeated(site: Site, operand: Operand) -> Reading:
    """Every place as often as ``repeats`` says, one after the other."""
    dim, r = site.arguments["dim"] % len(operand.shape), site.arguments["repeats"]
    others = {d: same(d, n) for d, n in enumerate(operand.shape) if d != dim}
    return (
        others | {dim: finer(dim, site.shape[dim], r)}
        if isinstance(r, int) and r > 0 and operand.name == "x"
        else others
    )


def permuted(order: Callable[[Site, int], list[int]]) -> Callable:
    """Dimension i of the output is dimension order[i] of the operand."""

    def local(site: Site, operand: Operand) -> Reading:
        return {i: same(d, operand.shape[d]) for i, d in enumerate(order(site, len(operand.shape)))}

    return local


def unflipped(site: Site, operand: Operand) -> Reading:
    """Each place its own along the dimensions that are not flipped."""
    dims = site.arguments["dims"]
    flipped = {d % len(operand.shape) for d in (dims if isinstance(dims, (list, tuple)) else (dims,))}
    return {d: same(d, n) for d, n in enumerate(operand.shape) if d not in flipped}


def swapped(site: Site, rank: int) -> list[int]:
    """The order of a transposition; of the last two dimensions where none is named."""
    a, b = (site.arguments.get(name, default) % rank for name, default in (("dim0", -2), ("dim1", -1)))
    return [{a: b, b: a}.get(d, d) for d in range(rank)]


@sized
def reshaped(site: Site, operand: Operand) -> Reading:
    """Dimensions that stay, outer parts of one that is split, and the outer one of some that are joined."""
    found: dict[int, Axis] = {}
    for given, made in _groups(operand.shape, site.shape):
        n, m = [operand.shape[d] for d in given], [site.shape[d] for d in made]
        if len(given) == len(made) == 1:
            found[made[0]] = same(given[0], n[0])
        elif len(given) == 1:
            found[made[0]] = coarser(given[0], m[0], n[0] // m[0])
        elif len(made) == 1:
            found[made[0]] = finer(given[0], m[0], m[0] // n[0])
    return found


def _groups(a: tuple[int, ...], b: tuple[int, ...]) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions of a and b that have equally many entries.

    Dimensions of size one are left out where a run has others.
    """
    found, i, j = [], 0, 0
    if 0 in a or 0 in b:
        return []
    while i < len(a) and j < len(b):
        given, made, left, right = [i], [j], a[i], b[j]
        while left != right:
            if left < right:
                i += 1
                given.append(i)
                left *= a[i]
            else:
                j += 1
                made.append(j)
                right *= b[j]
        i, j = i + 1, j + 1
        long = [d for d in given if a[d] != 1] or given[:1], [d for d in made if b[d] != 1] or made[:1]
        found.append(long)
    return found


def dense(site: Site, operand: Operand) -> Reading:
    return {d: same(d, n) for d, n in enumerate(operand.shape[:-1])} if operand.name == "x" else {}


def product_of_matrices(site: Site, operand: Operand) -> Reading:
    """Rows of the left operand, columns of the right one, and the dimensions in front that both have."""
    rank, left = len(site.shape), operand.name == "x"
    ranks = [site.arguments[name].dim() for name in ("x", "other")]
    if min(ranks) < 2:
        return {}
    offset = rank - len(operand.shape)
    kept = [d for d in range(len(operand.shape)) if d != len(operand.shape) - (1 if left else 2)]
    return {d + offset: same(d, operand.shape[d]) for d in kept if operand.shape[d] == site.shape[d + offset]}


def letters(site: Site, operand: Operand) -> Reading:
    """The indices of an einsum that its output has too."""
    inputs, arrow, output = site.arguments["equation"].replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not arrow or "." in inputs:
        return {}
    term = terms[operand.at]
    return {
        output.index(c): same(d, operand.shape[d])
        for d, c in enumerate(term)
        if c in output and term.count(c) == 1
    }
