"""EDSR (Lim et al., 2017), with the keys of sanghyun-son/EDSR-PyTorch."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..graph.arguments import checked

RGB_MEAN = (0.4488, 0.4371, 0.4040)


class MeanShift(nn.Conv2d):
    """x + sign * 255 * mean for x in 0..255, as a fixed 1x1 convolution, which the checkpoints hold."""

    def __init__(self, sign: int):
        super().__init__(3, 3, 1)
        self.weight.data = torch.eye(3).view(3, 3, 1, 1)
        self.bias = nn.Parameter(sign * 255 * torch.tensor(RGB_MEAN))
        self.requires_grad_(False)


class ResBlock(nn.Module):
    """x + res_scale * conv(relu(conv(x))). All blocks share one in-place ReLU module."""

    def __init__(self, features: int, act: nn.Module, res_scale: float):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1), act, nn.Conv2d(features, features, 3, padding=1)
        )
        self.res_scale = res_scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        res = self.body(x).mul(self.res_scale)
        res += x
        return res


class EDSR(nn.Module):
    """A super-resolution network, (B, 3, H, W) in 0..255 to (B, 3, scale * H, scale * W).

    Parameters
    ----------
    blocks : int
        Number of residual blocks.
    features : int
        Channels of the hidden layers.
    res_scale : float
        Factor of the residual branch of a block.
    scale : int
        The scale factor: 3 or a power of 2.
    """

    @checked
    def __init__(self, blocks: int = 16, features: int = 64, res_scale: float = 1.0, scale: int = 4):
        super().__init__()
        act = nn.ReLU(inplace=True)
        self.sub_mean, self.add_mean = MeanShift(-1), MeanShift(1)
        self.head = nn.Sequential(nn.Conv2d(3, features, 3, padding=1))
        body = [ResBlock(features, act, res_scale) for _ in range(blocks)]
        self.body = nn.Sequential(*body, nn.Conv2d(features, features, 3, padding=1))
        self.tail = nn.Sequential(_upsampler(scale, features), nn.Conv2d(features, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        x = self.head(self.sub_mean(x))
        res = self.body(x)
        res += x
        return self.add_mean(self.tail(res))


def _upsampler(scale: int, features: int) -> nn.Sequential:
    factors = [2] * int(math.log2(scale)) if scale & (scale - 1) == 0 else [scale]
    return nn.Sequential(
        *[
            m
            for f in factors
            for m in (nn.Conv2d(features, features * f * f, 3, padding=1), nn.PixelShuffle(f))
        ]
    )


@checked
def edsr_baseline(scale: int = 4) -> EDSR:
    """EDSR with 16 blocks of 64 channels, untrained.

    It has 1,517,571 parameters at scale 4, and a receptive field of 73 low-resolution pixels.
    """
    return EDSR(16, 64, 1.0, scale)


@checked
def edsr(scale: int = 4) -> EDSR:
    """EDSR with 32 blocks of 256 channels, untrained.

    It has 43,089,923 parameters at scale 4, and a receptive field of 137 low-resolution pixels.
    """
    return EDSR(32, 256, 0.1, scale)
