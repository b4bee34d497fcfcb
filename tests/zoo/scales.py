"""Networks whose outputs are very small or very large.

F is what it is at any scale, and so are its values and norms.
"""

from __future__ import annotations

import torch
from torch import nn

from .case import case


class Scaled(nn.Module):
    """Images to images, the last layer by ``gain``."""

    gain = 1.0

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 3, padding=1)
        for parameter in self.last.parameters():
            parameter.data *= self.gain

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@case((2, 1, 5, 6), why="squares of F v fell below what the type holds")
class SmallLastLayer(Scaled):
    gain = 1e-13


@case((2, 1, 5, 6), why="squares of F v fell below what the type holds")
class VerySmallLastLayer(Scaled):
    gain = 1e-120


@case((2, 1, 5, 6), why="squares of F v rose above what the type holds")
class LargeLastLayer(Scaled):
    gain = 1e12


@case((2, 1, 5, 6), why="squares of F v rose above what the type holds")
class ScaledOutput(Scaled):
    """Another unit of the output, as a number in the forward."""

    def forward(self, x):
        return super().forward(x) * 1e-30


@case((2, 4))
class LargeThenSmall(nn.Module):
    """Scales that cancel between two layers."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(4, 5), nn.Linear(5, 3)
        self.up.weight.data *= 1e30
        self.up.bias.data *= 1e30
        self.down.weight.data *= 1e-30

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))
