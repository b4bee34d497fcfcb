"""Sizes that real code reads as numbers.

Every graph is right at another size, or says which one it was made for.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from . import case


class _Body(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)


@case((2, 3, 5, 6), why="padded sizes were numbers, and another size was cropped")
class PadsToAMultiple(_Body):
    def forward(self, x):
        h, w = int(x.shape[2]), int(x.shape[3])
        return torch.relu(self.body(F.pad(x, (0, -w % 4, 0, -h % 4), mode="reflect")))[:, :, :h, :w]


@case((2, 3, 5, 6), why="a branch on the remainder was taken for every size")
class PadsInABranch(_Body):
    def forward(self, x):
        rest = x.size(-1) % 8
        if rest:
            x = F.pad(x, (0, 8 - rest))
        return torch.relu(self.body(x))


@case((2, 3, 5, 6), sizes=((2, 3, 6, 5), (1, 3, 4, 9)), why="arithmetic on sizes keeps them free")
class PadsByArithmetic(_Body):
    def forward(self, x):
        return torch.relu(self.body(F.pad(x, (0, (8 - x.shape[-1] % 8) % 8))))


@case((2, 3, 8, 10), why="the width was a number of the example's")
class DividesByWidth(_Body):
    def forward(self, x):
        return torch.relu(self.body(x)) / float(x.shape[-1])


@case((2, 3, 8, 10), why="the root of the width was a number of the example's")
class ScalesByRoot(_Body):
    def forward(self, x):
        return torch.relu(self.body(x)) * int(x.shape[-1]) ** -0.5


@case((2, 3, 8, 10), sizes=((2, 3, 6, 8),), why="math.sqrt of a size is traced, and free")
class ScalesByTracedRoot(_Body):
    def forward(self, x):
        return torch.relu(self.body(x)) / math.sqrt(x.shape[-1])


@case((2, 3, 6, 6), independent=False, why="a branch on the batch was taken for every batch")
class BranchesOnBatch(_Body):
    def forward(self, x):
        y = torch.relu(self.body(x))
        return y * 2 if x.shape[0] > 2 else y


@case(
    (2, 3, 6, 6),
    independent=False,
    why="one image alone takes another branch, for which torch.export writes no guard by default",
)
class OneImageIsSpecial(_Body):
    def forward(self, x):
        y = torch.relu(self.body(x))
        return y * 2 if x.shape[0] == 1 else y


@case((2, 3, 6, 6), independent=False, why="a number made of the batch fixes it")
class DividesByBatch(_Body):
    def forward(self, x):
        return torch.relu(self.body(x)) / float(len(x))


@case((2, 3, 8, 12), why="the numbers of windows were those of the example")
class PartitionsWindows(_Body):
    def forward(self, x):
        b, c, h, w = (int(s) for s in x.shape)
        y = self.body(x).view(b, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 1, 3, 5)
        y = torch.relu(y - y.mean((4, 5), keepdim=True))
        return y.permute(0, 3, 1, 4, 2, 5).reshape(b, c, h, w)


@case((2, 3, 8, 8), why="a table as large as the example is added to it")
class ResizesPositions(_Body):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(1, 3, 8, 8))

    def forward(self, x):
        table = (
            self.table
            if x.shape[-2:] == self.table.shape[-2:]
            else F.interpolate(self.table, size=x.shape[-2:], mode="bilinear")
        )
        return self.body(torch.relu(x + table))


@case((2, 3, 10, 10), why="kernel and stride of the pooling were computed from the example's size")
class PoolsByAComputedKernel(_Body):
    def forward(self, x):
        size = int(x.shape[-1])
        return torch.relu(F.avg_pool2d(self.body(x), size - 4 * (size // 5), size // 5))


@case((2, 3, 4, 6), why="the doubled size was a number of the example's")
class DoublesByNumbers(_Body):
    def forward(self, x):
        return self.body(torch.relu(F.interpolate(x, size=(int(x.shape[2] * 2), int(x.shape[3] * 2)))))


@case((2, 3, 6, 8), why="a try of the model's caught the tracer's error, and the branch behind it was lost")
class CatchesTheBranch(_Body):
    def forward(self, x):
        y = torch.relu(self.body(x))
        try:
            return y * 2 if x.shape[-1] > 9 else y * 3
        except Exception:
            return y * 3


@case((2, 3, 8), why="the model asserts about its input's size, in every form")
class AssertsItsWidth(nn.Module):
    def forward(self, x):
        torch._assert(x.shape[-1] % 8 == 0, "the width is a multiple of 8")
        return torch.relu(x) * 2 - x


@case((2, 3, 5, 6), sizes=((2, 3, 6, 5),), why="the number of channels was unknown without an example")
class EachChannelByItself(_Body):
    def forward(self, x):
        return torch.stack([channel.tanh() for channel in self.body(x).unbind(1)], 1)


@case((2, 3, 5, 6), sizes=((2, 3, 6, 5),), why="a rank that a convolution fixes was unknown in Python")
class AsksForTheRank(_Body):
    def forward(self, x):
        h = self.body(x).relu()
        if h.dim() == 4:
            h = h.flatten(2)
        return h.std(-1) * len(x.shape)


@case((2, 3, 5, 6), sizes=((2, 3, 6, 5),), why="only an operator that is not used tells the rank")
class ComputesMoreThanItUses(_Body):
    def forward(self, x):
        self.body(x)
        return (x - x.amin(1, keepdim=True)) / (x.std((2, 3), keepdim=True) + 1)


@case((2, 4, 5), why="the rank is open, and F does not depend on it")
class WorksForEveryRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x):
        h = self.layer(x)
        return h.sort(1)[0] * x.mean(1, keepdim=True) + F.normalize(h, dim=1)


@case(
    (2, 3, 5, 6), sizes=((2, 3, 6, 5),), why="a dimension computed from the rank ended in an error of torch's"
)
class CountsFromTheRank(_Body):
    def forward(self, x):
        h = self.body(x).relu()
        h = torch.cat([h, h.transpose(h.dim() - 2, h.ndim - 1).mT], dim=h.dim() - 3)
        return h.mean([d for d in range(h.dim()) if d > 1]) + torch.sum(h, dim=h.ndim - 1).std(
            len(h.shape) - 2
        )
