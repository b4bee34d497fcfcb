"""``Space``: the tensors that an operator takes or gives, with leading dimensions for probes."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import NoLinearPath, NotFloating, PlaceIndexError, ShapeError, first_line
from ..graph.arguments import check_tensor
from ..passes.outputs import with_dicts
from .index import key


@dataclass(frozen=True)
class Space:
    """The input or output space of F: a structure of floating tensors.

    Attributes
    ----------
    name : str
        "x1" or "y2", for error messages.
    shapes : tuple of tuple of int
        Shape of every tensor; without the batch dimension if ``batched`` is False.
    spec : TreeSpec
        The structure.
    dtypes : tuple of torch.dtype
        Dtype of every tensor; a single dtype stands for all.
    batched : bool
        False for a single image, whose batch is no dimension of the space.
    constant : dict
        {number of a tensor: why F is zero there}; an index may not refer to these tensors.
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    spec: Any
    dtypes: tuple[torch.dtype, ...]
    device: torch.device
    batched: bool
    constant: dict[int, str] = field(default_factory=dict)

    def __post_init__(self):
        if isinstance(self.dtypes, torch.dtype):  # one for all
            object.__setattr__(self, "dtypes", (self.dtypes,) * len(self.shapes))

    @classmethod
    def of(cls, name: str, value: Any, batch: int, constant: dict[int, str] | None = None) -> Space:
        """The space of a value with a batch of ``batch`` images."""
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
        """The dtype to which those of all tensors promote."""
        return functools.reduce(torch.promote_types, self.dtypes)

    @property
    def keys(self) -> list[Any]:
        """The key of every tensor in an index: a name, a position, or a tuple of them."""
        return [_key(path) for path, _ in pytree.tree_flatten_with_path(self._numbered())[0]]

    @property
    def numel(self) -> int:
        """Entries of all tensors together, without probes."""
        return sum(torch.Size(s).numel() for s in self.shapes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the only tensor; raises ``ShapeError`` if there are several."""
        if len(self.shapes) > 1:
            each = ", ".join(f"{k!r}: {tuple(s)}" for k, s in zip(self.keys, self.shapes))
            option = "inputs" if self.name == "x1" else "outputs"
            raise ShapeError(
                f"{self.name} is a structure of {len(self.shapes)} tensors and has no one shape, but {each}:"
                f" .shapes has them all; to read one, name its place with {option}= (--{option} on the"
                " command line)"
            )
        return self.shapes[0]

    def stack(self, value: Any) -> tuple[Any, tuple[int, ...]]:
        """Merge the leading dimensions into one, K, and add the batch; also return these dimensions."""
        leaves, spec = pytree.tree_flatten(value)
        if spec != self.spec:
            leaves, spec = pytree.tree_flatten(only_floating(value))  # without labels and the like
        for leaf in leaves:
            if not isinstance(leaf, torch.Tensor) or leaf.layout is not torch.strided:
                check_tensor(self.name, leaf, _said(self.spec))
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
        """The leading dimensions of a tensor of the space; raises ``ShapeError`` if it does not fit."""
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
        """Undo ``stack``: tensors (K, B, ...) become (*head, ...)."""
        leaves = pytree.tree_leaves(value)
        return pytree.tree_unflatten([t.reshape((*head, *s)) for t, s in zip(leaves, self.shapes)], self.spec)

    def zeros(self, K: int) -> list[torch.Tensor]:
        """K zeros of every tensor, (K, *shape)."""
        return [torch.zeros(K, *s, dtype=d, device=self.device) for s, d in zip(self.shapes, self.dtypes)]

    def build(self, leaves: list[Any]) -> Any:
        """The structure with these leaves."""
        return pytree.tree_unflatten(leaves, self.spec)

    def cotangents(self, indices: list[Any], batch: int, constant: bool = False) -> Any:
        """One-hot (or weighted) tensors (K, *shape), which are 1 at the indices.

        With B > 1 a list of B indices has one index for each image. An index into a tensor where F is zero
        raises ``NoLinearPath`` unless ``constant`` is True.
        """
        leaves = self.zeros(len(indices))
        for k, index in enumerate(indices):
            for b, each in self._per_image(index, batch):
                if isinstance(each, dict) and not each:
                    raise PlaceIndexError(f"{self.name}: {{}} names no place")
                for place, weight in each.items() if isinstance(each, dict) else [(each, 1.0)]:
                    number, place = self._leaf(place, batch)
                    if number in self.constant and not constant:
                        raise NoLinearPath(self.constant[number])
                    self._put(leaves[number], k, b, batch, place, weight)
        return self.build(leaves)

    def _per_image(self, index: Any, batch: int) -> list[tuple[Any, Any]]:
        """(image, index) of every image; the image is None if the space has no batch."""
        if not self.batched:
            return [(None, index)]
        each = index if isinstance(index, list) and batch > 1 else [index] * batch
        if len(each) != batch:
            raise PlaceIndexError(
                f"{self.name}: a list gives one index for each image; got {len(each)} for a batch of {batch}"
            )
        return list(enumerate(each))

    def _put(self, target: torch.Tensor, k: int, b: Any, batch: int, place: Any, weight: float) -> None:
        """Add a weight at one place, for probe k and image b."""
        if batch == 1 and (target.dim() == 1 or target.shape[1] != 1):
            b = None  # a number of the only image, or its regions, pairs or tokens: no dimension is its batch
        if b is not None and target.dim() == 1:
            raise PlaceIndexError(
                f"{self.name}: a number of the whole batch has no place {place!r} of one image: interpret"
                " the images one at a time, or take its row over all of them from lin.F.T @ u"
            )
        if b is not None and target.shape[1] != batch:
            raise PlaceIndexError(
                f"{self.name}: {place!r} is in a tensor {tuple(target.shape[1:])} without the batch of"
                f" {batch}; it has no rows of one image: interpret the images one at a time, or take its row"
                " over all of them from lin.F.T @ u"
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
                f" {first_line(error)}"
            ) from error

    def _leaf(self, place: Any, batch: int) -> tuple[int, Any]:
        """(number of a tensor, index in it); if there are several tensors, an index begins with a key."""
        if len(self.shapes) == 1 and not self._keyed(place, batch):
            return 0, place
        if not isinstance(place, tuple):
            raise PlaceIndexError(
                f"{self.name} has {len(self.shapes)} tensors: the index is (key, ...), got {place!r}"
            )
        found, rest = self._numbered(), list(place)
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

    def _keyed(self, place: Any, batch: int) -> bool:
        """Whether an index of the only tensor begins with its key: a name, or more parts than dimensions."""
        if not isinstance(place, tuple) or not place:
            return False
        key = self.keys[0] if isinstance(self.keys[0], tuple) else (self.keys[0],)
        dims = len(self.shapes[0]) - (self.batched and batch > 1)
        return isinstance(place[0], str) or (place[: len(key)] == key and len(place) == len(key) + dims)

    def _numbered(self) -> Any:
        """The structure with the number of each tensor in its position."""
        return self.build(list(range(len(self.shapes))))


def only_floating(value: Any) -> Any:
    """A structure with () in place of everything that is no floating tensor, such as labels.

    A dataclass becomes a dict of its fields.
    """
    return pytree.tree_map(
        lambda t: t if isinstance(t, torch.Tensor) and t.is_floating_point() else (), with_dicts(value)
    )


def _item(value: Any, key: Any) -> Any:
    """A part of a structure by its name or position."""
    if isinstance(key, bool):
        raise TypeError("a bool is no key")
    if isinstance(key, str) and not isinstance(value, dict) and hasattr(value, key):
        return getattr(value, key)
    return value[key]


def _key(path: tuple) -> Any:
    """The key of a tensor in an index, from its path in the structure."""
    found = tuple(
        next(getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name))
        for entry in path
    )
    return found[0] if len(found) == 1 else found


def _weight(weight: Any) -> float:
    """The weight of an index; raises ``TypeError`` or ``ValueError`` if it is no finite real number."""
    number = float(weight)
    if not math.isfinite(number):
        raise ValueError(f"its weight is {number}")
    return number


def _said(spec: Any) -> str:
    return "one tensor" if spec.is_leaf() else str(spec)
