"""Habits of real code that have nothing to do with mathematics:
reuse, writes in place, sizes in Python, structures of outputs.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from fxscope.errors import NoLinearPath, TraceFailure

from .case import case

Heads = namedtuple("Heads", ["boxes", "scores"])


@dataclass
class Output:
    features: torch.Tensor
    logits: torch.Tensor


@case((2, 3, 6, 6))
class OneActivationEverywhere(nn.Module):
    """One in-place activation and one convolution, used three times each."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(inplace=True)

    def forward(self, x):
        for _ in range(3):
            x = self.act(self.conv(x))
        return x


@case((2, 3, 6, 6))
class AliasBeforeAnInPlaceUnit(nn.Module):
    """The skip is the same memory as what the in-place unit writes."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 3, 3, padding=1), nn.LeakyReLU(0.1, inplace=True)

    def forward(self, x):
        y = self.conv(x)
        skip = y
        y = self.act(y)
        return (y + skip).mul_(0.5)


@case((2, 4, 6, 6))
class WritesThroughAView(nn.Module):
    """A view of a value is written; the value itself is read later."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)

    def forward(self, x):
        y = self.conv(x)
        z = y.view(y.size(0), 2, 2, 6, 6).transpose(1, 2)
        z.relu_()
        return y - 0.1 * x


@case((2, 3, 8, 8), sizes=((2, 3, 12, 8),))
class SizesInPython(nn.Module):
    """Sizes are read and computed with in Python."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        b, c, h, w = x.shape
        y = torch.relu(self.conv(x)).reshape(b, 2, 2, h // 2, 2, w // 2, 2)
        return y.permute(0, 1, 4, 6, 2, 3, 5).reshape(b, -1, h // 2, w // 2) / (c * 2.0)


@case((2, 5))
class Dictionary(nn.Module):
    """A dict of outputs, one of them the other's part."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        z = F.gelu(self.body(x))
        return {"features": z, "logits": self.head(z), "first": z[:, :1]}


@case((2, 3, 6, 6))
class NamedTuple(nn.Module):
    """A named tuple of outputs of different ranks."""

    def __init__(self):
        super().__init__()
        self.conv, self.box = nn.Conv2d(3, 4, 3), nn.Linear(4, 4)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return Heads(self.box(y.mean((2, 3))), y[:, :2])


@case((2, 5))
class Dataclass(nn.Module):
    """A dataclass of outputs."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x):
        z = F.silu(self.a(x))
        return Output(features=z, logits=self.b(z))


@case((2, 6))
class EarlyReturn(nn.Module):
    """A return in a branch on an attribute, and a training branch that never runs."""

    def __init__(self):
        super().__init__()
        self.deep, self.a, self.b = True, nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        y = torch.tanh(self.a(x))
        if self.training:
            return y, self.b(y)
        if not self.deep:
            return y
        return self.b(y + x)


@case((2, 4), (2, 4), (2, 4))
class StarArguments(nn.Module):
    """Arguments that have no names of their own."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(12, 5)

    def forward(self, first, *others):
        return torch.relu(self.mix(torch.cat([first, *others], 1)))


@case((2, 3, 6, 6))
class DefaultArguments(nn.Module):
    """Optional arguments that are left out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, mask=None, scale=0.5, residual=True):
        y = torch.relu(self.conv(x)) * scale
        if mask is not None:
            y = y * mask
        return y + x if residual else y


@case((2, 3, 6, 6), (2, 1, 6, 6), free=False)
class OptionalIsGiven(nn.Module):
    """An optional argument that is given."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, mask=None):
        y = F.elu(self.conv(x))
        return y if mask is None else y * mask + x


@case((2, 3, 6, 6))
class BuffersOfOddRank(nn.Module):
    """Buffers without a dimension, with one that broadcasts in the middle,
    and plain tensors as attributes.
    """

    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.7, dtype=torch.float64))
        self.register_buffer("mean", torch.randn(3, 1, 1))
        self.register_buffer("columns", torch.randn(1, 1, 6))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        y = (x - self.mean) * self.scale
        y = torch.relu(self.conv(y[:, self.order]) + self.columns)
        return y / self.scale


