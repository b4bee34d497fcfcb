"""The two spaces of an operator: tensors, or structures of them, with any number of probe dimensions in front."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..errors import PlaceIndexError, ShapeError
from .index import key


@dataclass(frozen=True)
class Space:
    """What F takes or gives: one shape a tensor, in a structure; with one image the batch is not a dimension of it.

    name    "x1" or "y2", for errors
    shapes  of every tensor, without its batch where that is 1 (``batched`` False)
    """

    name: str
    shapes: tuple[tuple[int, ...], ...]
    spec: Any
    dtype: torch.dtype
    device: torch.device
    batched: bool

    @classmethod
    def of(cls, name: str, value: Any, batch: int) -> "Space":
        leaves, spec = pytree.tree_flatten(value)
        squeezed = batch == 1 and all(t.dim() and t.shape[0] == 1 for t in leaves)
        shapes = tuple(tuple(t.shape[1:] if squeezed else t.shape) for t in leaves)
        return cls(name, shapes, spec, leaves[0].dtype, leaves[0].device, not squeezed)

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
        other = next((t for t in leaves if not isinstance(t, torch.Tensor)), None)
        if other is not None:
            raise ShapeError(f"{self.name}: expected {_said(self.spec)}, got a {type(other).__name__}")
        if spec != self.spec:
            raise ShapeError(f"{self.name}: expected {_said(self.spec)}, got {_said(spec)}")
        heads = {self._head(t, s) for t, s in zip(leaves, self.shapes)}
        if len(heads) > 1:
            raise ShapeError(f"{self.name}: the tensors have different leading dimensions, {sorted(heads)}")
        head = heads.pop()
        K = torch.Size(head).numel()
        batch = () if self.batched else (1,)
        return pytree.tree_unflatten([t.reshape(K, *batch, *s) for t, s in zip(leaves, self.shapes)], spec), head

    def _head(self, tensor: torch.Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
        cut = tensor.dim() - len(shape)
        if cut < 0 or tuple(tensor.shape[cut:]) != shape:
            raise ShapeError(f"{self.name}: expected (..., {', '.join(map(str, shape))}), got {tuple(tensor.shape)}; leading dimensions are probes")
        if tensor.dtype.is_complex and not self.dtype.is_complex:
            raise ShapeError(f"{self.name}: expected {self.dtype}, got {tensor.dtype}; F is real: apply it to the real and to the imaginary part")
        if tensor.dtype != self.dtype:
            raise ShapeError(f"{self.name}: expected {self.dtype}, got {tensor.dtype}")
        if tensor.device != self.device:
            raise ShapeError(f"{self.name}: expected a tensor on {self.device}, got one on {tensor.device}")
        return tuple(tensor.shape[:cut])

    def unstack(self, value: Any, head: tuple[int, ...]) -> Any:
        """Tensors of (K, B, ...) as the caller sees them: (*head, ...)."""
        leaves = pytree.tree_leaves(value)
        return pytree.tree_unflatten([t.reshape(*head, *s) for t, s in zip(leaves, self.shapes)], self.spec)

    def zeros(self, K: int) -> list[torch.Tensor]:
        return [torch.zeros(K, *s, dtype=self.dtype, device=self.device) for s in self.shapes]

    def build(self, leaves: list[torch.Tensor]) -> Any:
        return pytree.tree_unflatten(leaves, self.spec)

    def cotangents(self, indices: list[Any], batch: int) -> Any:
        """One-hot (or weighted) tensors, (K, *shape): where every index points to. With B > 1 a list of B indices is one for each image."""
        leaves = self.zeros(len(indices))
        for k, index in enumerate(indices):
            for b, each in self._per_image(index, batch):
                if isinstance(each, dict) and not each:
                    raise PlaceIndexError(f"{self.name}: {{}} names no place")
                for place, weight in (each.items() if isinstance(each, dict) else [(each, 1.0)]):
                    self._put(leaves, k, b, place, weight)
        return self.build(leaves)

    def _per_image(self, index: Any, batch: int) -> list[tuple[Any, Any]]:
        if not self.batched:
            return [(None, index)]
        each = index if isinstance(index, list) and batch > 1 else [index] * batch
        if len(each) != batch:
            raise PlaceIndexError(f"{self.name}: a list gives one index for each image; got {len(each)} for a batch of {batch}")
        return list(enumerate(each))

    def _put(self, leaves: list[torch.Tensor], k: int, b: Any, place: Any, weight: float) -> None:
        target, place = self._leaf(leaves, place)
        if b is not None and b >= target.shape[1]:
            raise PlaceIndexError(f"{self.name}: the batch is not the first dimension of a tensor of shape {tuple(target.shape[1:])}")
        at = target[k] if b is None else target[k][b]
        where = key(place, tuple(at.shape), self.name)
        try:
            if not at[where].numel():
                raise IndexError("nothing is selected")
            at[where] += _weight(weight)
        except (IndexError, TypeError, ValueError, RuntimeError) as error:
            raise PlaceIndexError(f"{self.name}: index {place!r} is not in a tensor of shape {tuple(at.shape)}: {str(error).splitlines()[0]}") from error

    def _leaf(self, leaves: list[torch.Tensor], place: Any) -> tuple[torch.Tensor, Any]:
        """The tensor that an index means: with several, its first entry is the key."""
        if len(leaves) == 1:
            return leaves[0], place
        named = self.build(list(range(len(leaves))))
        if not isinstance(place, tuple):
            raise PlaceIndexError(f"{self.name} has {len(leaves)} tensors: the index is (key, ...), got {place!r}")
        try:
            which = getattr(named, place[0]) if isinstance(place[0], str) and hasattr(named, place[0]) else named[place[0]]
        except (KeyError, IndexError, TypeError) as error:
            raise PlaceIndexError(f"{self.name} has no tensor {place[0]!r}") from error
        return leaves[which], tuple(place[1:])


def _weight(weight: Any) -> float:
    """A weight of a combination; ``TypeError`` and ``ValueError`` where it is no real number."""
    number = float(weight)
    if not math.isfinite(number):
        raise ValueError(f"its weight is {number}")
    return number


def _said(spec: Any) -> str:
    return "one tensor" if spec.is_leaf() else str(spec)
