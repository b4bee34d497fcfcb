"""Operators that freeze more than a mask: complex gates, distances, running products, recurrent cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from .case import case

IMAGE, OTHER = (2, 3, 6, 5), ((2, 3, 5, 7),)


@case(IMAGE, sizes=OTHER, why="a complex weight was transposed without its conjugate")
class SpectralWeights(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4, 2))

    def forward(self, x):
        mixed = torch.fft.rfft2(x).permute(0, 2, 3, 1) @ torch.view_as_complex(self.weight)
        return torch.fft.irfft2(mixed.permute(0, 3, 1, 2), s=x.shape[-2:])


@case(IMAGE, why="the direction of a complex number counted as a constant")
class Directions(nn.Module):
    def forward(self, x):
        return torch.fft.ifft2(torch.sgn(torch.fft.fft2(x)) * 3.0).real


@case(IMAGE)
class RectifiedModulus(nn.Module):
    def forward(self, x):
        z = torch.fft.fft(x)
        size = torch.sqrt(z.real**2 + z.imag**2)
        return torch.fft.ifft(torch.polar(F.relu(size - 0.3), z.angle())).real


@case(IMAGE)
class ModulusBySlices(nn.Module):
    def forward(self, x):
        z = torch.complex(x[:, :2], x[:, 1:])
        return torch.view_as_real(z * F.relu(abs(z) - 0.5) * z.conj()).flatten(3)


@case((2, 5, 4), (2, 3, 4))
class DistancesToCodes(nn.Module):
    def forward(self, x, codes):
        return torch.softmax(-torch.cdist(x, codes), -1) @ codes + x / torch.cdist(x, codes).mean(-1, True)


@case((2, 5, 4))
class SimilarityOfNeighbours(nn.Module):
    def forward(self, x):
        return F.cosine_similarity(x[:, 1:], x[:, :-1], -1)[..., None] * x[:, 1:]


@case((2, 6, 4))
class Transmittance(nn.Module):
    def forward(self, x):
        free = torch.exp(-F.relu(x[..., :1]))
        before = torch.cumprod(torch.cat((torch.ones_like(free[:, :1]), free), 1), 1)[:, :-1]
        return ((1 - free) * before * x[..., 1:]).sum(1)


@case((2, 4, 4))
class StatesAsOnePair(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.gate = nn.LSTMCell(4, 4), nn.GRUCell(4, 4)

    def forward(self, x):
        state, h = None, None
        for t in range(3):
            state = self.cell(x[:, t], state)
            h = self.gate(state[0], h)
        return h + state[1]


@case((2, 2, 3))
class CellsByFunction(nn.Module):
    def __init__(self):
        super().__init__()
        self.memory, self.gate = nn.LSTMCell(3, 4), nn.GRUCell(4, 4, bias=False)

    def forward(self, x):
        h = c = torch.zeros_like(x[:, 0, :1]).expand(-1, 4)
        m, found = self.memory, []
        for part in x.unbind(1):
            h, c = torch.lstm_cell(part, (h, c), m.weight_ih, m.weight_hh, m.bias_ih, m.bias_hh)
            found.append(torch.gru_cell(c, h, self.gate.weight_ih, self.gate.weight_hh))
        return torch.stack(found, 1)


@case((2, 2, 3))
class CellsByHand(nn.Module):
    def __init__(self):
        super().__init__()
        self.given, self.kept = nn.Linear(3, 16), nn.Linear(4, 16)
        self.update, self.reset, self.new = nn.Linear(7, 4), nn.Linear(7, 4), nn.Linear(7, 4)

    def forward(self, x):
        h, c = x.new_zeros(x.shape[0], 4), 0
        for t in range(2):
            i, f, g, o = (self.given(x[:, t]) + self.kept(h)).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + i.sigmoid() * torch.tanh(g)
            h = o.sigmoid() * c.tanh()
        both = torch.cat((x[:, 1], h), 1)
        z, r = self.update(both).sigmoid_(), self.reset(both).sigmoid_()
        return (1 - z) * torch.tanh(self.new(torch.cat((x[:, 1], r * h), 1))) + z * h


@case((2, 6, 4))
class TransmittanceByMethod(nn.Module):
    def forward(self, x):
        alpha = torch.sigmoid(x[..., 0])
        light = (1 - alpha + 1e-10).cumprod(dim=-1).roll(1, -1)
        return (torch.einsum("bn,bnc->bc", alpha * light, x[..., 1:]), light)[0]


@case((2, 6, 4))
class ProductsInPlace(nn.Module):
    def forward(self, x):
        decay = 0.5 + torch.sigmoid(x)
        return decay.cumprod_(1) * x + torch.exp(torch.cumsum(-F.softplus(x), 1))


@case((2, 3, 6, 5))
class ScaledByQuantiles(nn.Module):
    def forward(self, x):
        low, high = (torch.quantile(x.flatten(2), q, dim=2, keepdim=True)[..., None] for q in (0.25, 0.75))
        return (x - low) / (high - low)


@case((2, 3, 6, 5))
class AboveAQuantile(nn.Module):
    def forward(self, x):
        level = x.flatten(1).quantile(0.6, -1, interpolation="lower")
        return F.relu(x - level[:, None, None, None])


@case((2, 7, 4))
class QuantileOfWhatIsThere(nn.Module):
    def forward(self, x):
        some = x.masked_fill(x > 0.8, float("nan"))
        return torch.nanquantile(some, 0.3, 1, interpolation="midpoint") + some.nan_to_num(0.1).sum(1)


@case((2, 5, 4))
class NumbersInPlaceOfNaN(nn.Module):
    def forward(self, x):
        y = x.masked_fill(x.abs() < 0.3, float("nan")).masked_fill_(x > 1.5, float("inf"))
        return torch.nan_to_num_(y, nan=0.2, posinf=3.0) * 2 + (x > 0).double().log().nan_to_num(neginf=-2.0)


@case((5, 4), free=False, independent=False)
class DistancesOfPairs(nn.Module):
    def forward(self, x):
        near = torch.exp(-F.pdist(x) / torch.pdist(x, 1.0).mean())
        return torch.stack((near, F.pdist(torch.tanh(x), p=3)), -1)
