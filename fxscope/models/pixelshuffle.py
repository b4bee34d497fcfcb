"""The 4-layer PixelShuffle net of PyTorch's super_resolution example (Shi et al., 2016)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import init

from ..graph.arguments import checked


class PixelShuffleNet(nn.Module):
    """Four convolutions and a pixel shuffle: luminance (B, 1, H, W) to (B, 1, scale * H, scale * W).

    It has 61,680 parameters at scale 4, and a receptive field of 11 low-resolution pixels.

    Parameters
    ----------
    scale : int
        The scale factor.
    """

    @checked
    def __init__(self, scale: int = 4):
        super().__init__()
        self.relu = nn.ReLU()
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 64, 3, padding=1)
        self.conv3 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv4 = nn.Conv2d(32, scale * scale, 3, padding=1)
        self.pixel_shuffle = nn.PixelShuffle(scale)
        self._orthogonal()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        return self.pixel_shuffle(self.conv4(x))

    @torch.no_grad()
    def _orthogonal(self):
        gain = init.calculate_gain("relu")
        for conv in (self.conv1, self.conv2, self.conv3):
            init.orthogonal_(conv.weight, gain)
        init.orthogonal_(self.conv4.weight)
