"""Networks in plain PyTorch that sample, pool, or convolve as x itself says; as small as each allows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torchvision import ops

B = 2


class PointNet(nn.Module):
    """Points (B, 3, N), turned by a matrix that a small PointNet finds; features are maxima over points."""

    def __init__(self) -> None:
        super().__init__()
        self.find, self.turn = (
            self._shared(3, 8, 16),
            nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 9)),
        )
        self.features, self.deeper = self._shared(3, 8), self._shared(8, 16)
        self.scores = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))

    @staticmethod
    def _shared(*widths: int) -> nn.Module:
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(widths):
            layers += [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU()]
        return nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The scores of four classes."""
        matrix = self.turn(self.find(x).max(2)[0]).view(-1, 3, 3) + torch.eye(3, dtype=x.dtype)
        x = torch.bmm(x.transpose(1, 2), matrix).transpose(1, 2)
        return self.scores(self.deeper(self.features(x)).max(2)[0])


class DeformableAttention(nn.Module):
    """Deformable-DETR's encoder layer over feature maps of two sizes, with grid_sample."""

    def __init__(self, channels: int = 8, heads: int = 2, points: int = 3) -> None:
        super().__init__()
        self.heads, self.points, self.levels = heads, points, 2
        self.stem, self.halved = nn.Conv2d(3, channels, 3, padding=1), nn.Conv2d(channels, channels, 3, 2, 1)
        self.offsets = nn.Linear(channels, heads * 2 * points * 2)
        self.weights = nn.Linear(channels, heads * 2 * points)
        self.values, self.out = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.norm, self.last = nn.LayerNorm(channels), nn.Linear(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The tokens of both maps, (B, tokens, channels)."""
        first = self.stem(x)
        maps = [first, self.halved(torch.relu(first))]
        tokens = torch.cat([m.flatten(2).transpose(1, 2) for m in maps], 1)
        tokens = self.norm(tokens + self._attended(tokens, [m.shape[2:] for m in maps]))
        return tokens + self.last(F.relu(tokens))

    def _attended(self, tokens: torch.Tensor, sizes: list[Any]) -> torch.Tensor:
        shape = (tokens.shape[0], tokens.shape[1], self.heads, self.levels, self.points)
        offsets = self.offsets(tokens).view(*shape, 2)
        weights = F.softmax(self.weights(tokens).view(*shape[:3], -1), -1).view(shape)
        centres = torch.cat([_centres(h, w, tokens) for h, w in sizes])[None, :, None, None]
        values = self.values(tokens).unflatten(2, (self.heads, -1)).permute(0, 2, 3, 1)
        sampled, start = torch.zeros((), dtype=tokens.dtype), 0
        for level, (h, w) in enumerate(sizes):
            value = values[..., start : start + h * w].reshape(-1, values.shape[2], h, w)
            places = centres + offsets[:, :, :, level] / torch.tensor([w, h], dtype=tokens.dtype)
            grid = (2 * places - 1).transpose(1, 2).flatten(0, 1)
            taken = F.grid_sample(value, grid, padding_mode="zeros", align_corners=False)
            sampled = sampled + (taken * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(
                3
            )
            start += h * w
        return self.out(sampled.unflatten(0, (-1, self.heads)).flatten(1, 2).transpose(1, 2))


def _centres(h: int, w: int, like: torch.Tensor) -> torch.Tensor:
    """The middle of every pixel, (h*w, 2), in (0, 1)."""
    rows = (torch.arange(h, dtype=like.dtype) + 0.5) / h
    columns = (torch.arange(w, dtype=like.dtype) + 0.5) / w
    return torch.stack([columns.repeat(h), rows.repeat_interleave(w)], 1)


class KernelPrediction(nn.Module):
    """A denoiser that predicts a 3x3 kernel for each pixel, and one shared kernel for the whole image."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
        )
        self.each, self.whole = nn.Conv2d(channels, 9, 1), nn.Linear(channels, 3 * 3 * 9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The image, filtered by both."""
        features = self.body(x)
        kernels = torch.softmax(self.each(features), 1).unsqueeze(1)
        patches = F.unfold(x, 3, padding=1).unflatten(1, (3, 9)).unflatten(3, x.shape[2:])
        near = (patches * kernels).sum(2)
        weight = self.whole(features.mean((2, 3))).view(-1, 3, 3, 3)
        y = F.conv2d(near.reshape(1, -1, *x.shape[2:]), weight, padding=1, groups=x.shape[0])
        return x - y.view(x.shape)


class Regions(nn.Module):
    """A detector's head: deformable features, regions of both images, RoIAlign, and scores of each region."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, 2, 1)
        self.offset, self.mask = nn.Conv2d(channels, 18, 3, padding=1), nn.Conv2d(channels, 9, 3, padding=1)
        self.deformable = ops.DeformConv2d(channels, channels, 3, padding=1)
        self.pool, self.scores = ops.RoIAlign(3, 0.5, 2, aligned=True), nn.Linear(9 * channels, 4)
        boxes = torch.tensor([[1.0, 2, 9, 12], [0, 0, 15, 15], [6.5, 3, 14, 20]])
        images = torch.tensor([[0.0], [1], [1]])
        self.register_buffer("boxes", torch.cat([images, boxes], 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Four scores of each region."""
        x = F.relu(self.stem(x))
        x = F.relu(self.deformable(x, self.offset(x), torch.sigmoid(self.mask(x))))
        return self.scores(self.pool(x, self.boxes).flatten(1))


def _built(kind: Callable[[], nn.Module], *shape: int) -> Callable[[], tuple[Any, tuple]]:
    def build() -> tuple[nn.Module, tuple]:
        return kind(), (torch.randn(B, *shape, generator=torch.Generator().manual_seed(0)),)

    return build


MODELS = {
    "PointNet": _built(PointNet, 3, 20),
    "Deformable-DETR's encoder layer": _built(DeformableAttention, 3, 6, 8),
    "kernel prediction": _built(KernelPrediction, 3, 10, 12),
    "RoIAlign of deformable features": _built(Regions, 3, 16, 16),
}
