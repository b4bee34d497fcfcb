"""A network that several tests look at: small enough for its dense matrix."""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Module):
    """A strided convolution, batch norm, ReLU, an overlapping max-pool, and an image out."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4)
        self.out = nn.ConvTranspose2d(4, 3, 4, stride=2, padding=1)

    def forward(self, x):
        return self.out(torch.nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 3, 1, 1))
