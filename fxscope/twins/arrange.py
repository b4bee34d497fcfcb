"""The twins of sums and of operators that only move entries: with K in front, every dimension shifts by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

import torch

from .base import Probes, Twin, state


def shifted(dim):
    """A dimension of the original tensor, counted in the probes' tensor: from the front it moves by one, from the back it stays."""
    if isinstance(dim, (list, tuple)):
        return [shifted(d) for d in dim]
    return dim + 1 if dim >= 0 else dim


@dataclass(frozen=True)
class Identity(Twin):
    """y1 = x1: dropout in eval, contiguous, clone; with ``method`` a cast (to, float, type_as)."""

    method: str | None = None
    args: tuple = ()
    options: dict = field(default_factory=dict)

    def apply(self, k: Probes, x):
        return x if self.method is None else getattr(x, self.method)(*self.args, **self.options)


@dataclass(frozen=True)
class Constant(Twin):
    """y1 = c(x0), whatever the probe is: the constant operand of a concatenation."""

    value: Any = state("constant")
    rank: int | None = None

    def apply(self, k: Probes):
        value = torch.zeros_like(self.value) if k.linear else self.value
        return k.spread(value, self.rank)


@dataclass(frozen=True)
class Offset(Twin):
    """y1 = x1 + alpha c: an additive constant, a frozen operand of a sum."""

    value: Any = state("constant")
    alpha: Any = 1
    lift: int = 0
    grows: bool = True

    def apply(self, k: Probes, x):
        x = k.lift(x, self.lift)
        if not k.linear:
            return x + self.value if self.alpha == 1 else torch.add(x, self.value, alpha=self.alpha)
        if not self.grows:
            return x
        return torch.ops.aten.broadcast_tensors([x, self.value])[0]


@dataclass(frozen=True)
class Add(Twin):
    """y1 = a1 + alpha b1."""

    alpha: Any = 1
    lifts: tuple = (0, 0)

    def apply(self, k: Probes, a, b):
        a, b = k.lift(a, self.lifts[0]), k.lift(b, self.lifts[1])
        return a + b if self.alpha == 1 else torch.add(a, b, alpha=self.alpha)


@dataclass(frozen=True)
class Negate(Twin):
    """y1 = -x1."""

    def apply(self, k: Probes, x):
        return -x


@dataclass(frozen=True)
class Concat(Twin):
    """Concatenation of any number of operands."""

    dim: int = 0

    def apply(self, k: Probes, *xs):
        return torch.cat(list(xs), shifted(self.dim))


@dataclass(frozen=True)
class Stack(Twin):
    """Stacking of any number of operands along a new dimension."""

    dim: int = 0

    def apply(self, k: Probes, *xs):
        return torch.stack(list(xs), shifted(self.dim))


@dataclass(frozen=True)
class Reshape(Twin):
    """Reshape, with the sizes that the original branch computed."""

    shape: Any = state("size")

    def apply(self, k: Probes, x):
        return x.reshape([k.K, *self.shape])


@dataclass(frozen=True)
class Dims(Twin):
    """An operator of dimensions alone: flatten, unflatten, permute, transpose, squeeze, unsqueeze, flip, roll, sum, mean, scatter.

    ``function(*x, *args, **options)`` is called with the dimensions already shifted.
    """

    function: Callable
    args: tuple = ()
    options: dict = field(default_factory=dict)

    def apply(self, k: Probes, *x):
        return self.function(*x, *self.args, **self.options)


@dataclass(frozen=True)
class Index(Twin):
    """Basic indexing x[i, a:b, None, ...]."""

    key: Any = state("size")

    def apply(self, k: Probes, x):
        key = self.key if isinstance(self.key, tuple) else (self.key,)
        return x[(slice(None), *key)]


@dataclass(frozen=True)
class Item(Twin):
    """One of the tensors of a tuple-valued twin (chunk, split, unbind)."""

    index: int

    def apply(self, k: Probes, xs):
        return xs[self.index]


@dataclass(frozen=True)
class Expand(Twin):
    """Broadcast to the sizes that the original branch computed; ``lift`` dimensions are new in front."""

    shape: Any = state("size")
    lift: int = 0

    def apply(self, k: Probes, x):
        return k.lift(x, self.lift).expand([k.K, *self.shape])


@dataclass(frozen=True)
class Repeat(Twin):
    """Tile by the given repetitions; ``lift`` dimensions are new in front."""

    repeats: Any = state("size")
    lift: int = 0

    def apply(self, k: Probes, x):
        return k.lift(x, self.lift).repeat([1, *self.repeats])
