"""The twins of linear operators: convolutions, matrix products, resampling, padding, batch norm.

Only these need the probes merged into the batch dimension; everything else shifts its dimensions by one
(``arrange.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state
from .contraction import free_letter, terms
from .contraction import transpose as transposed_einsum
from .convolution import of_convolution
from .convolution import transpose as transposed_convolution
from .padding import fold_back, of_padding
from .places import Shape, Support, holds_node, kept, of_product, of_shuffle, shape_of
from .separable import of_separable
from .separable import transpose as transposed_resampling


@dataclass(frozen=True)
class Conv(Twin):
    """y1 = W * x1 + b, a convolution or transposed convolution in 1, 2 or 3 dimensions.

    W and b are shared with the model.
    """

    function: Callable
    weight: Any = state("gate")
    bias: Any = state("constant", default=None)
    options: dict = field(default_factory=dict)
    batched: bool = True
    additive = ("bias",)
    adds = "bias"
    per_channel = True
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        if not self.batched:
            return self.function(x, self.weight, self.bias, **self.options)
        return k.split(self.function(k.merge(x), self.weight, self.bias, **self.options))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        merged = k.merge(y) if self.batched else y
        x2 = transposed_convolution(k, self.function, merged, x, self.weight, self.options)
        return k.split(x2) if self.batched else x2

    def constant(self, k: AdjointContext, x: ShapeRef):
        return (
            None if self.bias is None else self.bias.reshape([-1] + [1] * (x.ndim - 2 + (not self.batched)))
        )

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        weight = shape_of(self.weight)
        if not self.batched:
            return {}
        if weight is None:  # one that is folded with a batch norm
            return kept(inputs[0], 0)
        return of_convolution(self.function, weight[2:], self.options, inputs[0], shape)


@dataclass(frozen=True)
class Dense(Twin):
    """y1 = x1 W^T + b along the last dimension."""

    weight: Any = state("gate")
    bias: Any = state("constant", default=None)
    additive = ("bias",)
    adds = "bias"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        return torch.nn.functional.linear(x, self.weight, self.bias)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return torch.matmul(y, self.weight)

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.bias

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return kept(inputs[0], *range(len(inputs[0]) - 1))


@dataclass(frozen=True)
class MatmulLeft(Twin):
    """y1 = A0 @ x1, A0 frozen or constant (an attention pattern)."""

    left: Any = state("gate")
    lift: int = 0
    kind = "matmul"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        return torch.matmul(self.left, k.lift(x, self.lift))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.fold(torch.matmul(self.left.transpose(-2, -1), y), x, self.lift)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_product(inputs[0], shape, -2)


@dataclass(frozen=True)
class MatmulRight(Twin):
    """y1 = x1 @ B0, B0 frozen or constant."""

    right: Any = state("gate")
    lift: int = 0
    kind = "matmul"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        return torch.matmul(k.lift(x, self.lift), self.right)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.fold(torch.matmul(y, self.right.transpose(-2, -1)), x, self.lift)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_product(inputs[0], shape, -1)


@dataclass(frozen=True)
class Einsum(Twin):
    """y1 = einsum with x1 in place ``at`` and frozen or constant tensors in the others.

    The probes have a letter of their own.
    """

    equation: str
    operands: tuple = state("gate")
    at: int = 0

    def apply(self, k: ForwardContext, x):
        inputs, output = terms(self.equation)
        letter = free_letter(self.equation)
        given = [letter + t if i == self.at else t for i, t in enumerate(inputs)]
        operands = [x if i == self.at else v for i, v in enumerate(self.operands)]
        return torch.einsum(",".join(given) + "->" + letter + output, operands)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        """Put y in the place of x.

        An index that x alone has is spread again; an index that x repeats is put on its diagonal.
        """
        return transposed_einsum(k, y, x, self.equation, self.operands, self.at)

    def batch_axis(self, at: int, before: int | None, rank: int | None) -> int | None:
        inputs, output = terms(self.equation)
        if "." in self.equation or inputs[self.at][at] not in output:
            return None
        return output.index(inputs[self.at][at])


@dataclass(frozen=True)
class BatchNorm(Twin):
    """y1 = g (x1 - mu)/sqrt(v + eps) + b with the running statistics: constants, one value a channel."""

    mean: Any = state("constant")
    var: Any = state("constant")
    weight: Any = state("constant", default=None)
    bias: Any = state("constant", default=None)
    eps: float = 1e-5
    adds = "shift"
    per_channel = True
    elementwise = True

    def apply(self, k: ForwardContext, x):
        mean, bias = (torch.zeros_like(self.mean), None) if k.linear else (self.mean, self.bias)
        y = torch.nn.functional.batch_norm(
            k.merge(x), mean, self.var, self.weight, bias, False, 0.0, self.eps
        )
        return k.split(y)

    def homogeneous(self) -> BatchNorm:
        return self

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        zeros = torch.zeros_like(self.mean)
        return k.split(F.batch_norm(k.merge(y), zeros, self.var, self.weight, None, False, 0.0, self.eps))

    def constant(self, k: AdjointContext, x: ShapeRef):
        scale = (
            torch.rsqrt(self.var + self.eps)
            if self.weight is None
            else self.weight * torch.rsqrt(self.var + self.eps)
        )
        shift = -self.mean * scale if self.bias is None else self.bias - self.mean * scale
        return shift.reshape([-1] + [1] * (x.ndim - 2))

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class Resample(Twin):
    """Average and adaptive pooling, every interpolation: separable linear maps of the spatial dimensions."""

    function: Callable
    options: dict = field(default_factory=dict)
    batched: bool = True
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        if not self.batched:
            return self.function(x, **self.options)
        return k.split(self.function(k.merge(x), **self.options))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return transposed_resampling(k, self.function, self.options, y, x)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_separable(self.function, self.options, inputs[0], shape)


@dataclass(frozen=True)
class Rearrange(Resample):
    """Pixel shuffle and unshuffle, channel shuffle, unfold and fold.

    Every entry of y1 is an entry of x1, or a sum of entries.
    """

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.split(_REARRANGED[self.function](k.merge(y), x, **self.options))

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return of_shuffle(self.function, self.options, inputs[0], shape)


@dataclass(frozen=True)
class Pad(Twin):
    """Padding of the last dimensions; a constant value other than 0 is an additive constant."""

    pad: Any
    mode: str = "constant"
    value: Any = None
    batched: bool = True
    additive = ("value",)
    adds = "padding"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        if self.mode == "constant":
            return torch.nn.functional.pad(x, self.pad, "constant", self.value)
        if not self.batched:
            return torch.nn.functional.pad(x, self.pad, self.mode)
        return k.split(torch.nn.functional.pad(k.merge(x), self.pad, self.mode))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        if self.mode == "constant":
            return F.pad(y, [-p for p in self.pad])
        return fold_back(y, x, self.pad, self.mode)

    def constant(self, k: AdjointContext, x: ShapeRef):
        if self.mode != "constant" or self.value is None or self.value == 0:
            return None
        return F.pad(k.blank(x), self.pad, "constant", self.value)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        return {} if holds_node(self.pad) else of_padding(self.pad, self.mode, inputs[0])


@dataclass(frozen=True)
class GridSample(Twin):
    """grid_sample at a frozen grid: linear in the features."""

    kind = "sample"
    grid: Any = state("gate")
    options: dict = field(default_factory=dict)
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        grid = torch.repeat_interleave(self.grid.unsqueeze(0), k.K, 0)
        return k.split(torch.nn.functional.grid_sample(k.merge(x), k.merge(grid), **self.options))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        """Multiply by the matrix of the sampling, images x places of x x places of y.

        It serves every mode, at the cost of its size.
        """
        sizes = x.sizes()
        places = sizes[2]
        for size in sizes[3:]:
            places = places * size
        ones = (
            torch.eye(places, dtype=y.dtype, device=y.device)
            .reshape([1, places, *sizes[2:]])
            .expand([sizes[0]] + [-1] * (len(sizes) - 1))
        )
        matrix = F.grid_sample(ones, self.grid, **self.options).flatten(2)
        return k.reshape(torch.matmul(y.flatten(3), matrix.transpose(1, 2)), x)


_REARRANGED: dict[Callable, Callable] = {
    F.pixel_shuffle: lambda y, x, upscale_factor: F.pixel_unshuffle(y, upscale_factor),
    F.pixel_unshuffle: lambda y, x, downscale_factor: F.pixel_shuffle(y, downscale_factor),
    F.channel_shuffle: lambda y, x, groups: y.unflatten(1, [-1, groups]).transpose(1, 2).flatten(1, 2),
    F.unfold: lambda y, x, **options: F.fold(y, (x.size(2), x.size(3)), **options),
    F.fold: lambda y, x, output_size, **options: F.unfold(y, **options),
}
