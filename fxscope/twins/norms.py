"""Twins of normalisations that keep part of the statistics linear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state


@dataclass(frozen=True)
class Centred(Twin):
    """y1 = factor (x1 - mean(x1)) + offset.

    The mean is over ``dims`` of each probe; dimensions are counted with K in front.
    """

    factor: Any = state("stats")
    offset: Any = state("constant", default=None)
    dims: tuple = (-1,)
    additive = ("offset",)
    kind = "normalize"
    adds = "shift"

    def apply(self, k: ForwardContext, x):
        y = (x - x.mean(self.dims, keepdim=True)) * self.factor
        return y if self.offset is None else y + self.offset

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = y * self.factor
        return y - y.mean(self.dims, keepdim=True)

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class TangentNorm(Twin):
    """y1 = factor (c1 - z0 mean(z0 c1)) + offset with c1 = x1 - mean(x1): the Jacobian of a normalisation."""

    factor: Any = state("stats")
    z: Any = state("stats")
    offset: Any = state("constant", default=None)
    dims: tuple = (-1,)
    centre: bool = True
    additive = ("offset",)
    kind = "normalize"
    adds = "shift"

    def apply(self, k: ForwardContext, x):
        c = x - x.mean(self.dims, keepdim=True) if self.centre else x
        y = (c - self.z * (self.z * c).mean(self.dims, keepdim=True)) * self.factor
        return y if self.offset is None else y + self.offset

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = y * self.factor
        c = y - self.z * (self.z * y).mean(self.dims, keepdim=True)
        return c - c.mean(self.dims, keepdim=True) if self.centre else c

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset

    @property
    def keeps_shape(self) -> bool:
        return True


def _where_seen(pattern, x):
    """X where the pattern is not zero: a masked score is -inf, and 0 * inf is no number."""
    return torch.where(pattern == 0, 0.0, x)


@dataclass(frozen=True)
class SoftmaxTangent(Twin):
    """y1 = s0 (x1 - sum(s0 x1)) + offset: the Jacobian of softmax along ``dim`` (counted with K in front)."""

    pattern: Any = state("gate")
    offset: Any = state("constant", default=None)
    dim: int = -1
    additive = ("offset",)
    kind = "gate"

    def apply(self, k: ForwardContext, x):
        x = _where_seen(self.pattern, x)
        y = self.pattern * (x - (self.pattern * x).sum(self.dim, keepdim=True))
        return y if self.offset is None else y + self.offset

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = self.pattern * y
        return y - self.pattern * y.sum(self.dim, keepdim=True)

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class LogSoftmaxTangent(Twin):
    """y1 = x1 - sum(s0 x1) + offset: the Jacobian of log-softmax along ``dim`` (counted with K in front)."""

    pattern: Any = state("gate")
    offset: Any = state("constant", default=None)
    dim: int = -1
    additive = ("offset",)
    kind = "gate"

    def apply(self, k: ForwardContext, x):
        y = x - (self.pattern * _where_seen(self.pattern, x)).sum(self.dim, keepdim=True)
        return y if self.offset is None else y + self.offset

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return y - self.pattern * y.sum(self.dim, keepdim=True)

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class InnerProduct(Twin):
    """y1 = sum(weight * x1) over ``dims`` + offset: norms and variances at frozen weights.

    Dimensions are counted from the end, or all of them with K in front.
    """

    weight: Any = state("stats")
    offset: Any = state("constant", default=None)
    dims: tuple = (-1,)
    keepdim: bool = False
    additive = ("offset",)
    kind = "gate"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        y = (self.weight * x).sum(self.dims, keepdim=self.keepdim)
        return y if self.offset is None else y + self.offset

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        if not self.keepdim:
            for d in sorted(self.dims, reverse=self.dims[0] < 0):
                y = y.unsqueeze(d)
        return self.weight * y

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset
