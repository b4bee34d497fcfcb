"""CycleGAN's ResNet generator (Zhu et al., 2017), with the keys of junyanz/pytorch-CycleGAN-and-pix2pix."""

from __future__ import annotations

import torch
from torch import nn

from ..graph.arguments import checked


class ResnetBlock(nn.Module):
    """x + norm(conv(pad(relu(norm(conv(pad(x)))))))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(True),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return x + self.conv_block(x)


class ResnetGenerator(nn.Module):
    """CycleGAN's generator, (B, 3, H, W) in [-1, 1] to the same shape and range.

    Instance norm follows every convolution but the last, and Tanh follows that one.

    Parameters
    ----------
    blocks : int
        Number of residual blocks.
    features : int
        Channels after the first convolution; the blocks have four times as many.
    channels : int
        Channels of the input and of the output.
    """

    @checked
    def __init__(self, blocks: int = 9, features: int = 64, channels: int = 3):
        super().__init__()
        f = features
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(channels, f, 7), nn.InstanceNorm2d(f), nn.ReLU(True)]
        for c in (f, 2 * f):
            layers += [nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.InstanceNorm2d(2 * c), nn.ReLU(True)]
        layers += [ResnetBlock(4 * f) for _ in range(blocks)]
        for c in (4 * f, 2 * f):
            layers += [
                nn.ConvTranspose2d(c, c // 2, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(c // 2),
                nn.ReLU(True),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(f, channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return self.model(x)


@checked
def cyclegan(blocks: int = 9) -> ResnetGenerator:
    """CycleGAN's generator with 9 blocks (11,378,179 parameters) or with 6, untrained."""
    return ResnetGenerator(blocks)
