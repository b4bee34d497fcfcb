"""Kernels, places and segments that are computed from the input."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case


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
