"""The two spaces of an operator: tensors, or structures of them, with any number of probe dimensions in front."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import NoLinearPath, NotFloating, PlaceIndexError, ShapeError
from .index import key


@dataclass(frozen=True)
class Space:
    """What F takes or gives: one shape a tensor, in a structure; with one image the batch is not a dimension of it.

    name    "x1" or "y2", for errors
    shapes  of every tensor, without its batch where that is 1 (``batched`` False)
    dtypes  of every tensor, or one for all; all of them are floating
    constant  {number of a tensor: why F gives zeros there}, which an index may not mean
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    spec: Any
    dtypes: tuple[torch.dtype, ...] | torch.dtype
    device: torch.device
    batched: bool
    constant: dict[int, str] = field(default_factory=dict)

    def __post_init__(self):
        if isinstance(self.dtypes, torch.dtype):  # one for all
            object.__setattr__(self, "dtypes", (self.dtypes,) * len(self.shapes))

    @classmethod
    def of(cls, name: str, value: Any, batch: int, constant: dict[int, str] | None = None) -> Space:
        leaves, spec = pytree.tree_flatten(value)
        if any(not t.is_floating_point() for t in leaves):
            raise NotFloating(
                f"{name}: expected real floating tensors, got {', '.join(str(t.dtype) for t in leaves)}"
            )
        squeezed = batch == 1 and all(t.dim() and t.shape[0] == 1 for t in leaves)
        shapes = tuple(tuple(t.shape[1:] if squeezed else t.shape) for t in leaves)
        return cls(
            name, shapes, spec, tuple(t.dtype for t in leaves), leaves[0].device, not squeezed, constant or {}
        )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype that holds all of them."""
        return functools.reduce(torch.promote_types, self.dtypes)

    @property
    def keys(self) -> list[Any]:
        """What an index calls every tensor of the structure: a name, a position, or a tuple of them."""
        return [
            _key(path)
            for path, _ in pytree.tree_flatten_with_path(self.build(list(range(len(self.shapes)))))[0]
        ]

    @property
    def numel(self) -> int:
        return sum(torch.Size(s).numel() for s in self.shapes)

    @property
    def shape(self) -> tuple[int, ...]:
        if len(self.shapes) > 1:
            raise ShapeError(f"{self.name} is a structure of {len(self.shapes)} tensors; it has no one shape")
        return self.shapes[0]

    def stack(self, value: Any) -> tuple[Any, tuple[int, ...]]:
        """The value with its leading dimensions made one, K, and the batch in place; and the leading dimensions."""
        leaves, spec = pytree.tree_flatten(value)
        if spec != self.spec:
            leaves, spec = pytree.tree_flatten(only_floating(value))  # labels beside logits are none of F's
        other = next((t for t in leaves if not isinstance(t, torch.Tensor)), None)
        if other is not None:
            raise ShapeError(f"{self.name}: expected {_said(self.spec)}, got a {type(other).__name__}")
        if spec != self.spec:
            raise ShapeError(f"{self.name}: expected {_said(self.spec)}, got {_said(spec)}")
        heads = {self._head(*each) for each in zip(leaves, self.shapes, self.dtypes)}
        if len(heads) > 1:
            raise ShapeError(f"{self.name}: the tensors have different leading dimensions, {sorted(heads)}")
        head = heads.pop()
        K = torch.Size(head).numel()
        batch = () if self.batched else (1,)
        return (
            pytree.tree_unflatten([t.reshape(K, *batch, *s) for t, s in zip(leaves, self.shapes)], spec),
            head,
        )

    def _head(self, tensor: torch.Tensor, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[int, ...]:
        cut = tensor.dim() - len(shape)
        if cut < 0 or tuple(tensor.shape[cut:]) != shape:
            raise ShapeError(
                f"{self.name}: expected (..., {', '.join(map(str, shape))}), got {tuple(tensor.shape)};"
                " leading dimensions are probes"
            )
        if tensor.dtype.is_complex and not dtype.is_complex:
            raise ShapeError(
                f"{self.name}: expected {dtype}, got {tensor.dtype}; F is real: apply it to the real and to"
                " the imaginary part"
            )
        if tensor.dtype != dtype:
            raise ShapeError(f"{self.name}: expected {dtype}, got {tensor.dtype}")
        if tensor.device != self.device:
            raise ShapeError(f"{self.name}: expected a tensor on {self.device}, got one on {tensor.device}")
        return tuple(tensor.shape[:cut])

    def unstack(self, value: Any, head: tuple[int, ...]) -> Any:
        """Tensors of (K, B, ...) as the caller sees them: (*head, ...)."""
        leaves = pytree.tree_leaves(value)
        return pytree.tree_unflatten([t.reshape((*head, *s)) for t, s in zip(leaves, self.shapes)], self.spec)

    def zeros(self, K: int) -> list[torch.Tensor]:
        return [torch.zeros(K, *s, dtype=d, device=self.device) for s, d in zip(self.shapes, self.dtypes)]

    def build(self, leaves: list[torch.Tensor]) -> Any:
        return pytree.tree_unflatten(leaves, self.spec)

    def cotangents(self, indices: list[Any], batch: int, constant: bool = False) -> Any:
        """One-hot (or weighted) tensors, (K, *shape): where every index points to. With B > 1 a list of B indices is one for each image.

        ``constant``: whether an index may mean a tensor in which F gives zeros; otherwise that is a ``NoLinearPath``.
        """
        leaves = self.zeros(len(indices))
        for k, index in enumerate(indices):
            for b, each in self._per_image(index, batch):
                if isinstance(each, dict) and not each:
                    raise PlaceIndexError(f"{self.name}: {{}} names no place")
                for place, weight in each.items() if isinstance(each, dict) else [(each, 1.0)]:
                    number, place = self._leaf(place)
                    if number in self.constant and not constant:
                        raise NoLinearPath(self.constant[number])
                    self._put(leaves[number], k, b, batch, place, weight)
        return self.build(leaves)

    def _per_image(self, index: Any, batch: int) -> list[tuple[Any, Any]]:
        if not self.batched:
            return [(None, index)]
        each = index if isinstance(index, list) and batch > 1 else [index] * batch
        if len(each) != batch:
            raise PlaceIndexError(
                f"{self.name}: a list gives one index for each image; got {len(each)} for a batch of {batch}"
            )
        return list(enumerate(each))

    def _put(self, target: torch.Tensor, k: int, b: Any, batch: int, place: Any, weight: float) -> None:
        if b is not None and not target.dim() > 1:
            raise PlaceIndexError(
                f"{self.name}: a number of the whole batch has no place {place!r} of one image"
            )
        if b is not None and len(self.shapes) > 1 and target.shape[1] != batch:
            raise PlaceIndexError(
                f"{self.name}: {place!r} is in a tensor {tuple(target.shape[1:])} without the batch of"
                f" {batch}; it has no rows of one image"
            )
        at = target[k] if b is None else target[k][b]
        where = key(place, tuple(at.shape), self.name)
        try:
            if not at[where].numel():
                raise IndexError("nothing is selected")
            at[where] += _weight(weight)
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            raise PlaceIndexError(
                f"{self.name}: index {place!r} is not in a tensor of shape {tuple(at.shape)}:"
                f" {str(error).splitlines()[0]}"
            ) from error

    def _leaf(self, place: Any) -> tuple[int, Any]:
        """(number of the tensor that an index means, the index in it): with several, its first entries are the key."""
        keyed = isinstance(place, tuple) and place and isinstance(place[0], str)
        if len(self.shapes) == 1 and not keyed:
            return 0, place
        if not isinstance(place, tuple):
            raise PlaceIndexError(
                f"{self.name} has {len(self.shapes)} tensors: the index is (key, ...), got {place!r}"
            )
        found, rest = self.build(list(range(len(self.shapes)))), list(place)
        try:
            while rest and not isinstance(found, int):
                found = _item(found, rest.pop(0))
        except (KeyError, IndexError, TypeError) as error:
            raise PlaceIndexError(
                f"{self.name} has no tensor {place[0]!r}; it has {', '.join(map(repr, self.keys))}"
            ) from error
        if not isinstance(found, int):
            raise PlaceIndexError(
                f"{self.name}: {place!r} is no floating tensor; there are {', '.join(map(repr, self.keys))}"
            )
        return found, tuple(rest)


def only_floating(value: Any) -> Any:
    """A structure with () for what is no floating tensor: outputs such as labels pass through, and are none of F's."""
    return pytree.tree_map(
        lambda t: t if isinstance(t, torch.Tensor) and t.is_floating_point() else (), value
    )


def _item(value: Any, key: Any) -> Any:
    """A part of a structure by its name or position."""
    if isinstance(key, bool):
        raise TypeError("a bool is no key")
    return (
        getattr(value, key)
        if isinstance(key, str) and not isinstance(value, dict) and hasattr(value, key)
        else value[key]
    )


def _key(path: tuple) -> Any:
    """What an index calls a tensor of a structure, from the path to it."""
    found = tuple(
        next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name))
        for entry in path
    )
    return found[0] if len(found) == 1 else found


def _weight(weight: Any) -> float:
    """A weight of a combination; ``TypeError`` and ``ValueError`` where it is no real number."""
    number = float(weight)
    if not math.isfinite(number):
        raise ValueError(f"its weight is {number}")
    return number


def _said(spec: Any) -> str:
    return "one tensor" if spec.is_leaf() else str(spec)
