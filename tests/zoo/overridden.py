"""Modules that are not what their class is, and code that asks what its values are."""

from __future__ import annotations

import types

import torch
import torch.nn.functional as F
from torch import nn

from .case import case


class _Standardised(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        return super()._conv_forward(input, weight - weight.mean((1, 2, 3), keepdim=True), bias)


@case((2, 2, 6, 6))
class AConvolutionWithAnotherWeight(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = _Standardised(2, 3, 3)

    def forward(self, x):
        return torch.relu(self.conv(x))


@case((2, 2, 6, 6))
class AForwardPatchedOnAnInstance(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(2, 3, 3), nn.ReLU()
        self.act.forward = types.MethodType(lambda module, x: F.leaky_relu(x, 0.3), self.act)

    def forward(self, x):
        return self.act(self.conv(x))


class _Doubling(nn.Identity):
    def forward(self, x):
        return 2 * x


@case((2, 2, 6, 6))
class AnIdentityThatIsNone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.twice = nn.Conv2d(2, 3, 3), _Doubling()

    def forward(self, x):
        return self.twice(self.conv(x))


@case((2, 2, 6, 6))
class TensorOrList(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        y = self.conv(x)
        parts = [y, y * 2] if isinstance(y, torch.Tensor) else list(y)
        return torch.cat(parts, 1)


@case((2, 2, 6, 6))
class ExactlyATensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)

    def forward(self, x):
        y = self.conv(x)
        return torch.relu(y) if type(y) is torch.Tensor else y


@case((2, 2, 6, 6), train=True, draws=True)
class DropoutInTrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(2, 3, 3), nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(torch.relu(self.conv(x)))
