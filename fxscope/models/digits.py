"""Small classifiers of digits, (B, 1, 32, 32) normalised images to (B, 10) scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.arguments import checked

STAGES = ((16, 16), (32, 32), (64, 64))


class DigitsVGG(nn.Module):
    """A small VGG: three stages of two 3x3 convolutions and a max-pool each, then two linear layers.

    Parameters
    ----------
    batch_norm : bool
        Whether every convolution has a batch norm.
    """

    @checked
    def __init__(self, batch_norm: bool = False):
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for stage in STAGES:
            for c in stage:
                layers += [
                    nn.Conv2d(channels, c, 3, padding=1),
                    *([nn.BatchNorm2d(c)] if batch_norm else []),
                    nn.ReLU(inplace=True),
                ]
                channels = c
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 16, 64), nn.ReLU(inplace=True), nn.Linear(64, 10)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return self.classifier(self.features(x).flatten(1))


class Block(nn.Module):
    """relu(bn(conv(relu(bn(conv(x))))) + shortcut(x))."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.downsample = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


class DigitsResNet(nn.Module):
    """A small ResNet: a convolution, three stages of two blocks, global average pooling, a linear layer."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        widths = (16, 32, 64)
        self.layers = nn.Sequential(
            *[
                nn.Sequential(Block(widths[max(i - 1, 0)], w, 1 if i == 0 else 2), Block(w, w, 1))
                for i, w in enumerate(widths)
            ]
        )
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.fc(x.mean((2, 3)))
