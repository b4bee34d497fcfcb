"""Kernels, places, regions and segments that are computed from the input, or given."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torchvision import ops

from .case import case

IMAGE = (2, 4, 6, 5)


@case((2, 3, 6, 5))
class OneKernelAnImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.make = nn.Linear(3, 4 * 3 * 9)

    def forward(self, x):
        kernel = self.make(x.mean((2, 3))).view(-1, 3, 3, 3)
        y = F.conv2d(x.flatten(0, 1).unsqueeze(0), kernel, padding=1, groups=x.shape[0])
        return y.unflatten(1, (x.shape[0], -1)).squeeze(0)


@case((2, 7, 3))
class LargestOfSegments(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("index", torch.tensor([0, 2, 2, 0, 2, 1, 1]))

    def forward(self, x):
        index = self.index[:, None].expand_as(x)
        return x.new_zeros([x.shape[0], 4, 3]).scatter_reduce(1, index, x, "amax", include_self=False)


@case((2, 3, 6, 5))
class MixtureOfKernels(nn.Module):
    def __init__(self):
        super().__init__()
        self.kernels, self.mix = nn.Parameter(torch.randn(2, 4, 3, 3, 3) / 5), nn.Linear(3, 2)

    def forward(self, x):
        share = torch.softmax(self.mix(x.mean((2, 3))), 1)
        kernel = torch.einsum("bk,koihw->boihw", share, self.kernels).flatten(2)
        return (kernel @ F.unfold(x, 3, padding=1)).unflatten(2, x.shape[2:])


@case((2, 3, 6, 5))
class OneKernelAPixel(nn.Module):
    def __init__(self):
        super().__init__()
        self.make = nn.Conv2d(3, 9, 1)

    def forward(self, x):
        kernel = self.make(x).softmax(1).unsqueeze(1)
        return (F.unfold(x, 3, padding=1).unflatten(1, (3, 9)).unflatten(3, x.shape[2:]) * kernel).sum(2)


class Offsets(nn.Module):
    def __init__(self):
        super().__init__()
        self.offset, self.mask = nn.Conv2d(4, 18, 3, padding=1), nn.Conv2d(4, 9, 3, padding=1)
        self.layer = ops.DeformConv2d(4, 3, 3, padding=1)


@case(IMAGE)
class DeformableModule(Offsets):
    def forward(self, x):
        return self.layer(torch.relu(x), self.offset(x), self.mask(x).sigmoid())


@case(IMAGE)
class DeformableFunction(Offsets):
    def forward(self, x):
        offset = self.offset(x)[:, :, ::2, ::2].tanh()
        return ops.deform_conv2d(x, offset, self.layer.weight, stride=2, padding=(1, 1))


@case(IMAGE)
class DeformableBySampling(Offsets):
    def forward(self, x):
        b, _, h, w = x.shape
        y = torch.arange(h, dtype=x.dtype)[:, None] + self.offset(x)[:, 0]
        z = torch.arange(w, dtype=x.dtype) + self.offset(x)[:, 1]
        grid = torch.stack((2 * z / (w - 1) - 1, 2 * y / (h - 1) - 1), -1)
        read = F.grid_sample(x, grid, align_corners=True).view(b, 4, h * w)
        return self.layer.weight[:, :, 0, 0] @ read


def _corners(x):
    """The same two boxes of every image, (2B, 5)."""
    boxes = torch.tensor([[0.5, 1.0, 4.2, 5.0], [1.0, 0.0, 3.0, 2.5]], dtype=x.dtype)
    number = torch.arange(x.shape[0], dtype=x.dtype).repeat_interleave(2)
    return torch.cat((number[:, None], boxes.repeat(x.shape[0], 1)), 1)


@case(IMAGE, free=False, independent=False)
class RegionsOfEachImage(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool, self.head = ops.RoIAlign((2, 3), 0.9, 2, aligned=True), nn.Linear(24, 3)
        self.register_buffer("box", torch.tensor([[0.5, 1.0, 4.2, 5.0]]))

    def forward(self, x):
        return self.head(F.relu(self.pool(x, [self.box] * len(x))).flatten(1))


@case(IMAGE, free=False, independent=False)
class RegionsByNumber(nn.Module):
    def forward(self, x):
        return ops.roi_align(x, _corners(x), 2, sampling_ratio=1) + ops.roi_pool(x, _corners(x), 2)


@case((2, 8, 6, 5), free=False, independent=False)
class RegionsOfPositions(nn.Module):
    def forward(self, x):
        h = ops.ps_roi_align(x, _corners(x), (2, 2), 1.0, 2)
        return h * torch.sigmoid(ops.ps_roi_pool(x, _corners(x), 2))
