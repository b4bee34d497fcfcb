"""Along which dimensions a value is constant because an operator reduced them.

Such an operand is the gate of a product.

A dimension is reduced when an operator on its way reduced it (a mean, a pooling to one place, a layer with
one output), never because an example has size one there; the batch never is. All of it is derived from the
graph, so that F does not depend on the sizes of an example. Dimensions are counted from the end, as
broadcasting counts them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch.fx as fx

from ._sizes import SizeOf, entries, tensor_of

NONE: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Reduced:
    """What is known of the dimensions of one value.

    dims    the dimensions along which it is constant because an operator reduced them
            (they are of size one, or spread again by ``expand``)
    unit    the dimensions of size one by what made them (``keepdim``, ``None``, a literal 1), reduced or not
    lost    whether dimensions were reduced and are gone; one inserted later (``unsqueeze``) replaces them
    moved   whether the batch may have left the front
    unsure  a node whose number of dimensions would tell more; None where everything is known
    """

    dims: frozenset[int] = NONE
    unit: frozenset[int] = NONE
    lost: bool = False
    moved: bool = False
    unsure: fx.Node | None = None

    @property
    def known(self) -> bool:
        return bool(self.dims or self.unit or self.lost)

    def mapped(self, place: Callable[[int], int | None]) -> Reduced:
        """The same with every dimension moved; those without a new place are dropped."""
        moved = [
            frozenset(p for d in found if (p := place(d)) is not None) for found in (self.dims, self.unit)
        ]
        return replace(self, dims=moved[0], unit=moved[1])

    def without(self, dims: Iterable[int]) -> Reduced:
        """The same for a value that varies along ``dims``."""
        dims = frozenset(dims)
        return replace(self, dims=self.dims - dims, unit=self.unit - dims)

    def dropped(self, dims: Iterable[int]) -> Reduced:
        """``dims`` taken away, as by ``squeeze`` or an integer index.

        The reduced ones among them are lost.
        """
        dims = frozenset(dims)
        found = self.without(dims).mapped(lambda d: d + sum(r > d for r in dims))
        return replace(found, lost=self.lost or bool(self.dims & dims))

    def inserted(self, place: int) -> Reduced:
        """A dimension of size one more, at ``place`` of the new value."""
        found = self.mapped(lambda d: d if d > place else d - 1)
        reduced = found.dims | {place} if self.lost else found.dims
        return replace(found, unit=found.unit | {place}, dims=reduced)


def end(view: Any, x: Any, dim: Any) -> int | None:
    """A dimension of x counted from the end; None where the graph does not tell it."""
    if not isinstance(dim, int):
        return None
    rank = view.rank(x)
    if dim < 0:
        return dim
    return None if rank is None else dim - rank


def unsure(base: Reduced, x: Any) -> Reduced:
    """Nothing is known further on, and the rank of x is why."""
    return Reduced(moved=base.moved, lost=base.lost, unsure=x if isinstance(x, fx.Node) else None)


def first(view: Any, a: dict) -> Any:
    """The operand itself: the first argument."""
    return next(iter(a.values()))


def kept(view: Any, a: dict) -> Reduced:
    """The same dimensions as the first argument's."""
    return view.of(first(view, a))


def all_but(name: str) -> Callable[[Any, dict], Reduced]:
    """The same dimensions, but for the one that the argument ``name`` counts."""

    def found(view: Any, a: dict) -> Reduced:
        x = first(view, a)
        place = end(view, x, a[name])
        base = view.of(x)
        if place is None:
            return unsure(base, x) if base.known else base
        return base.without({place})

    return found


def mixed(view: Any, a: dict) -> Reduced:
    """Entries are moved or mixed between dimensions: nothing is reduced any more."""
    base = view.of(first(view, a))
    return replace(base, dims=NONE, unit=NONE)


def reduction(view: Any, a: dict) -> Reduced:
    """``x`` reduced over ``dim``: kept as size one, or lost."""
    x, dim, keepdim = a["x"], a.get("dim"), bool(a.get("keepdim", False))
    base, rank = view.of(x), view.rank(x)
    if dim is None or dim in ((), []):
        if not keepdim or rank is None:
            return Reduced(lost=True)
        return replace(base, dims=_all(rank), unit=_all(rank))
    named = list(dim) if isinstance(dim, (list, tuple)) else [dim]
    places = [end(view, x, d) for d in named]
    if None in places:
        return unsure(base, x) if keepdim or base.known else replace(base, lost=True)
    batch = {
        p for d, p in zip(named, places) if not base.moved and (d == 0 or (rank is not None and p == -rank))
    }
    gone = frozenset(p for p in places if p is not None)
    if keepdim:
        return replace(base, dims=base.dims | gone - batch, unit=base.unit | gone)
    found = replace(base, dims=base.dims - gone).dropped(gone)
    return replace(found, lost=found.lost or bool(gone - batch))


