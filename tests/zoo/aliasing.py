"""Writes through views: what is written under one name is read under another."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case


class Convolved(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 1)


@case((2, 2, 6, 6))
class ThroughATransposedView(Convolved):
    def forward(self, x):
        h = self.conv(x)
        h.mT.mul_(1.5)
        return self.last(h)


@case((2, 2, 6, 6))
class ThroughADiagonal(Convolved):
    def forward(self, x):
        h = self.conv(x)
        h.diagonal(0, 2, 3).relu_()
        return self.last(h)


@case((2, 2, 6, 6))
class ThroughAFlattening(Convolved):
    def forward(self, x):
        h = self.conv(x)
        flat = h.flatten(1)
        flat += 0.5
        return self.last(h)


@case((2, 2, 6, 6))
class ThroughParts(Convolved):
    def forward(self, x):
        h = self.conv(x)
        a, b = h[:, :2], h[:, 2:]  # autograd refuses a write into one of several results of ``chunk``
        a *= torch.sigmoid(b.mean((2, 3), keepdim=True))
        return self.last(h)


@case((2, 2, 6, 6))
class ACopyThatLooksLikeAView(Convolved):
    def forward(self, x):
        h = self.conv(x)
        turned = h.permute(0, 2, 3, 1).contiguous()
        turned.mul_(2.0)
        return self.last(h) + turned.permute(0, 3, 1, 2)[:, :2]


@case((2, 2, 6, 6))
class ACastToItsOwnType(Convolved):
    def forward(self, x):
        h = self.conv(x)
        same = h.to(x.dtype)
        same.clamp_(-0.5, 0.5)
        return self.last(h)


@case((2, 2, 6, 6))
class AMaskIsFilled(Convolved):
    def forward(self, x):
        h = self.conv(x)
        h[h.abs() > 0.5] = 0.5
        return self.last(h)


@case((2, 2, 6, 6))
class DropoutThatDoesNothingIsWritten(Convolved):
    def forward(self, x):
        h = self.conv(x)
        F.dropout(h, 0.5, self.training).mul_(2.0)
        return self.last(h)
