"""Spellings of real code: sizes as lists, lists of tensors, casts, choices, paddings that cut."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case

IMAGE, LINE = (2, 4, 6, 6), (2, 4, 6)


class _Body(nn.Module):
    """A ReLU of a convolution, and ``after`` it the spelling."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        return self.after(torch.relu(self.conv(x)), x)


class _Line(_Body):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3, padding=1)


@case(IMAGE, sizes=((2, 4, 4, 8),), why="a list of sizes had no length")
class SpreadToTheSizeOfAnother(_Body):
    def after(self, y, x):
        means = y.mean((2, 3), keepdim=True)
        return means.expand(y.size()) + torch.broadcast_to(y.mean(1, keepdim=True), y.shape) * 0.5


@case(IMAGE, sizes=((2, 4, 4, 8),), why="a list of sizes had no length")
class UnflattensToASlice(_Body):
    def after(self, y, x):
        return y.flatten(2).unflatten(2, x.shape[2:]) + y.flatten(2).unflatten(-1, y.size()[-2:])


@case(IMAGE, sizes=((2, 4, 4, 8),), why="a sum of two lists of sizes was one size")
class AddsListsOfSizes(_Body):
    def after(self, y, x):
        gate = y.mean((2, 3)).view(y.shape[:2] + (1, 1))  # noqa: RUF005
        return (y * gate).flatten(2).view(y.shape[:-2] + (-1, 2)) + y.shape[1] / 2  # noqa: RUF005


@case((2, 6), why="a sum of two lists of sizes was one size")
class SplitsTheLastDimension(nn.Module):
    def forward(self, x):
        return torch.relu(x).reshape(x.size()[:-1] + (2, 3)).sum(-1)  # noqa: RUF005


@case(IMAGE, train=True, draws=True, independent=False, why="(1,) * (x.ndim - 1) was no list of sizes")
class DropsPaths(_Body):
    def after(self, y, x):
        kept = y.new_empty((y.shape[0],) + (1,) * (y.ndim - 1)).bernoulli_(0.7)
        return y * kept + x


@case(IMAGE, sizes=((2, 4, 4, 8),), why="sizes that are values were compared with 1 while tracing")
class PoolsToTheSizeOfAnother(_Body):
    def after(self, y, x):
        half = F.adaptive_avg_pool2d(y, y[:, :, ::2, ::2].shape[2:])
        return F.interpolate(half, size=y.shape[-2:], mode="bilinear") + F.avg_pool2d(y, y.shape[2:])