def _all(rank: int) -> frozenset[int]:
    return frozenset(range(-rank, 0))


def squeezed(view: Any, a: dict) -> Reduced:
    """``squeeze``: what is of size one is taken away."""
    x, dim = a["x"], a["dim"]
    base = view.of(x)
    if dim is None:
        return base if not base.known else replace(base.dropped(base.unit), unit=NONE)
    places = [end(view, x, d) for d in (dim if isinstance(dim, (list, tuple)) else [dim])]
    if None in places:
        return unsure(base, x) if base.known else base
    gone = [p for p in places if p in base.unit]
    return base.dropped(gone)


def unsqueezed(view: Any, a: dict) -> Reduced:
    """``unsqueeze``: a dimension of size one is inserted."""
    x, dim = a["x"], a["dim"]
    base, rank = view.of(x), view.rank(x)
    if isinstance(dim, int) and (dim < 0 or rank is not None):
        return base.inserted(dim if dim < 0 else dim - rank - 1)
    return unsure(base, x) if base.known else base


def permuted(view: Any, a: dict) -> Reduced:
    dims = a["dims"]
    if not isinstance(dims, (list, tuple)):
        return unsure(view.of(a["x"]), a["x"])
    order = [d % len(dims) - len(dims) for d in dims]
    if not order:
        return view.of(a["x"])
    base = view.of(a["x"]).mapped(lambda d: order.index(d) - len(dims) if d in order else None)
    return replace(base, moved=base.moved or order[0] != -len(dims))


def transposed(view: Any, a: dict) -> Reduced:
    x, pair = a["x"], [a.get("dim0", -2), a.get("dim1", -1)]
    base = view.of(x)
    places = [end(view, x, d) for d in pair]
    moved = base.moved or 0 in pair or (view.rank(x) is not None and -view.rank(x) in places)
    if None in places:
        return replace(unsure(base, x) if base.dims or base.unit else base, moved=moved)
    swap = {places[0]: places[1], places[1]: places[0]}
    return replace(base.mapped(lambda d: swap.get(d, d)), moved=moved)


def moved_dims(view: Any, a: dict) -> Reduced:
    """``movedim``: as the permutation that it is."""
    x, rank = a["x"], view.rank(a["x"])
    base = view.of(x)
    source, target = ([v] if isinstance(v, int) else list(v) for v in (a["source"], a["destination"]))
    if rank is None:
        return replace(unsure(base, x) if base.known else base, moved=True)
    source, target = [s % rank for s in source], [t % rank for t in target]
    rest = iter([d for d in range(rank) if d not in source])
    order = [source[target.index(d)] if d in target else next(rest) for d in range(rank)]
    found = base.mapped(lambda d: order.index(d + rank) - rank if d + rank in order else None)
    return replace(found, moved=base.moved or order[0] != 0)


def reshaped(view: Any, a: dict) -> Reduced:
    """``reshape``: a size of one behind the front takes the place of what was reduced."""
    base, shape = view.of(a["x"]), entries(view.rank, a["shape"])
    if shape is None:
        return _reshaped_as(view, base, a["shape"])
    return _filled(base, [i - len(shape) for i, s in enumerate(shape) if i and _is_one(view, s)])


def _is_one(view: Any, size: Any) -> bool:
    """Whether a size is 1 by what made it: a literal, or read off a dimension that is of size one."""
    if type(size) is int:
        return size == 1
    if isinstance(size, SizeOf):
        return end(view, size.x, size.dim) in view.of(size.x).unit
    if not isinstance(size, fx.Node):
        return False
    read = size.args if size.target == "size" else _item_of_size(size)
    if len(read) != 2:
        return False
    x, dim = read
    return end(view, x, dim) in view.of(x).unit


def _item_of_size(node: fx.Node) -> tuple:
    """(tensor, dimension) of ``x.size()[dim]``; () for anything else."""
    if node.target is not operator.getitem:
        return ()
    whole, dim = node.args
    if not isinstance(whole, fx.Node) or whole.target != "size" or len(whole.args) != 1:
        return ()
    return whole.args[0], dim


def _reshaped_as(view: Any, base: Reduced, shape: Any) -> Reduced:
    """To the size of another value, which knows its own dimensions of size one."""
    other = tensor_of(shape)
    if other is None:
        return replace(base, dims=NONE, unit=NONE, lost=base.lost or bool(base.dims))
    return _filled(base, sorted(view.of(other).unit))


