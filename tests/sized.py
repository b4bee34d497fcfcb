"""Networks that read a size of their input as a number, one habit of real code each.

Several tests look at them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class Convolution(nn.Module):
    """Three channels to three, and a bias; what the others do is around it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)


class PadsToEight(Convolution):
    """As the restoration networks do; the crop at the end is by a size, too."""

    def forward(self, x):
        h, w = int(x.shape[2]), int(x.shape[3])
        y = torch.relu(self.body(F.pad(x, (0, -w % 8, 0, -h % 8), mode="reflect")))
        return y[:, :, :h, :w]


class DividesByWidth(Convolution):
    def forward(self, x):
        return torch.relu(self.body(x)) / float(x.shape[-1])


class BranchesOnBatch(Convolution):
    def forward(self, x):
        y = torch.relu(self.body(x))
        return y * 2 if x.shape[0] > 2 else y


class Windows(Convolution):
    """Window partition with a computed number of windows, as in Swin transformers."""

    def forward(self, x):
        b, c, h, w = (int(s) for s in x.shape)
        y = self.body(x).view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, c, 4, 4)
        y = torch.relu(y - y.mean((2, 3), keepdim=True)).view(b, h // 4, w // 4, c, 4, 4)
        return y.permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


class ReadsHeight(Convolution):
    def forward(self, x):
        n = int(x.shape[2])
        return torch.relu(self.body(x)) * torch.linspace(0.5, 1.5, n, dtype=x.dtype)[:, None]


class Positions(Convolution):
    """A table of positions, sliced by the size, or resized where that differs."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 3, 20, 20))

    def forward(self, x):
        table = self.table
        if table.shape[-2:] != x.shape[-2:]:
            table = F.interpolate(table, size=x.shape[-2:], mode="bilinear")
        return self.body(torch.relu(x + table))


class PoolsToFive(Convolution):
    """Adaptive pooling by hand: kernel and stride are computed."""

    def forward(self, x):
        size = int(x.shape[-1])
        stride = size // 5
        return torch.relu(F.avg_pool2d(self.body(x), size - 4 * stride, stride))


class Doubles(Convolution):
    def forward(self, x):
        size = (int(x.shape[2] * 2), int(x.shape[3] * 2))
        return self.body(torch.relu(F.interpolate(x, size=size, mode="nearest")))


class Caught(Convolution):
    """The branch is inside a ``try``, which catches the tracer's own error."""

    def forward(self, x):
        y = torch.relu(self.body(x))
        try:
            return y * 2 if x.shape[-1] > 22 else y * 3
        except Exception:
            return y * 3


class EvenBatch(Convolution):
    """Pairs of images, one behind the other in the batch, if there are any."""

    def forward(self, x):
        y = torch.relu(self.body(x))
        return y * 3 if x.shape[0] % 2 == 0 else y


SIZED = (
    PadsToEight,
    DividesByWidth,
    BranchesOnBatch,
    Windows,
    ReadsHeight,
    Positions,
    PoolsToFive,
    Doubles,
    Caught,
    EvenBatch,
)
