"""The twins of sums and of operators that only move entries.

The probes have K in front, so every dimension shifts by one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state
from .dims import ADJOINTS, batch_behind, of_dims
from .indexing import batch_behind_key, of_slices, put_back, stand_apart
from .places import Shape, Support, of_concatenation, reshaped


def shifted(dim):
    """A dimension of the original tensor, counted in the probes' tensor.

    Counted from the front it moves by one; counted from the back it stays.
    """
    if isinstance(dim, (list, tuple)):
        return [shifted(d) for d in dim]
    return dim + 1 if dim >= 0 else dim


@dataclass(frozen=True)
class Identity(Twin):
    """y1 = x1: dropout in eval, contiguous, clone; with ``method`` a cast (to, float, type_as)."""

    method: str | None = None
    args: tuple = ()
    options: dict = field(default_factory=dict)
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return x if self.method is None else getattr(x, self.method)(*self.args, **self.options)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return y if self.method is None else y.to(x.dtype)

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class Constant(Twin):
    """y1 = c(x0), whatever the probe is: the constant operand of a concatenation."""

    value: Any = state("constant")
    rank: int | None = None
    adds = "constant"

    def apply(self, k: ForwardContext):
        value = torch.zeros_like(self.value) if k.linear else self.value
        return k.spread(value, self.rank)

    def adjoint(self, k: AdjointContext, y):
        return ()

    def constant(self, k: AdjointContext):
        return self.value


@dataclass(frozen=True)
class Offset(Twin):
    """y1 = x1 + alpha c: an additive constant, a frozen operand of a sum."""

    value: Any = state("constant")
    alpha: Any = 1
    lift: int | None = 0
    grows: bool = True
    adds = "constant"
    elementwise = True

    def apply(self, k: ForwardContext, x):
        if k.linear and not self.grows:
            return x
        return k.aligned(self._spread if k.linear else self._sum, (x,), (self.lift,), self.value)

    def _sum(self, x, value):
        return x + value if self.alpha == 1 else torch.add(x, value, alpha=self.alpha)

    def _spread(self, x, value):
        return torch.ops.aten.broadcast_tensors([x, value])[0]

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.fold(y, x, self.lift) if self.grows else y

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.value if self.alpha == 1 else self.value * self.alpha

    @property
    def keeps_shape(self) -> bool:
        return not self.grows


@dataclass(frozen=True)
class Add(Twin):
    """y1 = a1 + alpha b1."""

    alpha: Any = 1
    lifts: tuple = (0, 0)
    elementwise = True

    def apply(self, k: ForwardContext, a, b):
        return k.aligned(self._sum, (a, b), self.lifts)

    def _sum(self, a, b):
        return a + b if self.alpha == 1 else torch.add(a, b, alpha=self.alpha)

    def adjoint(self, k: AdjointContext, y, a: ShapeRef, b: ShapeRef):
        second = y if self.alpha == 1 else y * self.alpha
        return k.fold(y, a, self.lifts[0]), k.fold(second, b, self.lifts[1])


@dataclass(frozen=True)
class Negate(Twin):
    """y1 = -x1."""

    elementwise = True

    def apply(self, k: ForwardContext, x):
        return -x

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return -y

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class Concat(Twin):
    """Concatenation of any number of operands.

    With ``merged`` the probes are merged into the batch: ``cat`` keeps the channels-last layout of images
    only, of four dimensions.
    """

    dim: int = 0
    merged: bool = False

    def apply(self, k: ForwardContext, *xs):
        if self.merged:
            return k.split(torch.cat([k.merge(x) for x in xs], self.dim))
        return torch.cat(list(xs), shifted(self.dim))

    def adjoint(self, k: AdjointContext, y, *xs: ShapeRef):
        dim = shifted(self.dim)
        parts = torch.split(
            y, [x.size(self.dim if self.dim >= 0 else self.dim + len(x.sizes())) for x in xs], dim
        )
        return tuple(parts[i] for i in range(len(xs)))

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        """None where the images of one operand follow those of another."""
        return None if self.dim == at or (rank is not None and self.dim + rank == at) else at

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_concatenation(self.dim, which, inputs, shape)


@dataclass(frozen=True)
class Stack(Twin):
    """Stacking of any number of operands along a new dimension."""

    dim: int = 0

    def apply(self, k: ForwardContext, *xs):
        return torch.stack(list(xs), shifted(self.dim))

    def adjoint(self, k: AdjointContext, y, *xs: ShapeRef):
        return tuple(torch.ops.aten.select(y, shifted(self.dim), i) for i in range(len(xs)))

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return None if self.dim < 0 and at else at + (0 <= self.dim <= at)


@dataclass(frozen=True)
class Reshape(Twin):
    """Reshape, with the sizes that the original branch computed."""

    shape: Any = state("size")

    def apply(self, k: ForwardContext, x):
        if isinstance(self.shape, fx.Proxy):  # as many as the value has whose size it is
            return x.flatten(1).unflatten(1, self.shape)
        return x.reshape([k.K, *self.shape])

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.reshape(y, x)

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return None if at else 0

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return reshaped(inputs[0], shape)


@dataclass(frozen=True)
class Dims(Twin):
    """An operator that only moves or reduces dimensions.

    Flatten, unflatten, permute, transpose, squeeze, unsqueeze, flip, roll, sum, mean, scatter.

    ``function(*x, *args)`` is called with the dimensions already shifted; ``back(k, y, *x, *args)`` is its
    adjoint, by default the one that ``fxscope.twins.dims`` holds for the function.
    """

    function: Callable
    args: tuple = ()
    back: Callable | None = None
    same: bool = False

    def apply(self, k: ForwardContext, *x):
        return self.function(*x, *self.args)

    def adjoint(self, k: AdjointContext, y, *x: ShapeRef):
        return (self.back or ADJOINTS[self.function])(k, y, *x, *self.args)

    @property
    def keeps_shape(self) -> bool:
        return self.same

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return at if self.same else batch_behind(self.function, self.args, at, rank)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_dims(self.function, self.args, inputs[which], shape)


@dataclass(frozen=True)
class Index(Twin):
    """Indexing x[i, a:b, None, ...], by tensors and lists of places, too."""

    key: Any = state("size")

    def apply(self, k: ForwardContext, x):
        if stand_apart(self._parts):  # what they give comes in front of all other dimensions, of K as well
            behind = (slice(None),) if any(p is Ellipsis for p in self._parts) else ()
            return x.movedim(0, -1)[(*self._parts, *behind)].movedim(-1, 0)
        return x[(slice(None), *self._parts)]

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return put_back(k, y, x, self._parts)

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return batch_behind_key(self._parts, at)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_slices(self._parts, inputs[0])

    @property
    def _parts(self) -> tuple:
        return self.key if isinstance(self.key, tuple) else (self.key,)


@dataclass(frozen=True)
class Item(Twin):
    """One of the tensors of a tuple-valued twin (chunk, split, unbind)."""

    index: int

    def apply(self, k: ForwardContext, xs):
        return xs[self.index]

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return at


@dataclass(frozen=True)
class Expand(Twin):
    """Broadcast to the sizes that the original branch computed; ``lift`` dimensions are new in front."""

    shape: Any = state("size")
    lift: int | None = 0

    def apply(self, k: ForwardContext, x):
        if self.lift is None:
            return x.movedim(0, -1).expand([*self.shape, k.K]).movedim(-1, 0)
        return k.lift(x, self.lift).expand([k.K, *self.shape])

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.fold(y, x, self.lift)

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return at


@dataclass(frozen=True)
class Repeat(Twin):
    """Tile by the given repetitions; ``lift`` dimensions are new in front."""

    repeats: Any = state("size")
    lift: int | None = 0

    def apply(self, k: ForwardContext, x):
        if self.lift is None:
            return torch.tile(x.movedim(0, -1), [*self.repeats, 1]).movedim(-1, 0)
        return k.lift(x, self.lift).repeat([1, *self.repeats])

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        sizes = x.sizes()
        missing = len(sizes) - len(self.repeats)
        sizes, repeats = [1] * -missing + sizes, [1] * missing + list(self.repeats)
        pairs = [v for pair in zip(repeats, sizes) for v in pair]
        if not pairs:
            return k.reshape(y, x)
        return k.reshape(y.reshape([k.K, *pairs]).sum(list(range(1, len(pairs), 2))), x)

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        return at
