"""Models that draw random numbers, and models whose forward writes into themselves."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from .case import case


class _TwoLayers(nn.Module):
    """Linear, something, ReLU, linear."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x):
        return self.last(torch.relu(self.between(self.first(x))))


@case((2, 6), draws=True, why="a draw a part of the reading")
class Sampled(nn.Module):
    """A variational autoencoder that samples in eval mode too."""

    def __init__(self):
        super().__init__()
        self.encode, self.decode = nn.Linear(6, 8), nn.Linear(4, 6)

    def forward(self, x):
        mean, logarithm = self.encode(x).chunk(2, 1)
        return self.decode(torch.relu(mean + torch.randn_like(mean) * torch.exp(0.5 * logarithm)))


@case((2, 6), draws=True, why="a draw a part of the reading")
class MonteCarloDropout(_TwoLayers):
    """Dropout that stays on in eval mode, behind a draw that nobody reads."""

    def between(self, h):
        torch.rand_like(h)
        return F.dropout(h, 0.5, training=True)


@case((2, 6), draws=True, why="an in-place draw has no method of its own name")
class NoiseInjection(_TwoLayers):
    """StyleGAN's noise: new memory that is filled in place, a number an image."""

    def between(self, h):
        return h + 0.3 * h.new_empty(h.shape[0], 1).normal_()


@case((2, 6), draws=True, why="sizes read off the input: torch.export takes them")
class NoiseOfASize(_TwoLayers):
    def between(self, h):
        return h * (1 + 0.1 * torch.randn(h.shape, dtype=h.dtype))


@case((2, 6), draws=True, why="a draw that depends on nothing is no constant")
class NoiseOfItsOwn(_TwoLayers):
    def between(self, h):
        return h * torch.rand(8, dtype=torch.float64)


@case(
    (4, 2, 5, 5),
    draws=True,
    train=True,
    independent=False,
    free=False,
    why="two draws, and statistics of the batch",
)
class TrainMode(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(2, 4, 3),
            nn.Dropout(0.3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout2d(0.3),
            nn.Conv2d(4, 2, 1),
        )

    def forward(self, x):
        return self.body(x)


@case((2, 6), why="tracing counted its own calls")
class CountsInPython(_TwoLayers):
    def __init__(self):
        super().__init__()
        self.calls, self.log, self.cache = 0, [], {}

    def between(self, h):
        self.calls += 1
        self.log.append(self.calls)
        self.cache[h.dim] = self.calls
        return h


@case((2, 6), why="tracing counted its own calls in the model's buffer")
class CountsInABuffer(_TwoLayers):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.seen = torch.zeros(3)

    def between(self, h):
        self.calls += 1
        self.seen[0] = 7
        return h


@case((2, 6), independent=False, why="the average that is subtracted is written by the call itself")
class MovingAverage(_TwoLayers):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def between(self, h):
        self.mean.mul_(0.9).add_(0.1 * h.detach().mean(0))
        return h - self.mean


@case((2, 6), independent=False, free=False, why="the flag was set, and nothing was initialised")
class ActNorm(_TwoLayers):
    """Glow's: scale and shift from the first batch."""

    def __init__(self):
        super().__init__()
        self.shift, self.scale = nn.Parameter(torch.zeros(8)), nn.Parameter(torch.ones(8))
        self.register_buffer("initialised", torch.tensor(0, dtype=torch.uint8))

    def between(self, h):
        if self.initialised.item() == 0:
            self.shift.data.copy_(-h.mean(0))
            self.scale.data.copy_(1 / (h.std(0, unbiased=False) + 0.1))  # of one image too
            self.initialised.fill_(1)
        return (h + self.shift) * self.scale


@case((2, 6), why="the power method's vectors moved when the weight was read")
class SpectralNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 5)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


@case((2, 3, 8, 8), sizes=((2, 3, 6, 10),), why="all calls were recorded with the settings of before")
class OneConvolutionAtThreeDilations(nn.Module):
    """The forward sets a module anew for each call, and puts it back."""

    def __init__(self):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.1)

    def forward(self, x):
        parts = []
        for rate in (1, 2, 3):
            self.conv.dilation = self.conv.padding = (rate, rate)
            self.act.negative_slope = 0.1 * rate
            parts.append(self.act(self.conv(x)))
        self.conv.dilation = self.conv.padding = (1, 1)
        self.act.negative_slope = 0.1
        return sum(parts) - self.conv(x.flip(3))


@case((2, 6), why="the module kept its own weights")
class WeightsByFunctionalCall(_TwoLayers):
    """Weights are put in place of a module's own for one call, which is made twice."""

    def between(self, h):
        halved = {name: value * 0.5 for name, value in self.last.named_parameters()}
        once = torch.func.functional_call(self.last, halved, (torch.relu(h),))
        return torch.cat((once, self.last(h)[:, :3]), 1)


@case((2, 6), why="no version counter tells of a write through .data")
class WeightsMadePositive(_TwoLayers):
    """The forward clamps its weights before it reads them."""

    def forward(self, x):
        for weight in self.last.parameters():
            weight.data.clamp_(min=0)
        return self.last(torch.tanh(self.first(x)).relu())


@case((2, 6), train=True, why="the flag of the model was read where its forward sets another")
class EvalModeWithin(_TwoLayers):
    """A norm and a dropout that the forward itself sets to eval mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)
        self.norm.running_mean = torch.linspace(-1, 1, 8)

    def between(self, h):
        self.norm.eval()
        self.drop.eval()
        return self.drop(self.norm(h))
