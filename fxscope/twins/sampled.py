"""The twins of sampling between pixels at frozen places: deformable convolution, pooling of regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state


@dataclass(frozen=True)
class Corners(Twin):
    """y1 = sums of four pixels of x1 under frozen weights, for every group of channels.

    ``index`` and ``weight`` are (B, groups, 4, places), x is (B, C, H, W), and y (B, groups, C/groups,
    places). The transpose adds every place to its pixels again.
    """

    index: Any = state("index")
    weight: Any = state("gate")
    groups: Any = 1
    kind = "sample"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        x = x.unflatten(2, [self.groups, -1]).flatten(4)
        taken = torch.gather(x, 4, self._spread(k, x.size(3)))
        return (taken.unflatten(4, [4, -1]) * self.weight.unsqueeze(2)).sum(4)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        back = (y.unsqueeze(4) * self.weight.unsqueeze(2)).flatten(4)
        zeros = k.zeros(y, x).unflatten(2, [self.groups, -1]).flatten(4)
        return k.reshape(zeros.scatter_add(4, self._spread(k, y.size(3)), back), x)

    def _spread(self, k: ForwardContext, channels):
        """The indices for every probe and every channel of a group: (K, B, groups, channels, 4 places)."""
        return self.index.flatten(2).unsqueeze(2).expand([k.K, -1, -1, channels, -1])


@dataclass(frozen=True)
class Paired(Twin):
    """y1 = sum of slope x1 over a dimension ``over`` of the slope, where x1 lacks another one, ``at``.

    With it the places that were sampled stay linear, under "taylor". Both are counted with K in front.
    """

    slope: Any = state("gate")
    at: int = 2
    over: int = -1
    kind = "gate"
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        return (x.unsqueeze(self.at) * self.slope).sum(self.over)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return (y.unsqueeze(self.over) * self.slope).sum(self.at)


@dataclass(frozen=True)
class Boxes(Twin):
    """y1 = rows @ x1 @ columns^T of the image that each box is in.

    ``rows`` is (boxes, heights of y, H) and ``columns`` (boxes, widths of y, W). With ``apart`` each place of
    y has channels of its own: x has (C, heights, widths) of them.
    """

    rows: Any = state("gate")
    columns: Any = state("gate")
    image: Any = state("index")
    apart: bool = False
    kind = "sample"

    def apply(self, k: ForwardContext, x):
        x = torch.ops.aten.index_select(x, 1, self.image)
        if not self.apart:
            y = torch.matmul(self.rows.unsqueeze(1), x)
            return torch.matmul(y, self.columns.unsqueeze(1).transpose(-1, -2))
        x = x.unflatten(2, [-1, self.rows.size(1), self.columns.size(1)])
        y = torch.matmul(self.rows[:, None, :, None, None], x)
        return torch.matmul(y, self.columns[:, None, None, :, :, None]).flatten(-3)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        if self.apart:
            y = y.unsqueeze(-1).unsqueeze(-1)
            back = self.rows[:, None, :, None, :, None] * y
            back = torch.matmul(back, self.columns[:, None, None, :, None]).flatten(2, 4)
        else:
            back = torch.matmul(self.rows.unsqueeze(1).transpose(-1, -2), y)
            back = torch.matmul(back, self.columns.unsqueeze(1))
        return k.zeros(y, x).index_add(1, self.image, back)


@dataclass(frozen=True)
class Picked(Twin):
    """y1 = the pixel of x1 that won in each bin of a box, 0 where a bin is empty (index -1)."""

    index: Any = state("index")
    image: Any = state("index")
    kind = "select"

    def apply(self, k: ForwardContext, x):
        x = torch.ops.aten.index_select(x, 1, self.image).flatten(3)
        index = self.index.flatten(2)
        taken = torch.gather(x, 3, k.spread(index.clamp(min=0), 3))
        return torch.where(index >= 0, taken, 0.0).unflatten(3, [self.index.size(2), self.index.size(3)])

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        index, sizes = self.index.flatten(2), x.sizes()
        y = torch.where(index >= 0, y.flatten(3), 0.0)
        zeros = y.new_zeros([k.K, self.image.size(0), sizes[1], sizes[2] * sizes[3]])
        back = zeros.scatter_add(3, k.spread(index.clamp(min=0), 3), y)
        return k.zeros(y, x).index_add(1, self.image, back.unflatten(3, [sizes[2], sizes[3]]))
