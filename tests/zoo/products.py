"""Products: which operand is frozen is decided by the graph, not by the sizes of an example.

And ranks that a graph tells or not.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case

IMAGE, OTHER = (2, 4, 6, 5), ((2, 4, 5, 7),)


class Layers(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.d, self.one, self.up = (
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, padding=1),
            nn.Conv2d(4, 1, 1),
            nn.Conv2d(1, 4, 1),
        )
        self.l, self.score = nn.Linear(4, 4), nn.Linear(4, 1)
        self.scale = nn.Parameter(torch.rand(4, 1, 1) + 0.5)
        self.register_buffer("order", torch.tensor([2, 0, 1]))


@case(IMAGE, sizes=OTHER, why="the batch of one image counted as reduced")
class ItselfPlusOne(nn.Module):
    def forward(self, x):
        return x * (x + 1)


@case((2, 4, 5))
class Gram(nn.Module):
    def forward(self, x):
        return x @ x.transpose(1, 2)


@case((2, 4, 5))
class EinsumOfItself(nn.Module):
    def forward(self, x):
        return torch.einsum("bij,bkj->bik", x, x + 1)


@case((2, 4, 5))
class BatchedProduct(nn.Module):
    def forward(self, x):
        return torch.bmm(x.transpose(-1, -2), x * 2 - 1)


@case((2, 6))
class OuterProduct(nn.Module):
    def forward(self, x):
        return (x[:, :, None] * (x + 0.5)[:, None, :]).flatten(1)


@case(IMAGE, sizes=OTHER)
class GateByNone(Layers):
    def forward(self, x):
        return self.c(x) * self.l(x.mean((2, 3)))[:, :, None, None]


@case(IMAGE, sizes=OTHER)
class GateByView(Layers):
    def forward(self, x):
        return self.c(x) * self.l(F.adaptive_avg_pool2d(x, 1).flatten(1)).view(x.shape[0], -1, 1, 1)


@case(IMAGE, sizes=OTHER)
class GateByUnsqueezes(Layers):
    def forward(self, x):
        return self.l(x.flatten(2).amax(2)).unsqueeze(2).unsqueeze(3) * self.d(x)


@case(IMAGE, sizes=OTHER)
class GateExpanded(Layers):
    def forward(self, x):
        return self.d(x) * self.l(x.mean((-1, -2)))[..., None, None].expand_as(x)


@case(IMAGE, sizes=OTHER)
class OneChannel(Layers):
    def forward(self, x):
        return self.c(x) * self.one(x)


@case(IMAGE, sizes=OTHER)
class OneChannelFilled(Layers):
    def forward(self, x):
        return self.c(x) * self.up(x.mean(1, keepdim=True))


@case(IMAGE, sizes=OTHER)
class OneScoreAPlace(Layers):
    def forward(self, x):
        h = self.d(x).flatten(2).transpose(1, 2)
        return (h * self.score(h)).sum(1)


@case(IMAGE, sizes=OTHER)
class SliceOfLengthOne(Layers):
    def forward(self, x):
        return self.c(x) * self.d(x)[:, 1:2]


@case(IMAGE, sizes=OTHER)
class ChunkOfLengthOne(Layers):
    def forward(self, x):
        return self.c(x) * self.d(x).chunk(4, 1)[-1]


@case((2, 4, 1, 5), sizes=((2, 4, 3, 5),), why="a height of one counted as reduced")
class OneRow(Layers):
    def forward(self, x):
        return self.c(x) * (self.d(x) + x.mean(3, keepdim=True))


@case(IMAGE, sizes=OTHER, why="a bounded factor under a parameter")
class ScaledSigmoid(Layers):
    def forward(self, x):
        return self.c(x) * (torch.sigmoid(self.d(x)) * self.scale - 0.5)


@case(IMAGE, sizes=OTHER)
class BoundedBySize(Layers):
    def forward(self, x):
        return self.c(x) * (torch.tanh(self.d(x)) / x.shape[1])


@case((2, 4), (2, 4))
class TwoInputs(Layers):
    def forward(self, x, z):
        return F.bilinear(self.l(x), x + z, self.c.weight[:, :, 0].expand(4, 4, 4))


@case(IMAGE, why="an index tensor counted as an integer")
class IndexBuffer(Layers):
    def forward(self, x):
        return self.c(x)[:, self.order].std(1)


@case(IMAGE, free=False, why="squeeze counted as if it always took a dimension away")
class IdleSqueeze(Layers):
    def forward(self, x):
        return self.c(x).squeeze(2).std(1)


@case(IMAGE, free=False)
class IdleSqueezeAndNorm(Layers):
    def forward(self, x):
        return torch.squeeze(self.d(x), 3).norm(dim=1)


@case(IMAGE, sizes=OTHER)
class ConstantMade(Layers):
    def forward(self, x):
        return self.c(x).mean(1) * (torch.arange(3.0, dtype=x.dtype).sum() + x.new_ones(1)) + x.std(1)


@case(IMAGE, sizes=OTHER, why="a size of one that was read off a tensor counted as unknown")
class GateReshapedToItsOwnSize(Layers):
    def forward(self, x):
        gate = self.one(x)
        b, c, h, w = gate.shape
        mixed = self.up(gate).flatten(2).transpose(1, 2)[..., 0].unsqueeze(-1)
        return self.c(x) * (gate + mixed.transpose(1, 2).reshape(b, c, h, w))


@case(IMAGE, sizes=OTHER)
class GateViewedBySizes(Layers):
    def forward(self, x):
        gate = self.one(x)
        mixed = self.up(gate)[:, 1].flatten(1)
        return self.c(x) * (gate + mixed.view(gate.size(0), gate.size(1), gate.size(2), gate.size(-1)))


@case(IMAGE, sizes=OTHER)
class GateUnflattened(Layers):
    def forward(self, x):
        gate = self.one(x)
        mixed = self.up(gate).select(1, 2).flatten(1)
        return self.c(x) * (gate + mixed.unflatten(1, (gate.shape[1], gate.shape[2], gate.shape[3])))
