"""Decisions that read the whole image, one place of it, or its size.

A crop of the image decides otherwise.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case

SHAPE = (2, 3, 8, 10)


class _Gated(nn.Module):
    """A convolution whose values pass a gate."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)

    def forward(self, x):
        h = self.a(x)
        return self.b(h * self.gate(h))


@case(SHAPE, why="the median of the image decides")
class MedianOfTheImage(_Gated):
    def gate(self, h):
        return h > h.flatten(2).median(-1).values[..., None, None]


@case(SHAPE, why="the order of all pixels decides")
class OrderOfThePixels(_Gated):
    def gate(self, h):
        return torch.argsort(h.flatten(2), -1).reshape(h.shape) > 20


@case(SHAPE, why="where the largest pixel is decides")
class LargestPixel(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.flatten(2).argmax(-1)[..., None, None].to(h.dtype) - 30.0)


@case(SHAPE, why="the largest pixel decides")
class LargestValue(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.amax((2, 3), keepdim=True))


@case(SHAPE, why="the k-th largest pixel decides")
class LargestFew(_Gated):
    def gate(self, h):
        return h > h.flatten(2).topk(9, -1)[0][..., -1].unsqueeze(-1).unsqueeze(-1)


@case(SHAPE, why="a running sum has no bound to its field")
class RunningSum(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.cumsum(2))


@case(SHAPE, why="attention over space")
class SpatialSoftmax(_Gated):
    def gate(self, h):
        return h.flatten(2).softmax(-1).view_as(h)


@case(SHAPE, why="a norm over space")
class SpatialNorm(_Gated):
    def gate(self, h):
        return torch.tanh(F.normalize(h.flatten(2), dim=-1).view_as(h))


@case(SHAPE, why="the channel attention of a whole image")
class ChannelAttention(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.mean((2, 3), keepdim=True))


@case(SHAPE, why="global along one axis alone")
class ColumnSums(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.sum(2, keepdim=True))


@case(SHAPE, why="a mirror image reads the other side")
class Mirrored(_Gated):
    def gate(self, h):
        return torch.sigmoid(h.flip(3))


@case(SHAPE, why="what leaves on one side enters on the other")
class Rolled(_Gated):
    def gate(self, h):
        return torch.sigmoid(torch.roll(h, 1, 2))


@case(SHAPE, why="rows in an order of their own")
class PickedRows(_Gated):
    def gate(self, h):
        return torch.sigmoid(h[:, :, [7, 6, 5, 4, 3, 2, 1, 0]])


@case(SHAPE, why="sorted columns")
class SortedColumns(_Gated):
    def gate(self, h):
        return torch.tanh(h.sort(2)[0])


@case(SHAPE, why="one row decides for all")
class OneRow(_Gated):
    def gate(self, h):
        return torch.sigmoid(h[:, :, 4].unsqueeze(2))


@case(SHAPE, why="local: the median of the channels at a place")
class MedianOfChannels(_Gated):
    def gate(self, h):
        return h > h.median(1, keepdim=True).values


@case(SHAPE, why="local: a decision that reads further than F does")
class FarDecision(_Gated):
    def gate(self, h):
        return F.max_pool2d(h, 5, 1, 2) > 0.5


@case(SHAPE, why="local: the order of the channels at a place")
class OrderOfChannels(_Gated):
    def gate(self, h):
        return torch.tanh(h.gather(1, h.argsort(1)))
