"""The networks whose graphs the documentation draws.

Each is a function without arguments, and its source is shown beside its pictures.
"""

from __future__ import annotations

import torch
import torchvision
from torch import nn

import fxscope.models


def relu():
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def max_pool():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1))


def instance_norm():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.InstanceNorm2d(8), nn.Conv2d(8, 3, 3, padding=1))


class SqueezeExcite(nn.Module):
    def __init__(self, channels=8):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, channels // 4, 1)
        self.up = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        y = self.conv(x)
        pooled = y.mean((2, 3), keepdim=True)
        gate = torch.sigmoid(self.up(torch.relu(self.down(pooled))))
        return y * gate


def squeeze_excite():
    return SqueezeExcite()


class Attention(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        scores = self.q(x) @ self.k(x).transpose(-2, -1) / 4.0
        pattern = torch.softmax(scores, -1)
        return x + self.out(pattern @ self.v(x))


def attention():
    return Attention()


def residual_block():
    return torchvision.models.resnet.BasicBlock(8, 8).eval()


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.down, self.deep = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.Conv2d(16, 16, 3, padding=1),
        )
        self.up, self.merge, self.leave = (
            nn.ConvTranspose2d(16, 8, 2, 2),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 1, 1),
        )

    def forward(self, x):
        shallow = torch.relu(self.enter(x))
        deep = torch.relu(self.deep(torch.relu(self.down(shallow))))
        merged = torch.cat([shallow, self.up(deep)], 1)
        return self.leave(torch.relu(self.merge(merged)))


def unet():
    return UNet()


def resnet18():
    return torchvision.models.resnet18(weights=None).eval()


def edsr():
    return fxscope.models.build("edsr_baseline4x")


def cyclegan():
    return fxscope.models.cyclegan().eval()


SOURCES = {"squeeze_excite": SqueezeExcite, "attention": Attention, "unet": UNet}
# what the graph alone does not tell: that x has three dimensions
EXAMPLES = {"attention": (torch.randn(1, 8, 16),)}
# the shape of x0 in the pictures
SHAPES = {
    "relu": (1, 1, 32, 32),
    "max_pool": (1, 3, 32, 32),
    "instance_norm": (1, 3, 32, 32),
    "squeeze_excite": (1, 8, 32, 32),
    "attention": (1, 8, 16),
    "residual_block": (1, 8, 32, 32),
    "unet": (1, 1, 32, 32),
    "resnet18": (1, 3, 224, 224),
    "edsr": (1, 3, 24, 24),
    "cyclegan": (1, 3, 64, 64),
}


def example(name: str, model: nn.Module, form: str) -> tuple[torch.Tensor, ...]:
    """What a graph of a network is called with in a form."""
    x0 = torch.zeros(SHAPES[name])
    if form in ("pair", "filter"):
        return x0, x0
    if form == "adjoint":
        with torch.no_grad():
            return x0, torch.zeros_like(model(x0))
    return (x0, torch.tensor([0])) if form == "row" else (x0,)