@case((2, 6, 5, 5))
class ChunksInReverse(nn.Module):
    """A value in parts, taken in reverse order with a running sum, as in Res2Net."""

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList([nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)])

    def forward(self, x):
        parts, found, last = x.chunk(3, dim=1), [], None
        for part, conv in zip(reversed(parts), self.convs):
            last = torch.relu(conv(part if last is None else part + last))
            found.insert(0, last)
        return torch.cat(found[::-1], dim=1)


@case((2, 3, 6, 6))
class ListOfFeatures(nn.Module):
    """Features collected in a list and returned as one, the input among them."""

    def __init__(self):
        super().__init__()
        self.stages = nn.ModuleList([nn.Conv2d(3, 2, 3, stride=2, padding=1), nn.Conv2d(2, 2, 1)])

    def forward(self, x):
        found = [x]
        for stage in self.stages:
            found.append(F.hardswish(stage(found[-1])))
        return found


@case((2, 3, 8, 8), sizes=((2, 3, 12, 12),))
class PaddedToAMultiple(nn.Module):
    """The image is padded to a multiple of 4, computed with, and cut again."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        h, w = x.shape[-2:]
        x = F.pad(x, (0, -w % 4, 0, -h % 4), mode="constant", value=0.5)
        return torch.relu(self.conv(x))[..., :h, :w]


@case((2, 4, 6))
class WeightsComputedInForward(nn.Module):
    """A weight that is standardised in every call, and called through F.linear.

    Keyword arguments everywhere.
    """

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 6))
        self.gain = nn.Parameter(torch.rand(5, 1) + 0.5)

    def forward(self, x):
        weight = self.weight - self.weight.mean(dim=1, keepdim=True)
        weight = self.gain * weight / weight.norm(dim=1, keepdim=True)
        return F.softplus(F.linear(input=x, weight=weight, bias=None))


@case((2, 3, 6, 6))
class SequentialOfLambdas(nn.Module):
    """Modules in dicts and lists by name, functions as attributes, a loop over children."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"enter": nn.Conv2d(3, 4, 1), "exit": nn.Conv2d(4, 2, 1)})
        self.activations = {"enter": F.relu, "exit": lambda x: x.clamp(-0.5, 0.5)}

    def forward(self, x):
        for name, layer in self.layers.items():
            x = self.activations[name](layer(x))
        return x


@case((2, 3, 6, 6))
class OutputWithoutABatch(nn.Module):
    """A loss beside the images: an output that is one number of the whole batch is none of an image's."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        y = torch.relu(self.conv(x))
        return y.flatten(1).sum(1, keepdim=True), y


@case((2, 7, 4))
class SequenceWithAToken(nn.Module):
    """A class token in front, position embeddings, a slice at the end.

    The batch is expanded by the input's.
    """

    def __init__(self):
        super().__init__()
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 4)), nn.Parameter(torch.randn(1, 8, 4))
        self.norm, self.mix = nn.LayerNorm(4), nn.Linear(4, 4)

    def forward(self, x):
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), dim=1) + self.position
        x = x + F.gelu(self.mix(self.norm(x)))
        return x[:, 0]


@case((2, 4), refused=TraceFailure, why="a branch on a value has no graph")
class BranchOnAValue(nn.Module):
    """A loop that ends when the values are small."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x):
        while x.norm() > 1:
            x = torch.relu(self.a(x)) * 0.5
        return x


@case((2, 4), refused=NoLinearPath, why="all outputs are constants")
class OnlyTheWinner(nn.Module):
    """The index of the largest score is all that is returned."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 3)

    def forward(self, x):
        return self.a(x).argmax(1, keepdim=True).double()


@case((2, 3, 9, 9))
class PoolsOfFunctional(nn.Module):
    """Poolings whose operator gives the indices too, of which a function of torch hands out the first."""

    def forward(self, x):
        channels = F.adaptive_max_pool2d(x, (3, 3)).repeat(1, 1, 2, 2)
        rows = F.adaptive_max_pool1d(x.flatten(2), 36).mul(2).unflatten(2, (6, 6))
        return channels + rows + F.adaptive_max_pool2d(x, 6, True)[0].relu()
