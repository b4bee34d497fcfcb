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
