"""Linear operators of PyTorch that take K in front of their own dimensions: solves, transforms, writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state


@dataclass(frozen=True)
class Applied(Twin):
    """y1 = function(k, *x1, *states, *args), and the adjoint back(k, y2, *x, *states, *args)."""

    function: Callable
    back: Callable
    states_: tuple = state("gate", default=())
    args: tuple = ()
    kind = "linear"

    def apply(self, k: ForwardContext, *x):
        return self.function(k, *x, *self.states_, *self.args)

    def adjoint(self, k: AdjointContext, y, *x: ShapeRef):
        return self.back(k, y, *x, *self.states_, *self.args)


@dataclass(frozen=True)
class Shift(Twin):
    """y1 = x1 + c, where c has the shape of x1: the constant of a derivative."""

    value: Any = state("constant", default=None)
    additive = ("value",)
    adds = "intercept"
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return x if self.value is None else x + self.value

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return y

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.value

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class Written(Twin):
    """y1 = a1 with b1 written, or added, at frozen indices of one dimension: scatter_add, index_add."""

    function: Callable
    index: Any = state("index")
    dim: int = 0
    rank: int | None = None
    options: tuple = ()

    def apply(self, k: ForwardContext, x, src):
        index = self.index if self.rank is None else k.spread(self.index, self.rank)
        return self.function(x, self.dim, index, src)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef, src: ShapeRef):
        if self.rank is None:
            return y, torch.ops.aten.index_select(y, self.dim, self.index)
        taken = torch.gather(y, self.dim, k.spread(self.index, self.rank))
        sides: list[Any] = []
        for d in reversed(range(self.rank)):
            sides += [0, src.size(d) - self.index.size(d)]
        return y, F.pad(taken, sides)


@dataclass(frozen=True)
class IndexPut(Twin):
    """y1 = a1 with b1 added at frozen places x[i, :, j]; K goes behind all other dimensions."""

    indices: tuple = state("index")

    def apply(self, k: ForwardContext, x, values):
        written = torch.ops.aten.index_put(
            x.movedim(0, -1), self.indices, values.movedim(0, -1), accumulate=True
        )
        return written.movedim(-1, 0)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef, values: ShapeRef):
        taken = torch.ops.aten.index(y.movedim(0, -1), self.indices)
        return y, taken.sum_to_size([*values.sizes(), k.K]).movedim(-1, 0)
