"""The laws on real networks.

torchvision's convolutional classifiers, the paper's networks, a U-Net, an RCAN block.
"""

from __future__ import annotations

import itertools

import pytest
import torch
import torchvision
from chosen import chosen
from torch import nn

import fxscope
from fxscope import models
from fxscope.images.bicubic import keys
from fxscope.testing import laws, randomize
from fxscope.testing.case import LawCase
from fxscope.testing.derivative import is_jacobian

FAMILIES = [
    "alexnet",
    "convnext",
    "densenet",
    "efficientnet",
    "googlenet",
    "inception",
    "mnasnet",
    "mobilenet",
    "regnet",
    "resnet",
    "resnext",
    "shufflenet",
    "squeezenet",
    "vgg",
    "wide_resnet",
]
CLASSIFIERS = [
    n for n in torchvision.models.list_models(module=torchvision.models) if n.startswith(tuple(FAMILIES))
]
# the default run has small networks of several kinds, under one half of the laws or the other
FORWARD = {
    "pixelshuffle",
    "unet",
    "bicubic",
    "resnet18",
    "mobilenet_v3_small",
}
TRANSPOSED = {
    "pixelshuffle",
    "unet",
    "rcan",
    "bicubic",
    "squeezenet1_1",
}
SMOOTH = ("convnext", "efficientnet", "mobilenet_v3", "regnet_y")  # the others are piecewise linear


class Attention(nn.Module):
    """RCAN's channel attention."""

    def __init__(self, c):
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(c, c // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(c // 2, c, 1),
            nn.Sigmoid(),
        )

    def forward(self, x):
        return x * self.gate(x)


