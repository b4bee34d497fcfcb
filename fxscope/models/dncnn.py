"""DnCNN (Zhang et al., 2017) and its bias-free form (Mohan et al., 2020)."""

from __future__ import annotations

import torch
from torch import nn

from ..graph.arguments import checked


class DnCNN(nn.Module):
    """A denoiser, (B, C, H, W) to the same shape: the input minus the noise that the layers predict.

    Parameters
    ----------
    depth : int
        Number of convolutions.
    features : int
        Channels of the hidden layers.
    channels : int
        Channels C of the image.
    bias : bool
        False leaves out all biases and all batch norms; r is then exactly 0.
    norm : bool
        Whether hidden convolutions have a batch norm.
    """

    @checked
    def __init__(
        self, depth: int = 17, features: int = 64, channels: int = 1, bias: bool = True, norm: bool = True
    ):
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(channels, features, 3, padding=1, bias=bias),
            nn.ReLU(inplace=True),
        ]
        for _ in range(depth - 2):
            layers.append(nn.Conv2d(features, features, 3, padding=1, bias=bias and not norm))
            if norm and bias:
                layers.append(nn.BatchNorm2d(features))
            layers.append(nn.ReLU(inplace=True))
        layers.append(nn.Conv2d(features, channels, 3, padding=1, bias=bias))
        self.dncnn = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return x - self.dncnn(x)


@checked
def dncnn(depth: int = 17, channels: int = 1) -> DnCNN:
    """DnCNN with batch norm, untrained."""
    return DnCNN(depth, channels=channels)


@checked
def bias_free_dncnn(depth: int = 17, channels: int = 1) -> DnCNN:
    """DnCNN without biases and batch norm, untrained; f(a x) = a f(x) for a >= 0."""
    return DnCNN(depth, channels=channels, bias=False)