@case(LINE, sizes=((2, 4, 8),), why="sizes that are values were compared with 1 while tracing")
class PoolsAlongALine(_Line):
    def after(self, y, x):
        return F.adaptive_avg_pool1d(y, y.shape[-1] // 2) + F.avg_pool1d(y, y.shape[2:])


@case(IMAGE, why="tile with fewer repetitions than dimensions was a repeat, which needs all of them")
class TilesTheLastDimensions(_Body):
    def after(self, y, x):
        return torch.tile(y, (2, 1)) + y.tile(1, 1, 2, 1)


@case(IMAGE, draws=True, independent=False, why="the rank of a draw was unknown")
class DrawsInPlace(_Body):
    def after(self, y, x):
        noise = y.new_empty(y.shape).normal_() + nn.init.uniform_(torch.empty_like(y))
        return y * noise + torch.zeros_like(y).exponential_()


@case(IMAGE, why="a slice of the parts was one tensor")
class JoinsPartsInReverse(_Body):
    def after(self, y, x):
        turned = torch.cat(y.chunk(2, 1)[::-1], 1)
        return torch.cat(turned.split([1, 3], 1)[1:] + (x,), 1)  # noqa: RUF005


@case(IMAGE, why="all parts together were one tensor")
class StacksAllParts(_Body):
    def after(self, y, x):
        return torch.stack(torch.tensor_split(y, 2, 1), 1).sum(1) + torch.cat(y.hsplit(2)[:1], 1)


@case(IMAGE, why="how many parts there are is a matter of sizes: the model goes through torch.export")
class JoinsPartsOfUnknownNumber(_Body):
    def after(self, y, x):
        return torch.cat(y.split(1, 1)[1:], 1) + torch.stack(y.unbind(1)[::-1], 1)[:, 1:]


@case(IMAGE, why="the sizes of the parts are data, which the graph holds")
class SplitsAtATensor(_Body):
    def after(self, y, x):
        return torch.tensor_split(y, torch.tensor([1, 3]), 1)[1] * 2


@case(IMAGE, why="a cast to integers acted on the probe, and cut its values")
class RoundsByACast(_Body):
    def after(self, y, x):
        return (
            y * (y * 3).to(torch.int64) + (y * 2).int() + y * (y > 0.1).long() + (x * 2).to("cpu", torch.int8)
        )


@case(IMAGE, why="a cast to the integers of another value acted on the probe")
class RoundsAsAnother(_Body):
    def after(self, y, x):
        winner = x.argmax(1, keepdim=True)
        return y + (y * 3).type_as(winner) + (x * 2).to(winner) + (y - 0.2).bool() * x


@case(IMAGE, why="bounds of a clamp that depend on the probe had no rule")
class ClampsByItsOwnMean(_Body):
    def after(self, y, x):
        low, high = x.mean(1, keepdim=True) - 0.3, y.amax((2, 3), keepdim=True) * 0.5
        return torch.clamp(y, low, high) + x.clamp_min(low) + y.clamp(max=high) + x.clip(-0.5, 0.5)


@case(IMAGE, why="a border that cuts was a strip of negative length in the transpose")
class MirrorsOneSideAndCutsTheOther(_Body):
    def after(self, y, x):
        pad = (-1, 2, 1, -2)
        return sum(F.pad(y, pad, mode) for mode in ("reflect", "replicate", "circular"))


@case(IMAGE, why="rules that were missing")
class PicksByOrder(_Body):
    def after(self, y, x):
        picked = x.mode(1)[0] + y.median(1).values + x.nanmedian(1)[0] + y.kthvalue(2, 1)[0]
        low, high = x.aminmax(dim=1)
        return picked + x.sort(1)[0][:, 0] + x.topk(2, 1)[0].mean(1) + high - low


@case(IMAGE, why="rules that were missing")
class RunningExtrema(_Body):
    def after(self, y, x):
        return x.cummax(1)[0] + x.cummin(1).values + torch.msort(x.transpose(0, 1)).transpose(0, 1).mT + y.mH


@case(IMAGE, why="the channel attention of CBAM, through torch.export")
class AttentionByMaxima(_Body):
    def after(self, y, x):
        if y.shape[2] > 3:
            gate = F.adaptive_max_pool2d(y, 1) + F.adaptive_avg_pool2d(y, 1)
            return y * torch.sigmoid(gate) + F.adaptive_max_pool2d(x, (3, None)).mean(2, keepdim=True)
        return y


@case(
    IMAGE,
    train=True,
    draws=True,
    independent=False,
    why="contiguous() was a clone, which keeps the order in memory, and so the draws fell on other entries",
)
class DropsAfterAPermutation(_Body):
    def after(self, y, x):
        return F.dropout(y.permute(0, 2, 3, 1).contiguous(), 0.4, True)


@case(IMAGE, train=True, draws=True, independent=False, why="export's cast lost the order in memory")
class DropsInChannelsLast(_Body):
    def after(self, y, x):
        return F.dropout(y.to(memory_format=torch.channels_last), 0.4, True)


@case((2, 4), (2, 4), why="an input was taken for a fixed argument, by the number at its name's end")
class NumberedArgument(nn.Module):
    def forward(self, x, mask_1, mask=None):
        y = torch.relu(x) * mask_1
        return y if mask is None else y * mask


@case((2, 4), (2, 4), (2, 4), (2, 4), why="two inputs of an emitted graph had one name")
class NamesOfTheGraphsOwn(nn.Module):
    def forward(self, x1, y2, index, state):
        return torch.relu(x1) * y2 + torch.tanh(index) * x1 + state


@case(IMAGE, derivative=False, why="where two writes meet, the last one stays; torch's backward counts all")
class WritesAtTheSamePlace(_Body):
    def after(self, y, x):
        return torch.zeros_like(y).scatter(1, (x > 0).long(), y)


@case(IMAGE, derivative=False, why="where two writes meet, the last one stays; torch's backward counts all")
class CopiesToTheSamePlace(_Body):
    def after(self, y, x):
        return torch.zeros_like(y).index_copy(1, torch.tensor([0, 2, 2]), y[:, :3])


@case(IMAGE, why="a write through a view of no entries read one of them")
class WritesNothing(_Body):
    def after(self, y, x):
        h = y.mean((2, 3), keepdim=True) * 1.0
        h[..., 1:].clamp_(-0.5, 0.5)
        h.transpose(1, 2)[:, 1:].relu_()
        y = y * 1.0
        y[:, 2:2] = 3.0
        return y + h


@case(IMAGE, why="a row took one number of each image for an image without a batch")
class OneNumberOfEachImage(_Body):
    def after(self, y, x):
        return y.flatten(1).sum(1) + x.amax((1, 2, 3))


@case((1, 4, 6, 6), why="one number of the only image")
class OneNumberOfOneImage(_Body):
    def after(self, y, x):
        return y.mean((2, 3))[:, 0]


@case(IMAGE, sizes=((2, 4, 4, 8),), why="K came in front, where torch puts what the places give")
class PlacesOnBothSidesOfASlice(_Body):
    def after(self, y, x):
        picked = y[:, [0, 3, 1], :, [1, 2, 2]].transpose(0, 1)
        channels, columns = torch.tensor([2, 0]), torch.tensor([-1, 1])
        return torch.cat((picked, y[:, channels, ..., columns].movedim(1, 0)), 1)


@case(IMAGE, free=False, why="K came in front, where torch puts what the places give")
class PlacesOfEachImageAndAColumn(_Body):
    def after(self, y, x):
        widest = y.sum((1, 2)).argmax(1)
        return (
            y[torch.arange(y.shape[0]), :, :, widest]
            + y[:, [0], None, [1, 3, 2, 2], 1:2].permute(1, 0, 2, 3)[:, :, 0]
        )


@case((2, 24), why="torch.stft was not known to give complex numbers, so that their modulus had no rule")
class MagnitudesOfASound(nn.Module):
    """A spectrogram: the modulus, its square, and the logarithm of a filter bank over it."""

    def __init__(self):
        super().__init__()
        self.mix, self.bank = nn.Linear(24, 24), nn.Linear(5, 3)
        self.register_buffer("window", torch.hann_window(8))

    def forward(self, x):
        spectrum = torch.stft(
            self.mix(x), 8, 4, window=self.window, center=False, normalized=True, return_complex=True
        )
        size = spectrum.abs()
        return torch.log1p(self.bank((size**2).mT).relu()) + torch.abs(spectrum).mT[..., :3]
