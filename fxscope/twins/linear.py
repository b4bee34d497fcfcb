"""The twins of operators that are linear already: convolutions, matrix products, resampling, padding, batch norm.

Only these need the probes merged into the batch dimension; everything else shifts its dimensions by one
(``arrange.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

import torch

from .base import Probes, Twin, state


@dataclass(frozen=True)
class Conv(Twin):
    """y1 = W * x1 + b, convolution or transposed convolution in 1, 2 or 3 dimensions; W and b are shared parameters."""

    function: Callable
    weight: Any = state("gate")
    bias: Any = state("constant", default=None)
    options: dict = field(default_factory=dict)
    batched: bool = True
    additive = ("bias",)

    def apply(self, k: Probes, x):
        if not self.batched:
            return self.function(x, self.weight, self.bias, **self.options)
        return k.split(self.function(k.merge(x), self.weight, self.bias, **self.options))


@dataclass(frozen=True)
class Dense(Twin):
    """y1 = x1 W^T + b along the last dimension."""

    weight: Any = state("gate")
    bias: Any = state("constant", default=None)
    additive = ("bias",)

    def apply(self, k: Probes, x):
        return torch.nn.functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class MatmulLeft(Twin):
    """y1 = A0 @ x1, A0 frozen or constant (an attention pattern)."""

    left: Any = state("gate")
    lift: int = 0
    kind = "matmul"

    def apply(self, k: Probes, x):
        return torch.matmul(self.left, k.lift(x, self.lift))


@dataclass(frozen=True)
class MatmulRight(Twin):
    """y1 = x1 @ B0, B0 frozen or constant."""

    right: Any = state("gate")
    lift: int = 0
    kind = "matmul"

    def apply(self, k: Probes, x):
        return torch.matmul(k.lift(x, self.lift), self.right)


@dataclass(frozen=True)
class Einsum(Twin):
    """y1 = einsum with x1 in place ``at`` and frozen or constant tensors in the others; the probes have a letter of their own."""

    equation: str
    operands: tuple = state("gate")
    at: int = 0

    def apply(self, k: Probes, x):
        inputs, arrow, output = self.equation.replace(" ", "").partition("->")
        letter = next(c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in self.equation)
        terms = [letter + t if i == self.at else t for i, t in enumerate(inputs.split(","))]
        once = sorted(c for c in set(inputs) - set(",.") if inputs.count(c) == 1)
        output = output if arrow else "..." * ("." in inputs) + "".join(once)
        operands = [x if i == self.at else v for i, v in enumerate(self.operands)]
        return torch.einsum(",".join(terms) + "->" + letter + output, operands)


@dataclass(frozen=True)
class BatchNorm(Twin):
    """y1 = g (x1 - mu)/sqrt(v + eps) + b with the running statistics: constants, one value a channel."""

    mean: Any = state("constant")
    var: Any = state("constant")
    weight: Any = state("constant", default=None)
    bias: Any = state("constant", default=None)
    eps: float = 1e-5

    def apply(self, k: Probes, x):
        mean, bias = (torch.zeros_like(self.mean), None) if k.linear else (self.mean, self.bias)
        y = torch.nn.functional.batch_norm(k.merge(x), mean, self.var, self.weight, bias, False, 0.0, self.eps)
        return k.split(y)

    def homogeneous(self) -> "BatchNorm":
        return self


@dataclass(frozen=True)
class Resample(Twin):
    """Average and adaptive pooling, every interpolation: separable linear maps of the spatial dimensions."""

    function: Callable
    options: dict = field(default_factory=dict)
    batched: bool = True

    def apply(self, k: Probes, x):
        if not self.batched:
            return self.function(x, **self.options)
        return k.split(self.function(k.merge(x), **self.options))


@dataclass(frozen=True)
class Rearrange(Resample):
    """Pixel shuffle and unshuffle, channel shuffle, unfold and fold: every entry of y1 is one of x1's, or a sum of them."""


@dataclass(frozen=True)
class Pad(Twin):
    """Padding of the last dimensions; a constant value other than 0 is an additive constant."""

    pad: Any
    mode: str = "constant"
    value: Any = None
    batched: bool = True
    additive = ("value",)

    def apply(self, k: Probes, x):
        if self.mode == "constant":
            return torch.nn.functional.pad(x, self.pad, "constant", self.value)
        if not self.batched:
            return torch.nn.functional.pad(x, self.pad, self.mode)
        return k.split(torch.nn.functional.pad(k.merge(x), self.pad, self.mode))


@dataclass(frozen=True)
class Sample(Twin):
    """grid_sample at a frozen grid: linear in the features."""

    grid: Any = state("index")
    options: dict = field(default_factory=dict)

    def apply(self, k: Probes, x):
        grid = torch.repeat_interleave(self.grid.unsqueeze(0), k.K, 0)
        return k.split(torch.nn.functional.grid_sample(k.merge(x), k.merge(grid), **self.options))