def _filled(base: Reduced, places: list[int]) -> Reduced:
    """Reduced dimensions, gone or not, at the places of size one of a new shape."""
    lost = base.lost or bool(base.dims)
    ones = frozenset(places)
    return replace(base, dims=ones if lost else NONE, unit=ones, lost=lost)


def flattened(view: Any, a: dict) -> Reduced:
    x, start, stop = a["x"], a["start_dim"], a["end_dim"]
    base = view.of(x)
    first, last = end(view, x, start), end(view, x, stop)
    if first is None or last is None or not base.known:
        if stop != -1 and base.known:
            return unsure(base, x)
        return replace(base, dims=NONE, unit=NONE, lost=base.lost or bool(base.dims))
    merged = frozenset(range(first, last + 1))
    whole = merged <= base.dims
    found = base.without(merged).mapped(lambda d: d if d > last else d + len(merged) - 1)
    if whole:
        return replace(found, dims=found.dims | {last})
    return replace(found, lost=base.lost or bool(base.dims & merged))


def unflattened(view: Any, a: dict) -> Reduced:
    x, sizes = a["x"], entries(view.rank, a["sizes"])
    base, place = view.of(x), end(view, x, a["dim"])
    if place is None or sizes is None:
        return unsure(base, x) if base.known else base
    found = base.without({place}).mapped(lambda d: d if d > place else d - len(sizes) + 1)
    new = [place - len(sizes) + 1 + i for i in range(len(sizes))]
    ones = [p for p, s in zip(new, sizes) if _is_one(view, s)]
    if place in base.dims:
        return replace(found, dims=found.dims | frozenset(new), unit=found.unit | frozenset(ones))
    reduced = frozenset(ones) if base.lost else NONE
    return replace(found, dims=found.dims | reduced, unit=found.unit | frozenset(ones))


def expanded(view: Any, a: dict) -> Reduced:
    """Spread along dimensions of size one.

    The value is as constant there as before, but the size is not one any more.
    """
    return replace(view.of(first(view, a)), unit=NONE)


def indexed(view: Any, a: dict) -> Reduced:
    """``x[index]`` by integers, slices, ``None`` and an ellipsis.

    Other indices choose entries of one dimension.
    """
    x = a["x"]
    base, rank = view.of(x), view.rank(x)
    key = a["index"] if isinstance(a["index"], tuple) else (a["index"],)
    if not all(k is None or k is Ellipsis or isinstance(k, (int, slice)) or view.is_size(k) for k in key):
        return replace(base, dims=NONE, unit=NONE)
    if not base.known and None not in key:
        return base
    if rank is None and (Ellipsis not in key or key.index(Ellipsis) > 0):
        return unsure(base, x) if base.known else base
    return _indexed(base, key, rank)


def _indexed(base: Reduced, key: tuple, rank: int | None) -> Reduced:
    """Integers take dimensions away, then ``None`` inserts new ones."""
    taken = sum(k is not None and k is not Ellipsis for k in key)
    where = key.index(Ellipsis) if Ellipsis in key else len(key)
    full = [*key[:where], *[slice(None)] * ((rank or taken) - taken), *key[where + 1 :]]
    old = [k for k in full if k is not None]
    found = base.dropped(i - len(old) for i, k in enumerate(old) if not isinstance(k, slice))
    for place in _new_places(full):
        found = found.inserted(place)
    return found


def _new_places(full: list) -> list[int]:
    """Where ``None`` inserts dimensions, from the first to the last.

    A place is counted from the end at the time of insertion.
    """
    kept = [k for k in full if k is None or isinstance(k, slice)]
    places = []
    for i, k in enumerate(kept):
        if k is None:
            behind = sum(other is not None for other in kept[i + 1 :])
            places.append(-behind - 1)
    return places


@dataclass(frozen=True)
class Factor:
    """One operand of a product or sum over named dimensions: {name: place from the end}.

    ``rest`` says that it spans unnamed dimensions as well.
    """

    value: Any
    names: dict[Any, int]


def along(view: Any, factor: Factor, name: Any) -> tuple[bool, bool]:
    """(constant along the dimension, because an operator reduced it)."""
    place = factor.names.get(name)
    shape = view.shape(factor.value)
    if shape is not None:
        return place is None or -place > len(shape) or shape[place] == 1, False
    if place is None:
        return True, False
    known, rank = view.of(factor.value), view.rank(factor.value)
    missing = rank is not None and -place > rank
    return missing or place in known.dims or place in known.unit, place in known.dims


def elementwise(view: Any, a: dict) -> Reduced:
    """Several operands broadcast together.

    The result is constant where all of them are, and reduced where one of them was.
    """
    values = [v for v in _leaves(a.values()) if view.is_tensor(v)]
    moving = [v for v in values if view.shape(v) is None]
    if not moving:
        return Reduced()
    known = [view.of(v) for v in moving]
    doubtful = next((r.unsure for r in known if r.unsure is not None), None)
    if len(moving) == 1 and len(values) == 1:
        return known[0]
    dims, unit = set(), set()
    for place in frozenset().union(*(r.dims for r in known)):
        if all(along(view, Factor(v, {place: place}), place)[0] for v in values):
            dims.add(place)
    for place in frozenset().union(*(r.unit for r in known)):
        if all(_single(view, v, place) for v in values):
            unit.add(place)
    return Reduced(
        frozenset(dims), frozenset(unit), all(r.lost for r in known), any(r.moved for r in known), doubtful
    )


def _single(view: Any, value: Any, place: int) -> bool:
    shape, rank = view.shape(value), view.rank(value)
    if shape is not None:
        return not shape or -place > len(shape) or shape[place] == 1
    return place in view.of(value).unit or (rank is not None and -place > rank)


def _leaves(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += _leaves(value) if isinstance(value, (list, tuple)) else [value]
    return found


def joined(view: Any, a: dict) -> Reduced:
    """``cat``: reduced where all parts are, and not along the dimension in which they lie side by side."""
    parts = a["tensors"]
    if not isinstance(parts, (list, tuple)):
        return Reduced()
    found = elementwise(view, {"parts": parts})
    place = next((p for p in (end(view, v, a["dim"]) for v in parts) if p is not None), None)
    if place is None:
        return unsure(found, parts[0]) if found.known else found
    return found.without({place})


def stacked(view: Any, a: dict) -> Reduced:
    parts = a["tensors"]
    if not isinstance(parts, (list, tuple)):
        return Reduced()
    found, rank = elementwise(view, {"parts": parts}), view.rank(parts[0])
    dim = a["dim"]
    if dim >= 0 and rank is None:
        return unsure(found, parts[0]) if found.known else found
    place = dim if dim < 0 else dim - rank - 1
    return replace(found.mapped(lambda d: d if d > place else d - 1), moved=found.moved or dim == 0)


def unbound(view: Any, a: dict) -> Reduced:
    base, place = view.of(a["x"]), end(view, a["x"], a["dim"])
    if place is None:
        return unsure(base, a["x"]) if base.known else base
    return base.dropped({place})


def layer(last: int, weight: str = "weight", transposed: bool = False) -> Callable[[Any, dict], Reduced]:
    """A layer whose weight maps features at dimension ``last``.

    One output out of several inputs reduces them.

    Along the dimensions behind (of a convolution) it stays constant where the kernel sees one place.
    """

    def found(view: Any, a: dict) -> Reduced:
        base, shape = view.of(a["x"]), view.shape(a[weight])
        behind = frozenset(range(last + 1, 0))
        if shape is None:
            return base.without(behind | {last})
        single = {p for p in behind if shape[p] == 1 and _plain(a, p - last - 1, -1 - last)}
        groups = a.get("groups", 1)
        given, made = (shape[0], shape[1] * groups) if transposed else (shape[1] * groups, shape[0])
        one = made == 1 and (given > 1 or last in base.dims)
        result = base.without((behind - single) | {last})
        return replace(
            result,
            dims=result.dims | ({last} if one else NONE),
            unit=result.unit | ({last} if made == 1 else NONE),
        )

    return found


def _plain(a: dict, axis: int, count: int) -> bool:
    """Whether a convolution adds no border and, if transposed, leaves no gaps along one axis."""
    padding, stride = a.get("padding", 0), a.get("stride", 1)
    if isinstance(padding, str):
        return True  # "same" and "valid" of one place
    edge = padding[axis % len(padding)] if isinstance(padding, (list, tuple)) else padding
    step = stride[axis % len(stride)] if isinstance(stride, (list, tuple)) else stride
    return edge == 0 and (step == 1 or "output_padding" not in a)


def pooled_to(spatial: int) -> Callable[[Any, dict], Reduced]:
    """Adaptive pooling: dimensions pooled to one place are reduced."""

    def found(view: Any, a: dict) -> Reduced:
        size = a["output_size"]
        sizes = list(size) if isinstance(size, (list, tuple)) else [size] * spatial
        ones = frozenset(i - spatial for i, s in enumerate(sizes) if type(s) is int and s == 1)
        base = view.of(first(view, a))
        return replace(base, dims=base.dims | ones, unit=base.unit | ones)

    return found


def padded(view: Any, a: dict) -> Reduced:
    base, pad = view.of(a["x"]), a["pad"]
    if not isinstance(pad, (list, tuple)):
        return mixed(view, a)
    touched = {-1 - i // 2 for i, n in enumerate(pad) if not (type(n) is int and n == 0)}
    return base.without(touched)