class RCANBlock(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.head = nn.Conv2d(3, c, 3, padding=1)
        self.body = nn.Sequential(
            nn.Conv2d(c, c, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(c, c, 3, padding=1), Attention(c)
        )

    def forward(self, x):
        x = self.head(x)
        res = self.body(x)
        res += x
        return res


class UNet(nn.Module):
    """Down by strided convolution, up by transposed convolution and by interpolation.

    GroupNorm and SiLU, concatenation.
    """

    def __init__(self, c=8):
        super().__init__()
        self.enter, self.norm1 = nn.Conv2d(3, c, 3, padding=1), nn.GroupNorm(4, c)
        self.down, self.norm2 = nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.GroupNorm(4, 2 * c)
        self.pool = nn.AvgPool2d(2)
        self.up1 = nn.ConvTranspose2d(2 * c, c, 4, stride=2, padding=1)
        self.mix = nn.Conv2d(4 * c, c, 3, padding=1)
        self.act, self.leave = nn.SiLU(), nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, x):
        a = self.act(self.norm1(self.enter(x)))
        b = self.act(self.norm2(self.down(a)))
        low = torch.nn.functional.interpolate(
            self.pool(b), size=x.shape[-2:], mode="bilinear", align_corners=False
        )
        return x + self.leave(self.act(self.mix(torch.cat([a, self.up1(b), low], dim=1))))


OWN = {
    "edsr_baseline": (models.edsr_baseline, 12),
    "cyclegan": (models.cyclegan, 32),
    "pixelshuffle": (models.PixelShuffleNet, 12),
    "dncnn": (lambda: models.dncnn(channels=3), 16),
    "unet": (UNet, 16),
    "rcan": (RCANBlock, 12),
    "bicubic": (models.bicubic4x, 8),
}
chosen(FAMILIES, CLASSIFIERS, str.startswith)
chosen(SMOOTH, CLASSIFIERS, str.startswith)
chosen(FORWARD | TRANSPOSED, [*CLASSIFIERS, *OWN])


def build(name):
    if name in OWN:
        make, size = OWN[name]
        channels = 1 if name in ("pixelshuffle", "bicubic") else 3
        return make(), (channels, size, size)
    size = 75 if name == "inception_v3" else 64
    return torchvision.models.get_model(
        name, weights=None, **({"init_weights": False} if name in ("googlenet", "inception_v3") else {})
    ), (3, size, size)


def in_threes(names):
    """The classifiers in threes; the first ones, which .ci/run takes, are the smallest of every family."""
    size = {n: torchvision.models.get_model_weights(n).DEFAULT.meta["num_params"] for n in names}
    family = {n: next(f for f in FAMILIES if n.startswith(f)) for n in names}
    smaller = {n: sum(family[m] == family[n] and size[m] < size[n] for m in names) for n in names}
    ranked = sorted(names, key=lambda n: (smaller[n], size[n]))
    third = -(-len(ranked) // 3)
    threes = itertools.zip_longest(ranked[:third], ranked[third : 2 * third], ranked[2 * third :])
    return [n for three in threes for n in three if n is not None]


def networks(quick):
    rest = [*in_threes([n for n in CLASSIFIERS if n not in quick]), *(n for n in OWN if n not in quick)]
    return [*sorted(quick), *(pytest.param(n, marks=pytest.mark.full) for n in rest)]


@pytest.mark.parametrize("name", networks(FORWARD))
@torch.no_grad()
def test_laws(name, rng):
    model, shape = build(name)
    model = model.double().eval()
    x0 = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    if name != "bicubic":
        randomize(model, x0)
    s = LawCase.of(model, (x0,), free=True, K=3)
    errors = s.errors("law 1", "law 2", "law 3", "law 9", "law 11")
    assert errors["law 1"] == 0
    assert max(errors.values()) < 1e-9
    assert not s.mixing
    if name not in ("bicubic",):
        assert s.share > 0.05, "the residual is too small for these laws to test anything"
    if not name.startswith((*SMOOTH, "cyclegan", "unet", "rcan", "mnasnet")) or name.startswith("mnasnet"):
        assert is_jacobian(s.program) and s.errors("law 6")["law 6"] < 1e-9


@pytest.mark.parametrize("name", networks(TRANSPOSED))
@torch.no_grad()
def test_transposed(name, rng):
    """Law 5 below 1e-10, rows, and the recorded forms, through one program."""
    model, shape = build(name)
    model = model.double().eval()
    x0 = torch.randn(2, *shape, generator=rng, dtype=torch.float64)
    if name != "bicubic":
        randomize(model, x0)
    s = LawCase.of(model, (x0,))
    assert s.errors("law 5")["law 5"] < 1e-10
    assert s.errors("law 8 row")["law 8 row"] < 1e-9
    if sum(p.numel() for p in model.parameters()) > 100_000_000:
        return  # a state holds the folded weights once more: gigabytes in float64
    assert s.errors("law 13 form")["law 13 form"] < 1e-12


@pytest.mark.parametrize("name", ["googlenet", pytest.param("inception_v3", marks=pytest.mark.full)])
def test_auxiliary_heads_keep_their_structure_in_train_mode(name, rng):
    model, _ = build(name)
    size = 299 if name == "inception_v3" else 64  # the auxiliary head needs 17 x 17 features
    x0 = torch.randn(2, 3, size, size, generator=rng, dtype=torch.float64)
    model = randomize(model.double(), x0)
    model.train()
    for module in model.modules():
        if isinstance(module, (nn.Dropout, nn.modules.batchnorm._BatchNorm)):
            module.eval()  # no draw: the two runs can be compared
    expected = model(x0)
    y0, y1 = fxscope.transform(model)(x0, x0)
    assert type(y0) is type(expected) and type(y1) is type(expected)
    assert laws.distance(y0, expected) == 0 and laws.distance(y1, y0) < 1e-9


def test_bicubic_columns_are_the_known_kernel():
    """The check of the whole chain: every interior column is the Keys kernel, the same everywhere."""
    model = models.bicubic4x().double()
    filter = fxscope.transform(model, "filter")
    t = (torch.arange(32, dtype=torch.float64) + 0.5) / 4 - 0.5
    for y, x in ((3, 3), (4, 2)):
        delta = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
        delta[0, 0, y, x] = 1
        column = filter(torch.randn(1, 1, 8, 8, dtype=torch.float64), delta)[0, 0]
        known = keys(t - y)[:, None] * keys(t - x)[None, :]
        assert (column - known).abs().max() < 1e-7  # the kernel is stored in single precision
