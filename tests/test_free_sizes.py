"""Fully convolutional networks export with height and width free.

The file runs at twice the size, and gives what the graph gives there.
"""

from __future__ import annotations

import pytest
import torch
from drawn import crossed
from torch import nn
from torch.nn import functional as F

import fxscope
from fxscope import models
from fxscope.export import shapes
from fxscope.testing import laws, randomize


class UNet(nn.Module):
    """Strided and transposed convolutions, a pool, GroupNorm with SiLU, upsampling, concatenation."""

    def __init__(self):
        super().__init__()
        self.enter, self.down, self.deep = (
            nn.Conv2d(1, 4, 3, padding=1),
            nn.Conv2d(4, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.norm, self.up, self.merge, self.leave = (
            nn.GroupNorm(2, 8),
            nn.ConvTranspose2d(8, 4, 2, 2),
            nn.Conv2d(12, 4, 3, padding=1),
            nn.Conv2d(4, 1, 1),
        )

    def forward(self, x):
        shallow = torch.relu(self.enter(x))
        deep = F.silu(self.norm(self.deep(torch.relu(self.down(shallow)))))
        wide = F.interpolate(F.max_pool2d(deep, 3, 1, 1), scale_factor=2.0, mode="nearest")
        return self.leave(torch.relu(self.merge(torch.cat([self.up(deep), wide], 1))))


class Strides(nn.Module):
    """What CycleGAN's generator is made of.

    Strides and pools whose windows divide, reflected borders, instance norm.
    """

    def __init__(self):
        super().__init__()
        self.a, self.b = (
            nn.Conv2d(1, 4, 5, padding=2, padding_mode="reflect"),
            nn.Conv2d(4, 8, 3, stride=2, padding=1),
        )
        self.norm, self.c = (
            nn.InstanceNorm2d(8),
            nn.ConvTranspose2d(8, 1, 3, stride=2, padding=1, output_padding=1),
        )

    def forward(self, x):
        return torch.tanh(self.c(F.avg_pool2d(torch.relu(self.norm(self.b(torch.relu(self.a(x))))), 3, 1, 1)))


SMALL = {
    "dncnn": (lambda: models.DnCNN(depth=4, features=4), (1, 16, 24)),
    "unet": (UNet, (1, 16, 24)),
    "strides": (Strides, (1, 16, 24)),
    "pixelshuffle": (models.PixelShuffleNet, (1, 16, 24)),
}
LARGE = {
    "dncnn": (models.dncnn, (1, 24, 32)),
    "unet": SMALL["unet"],
    "pixelshuffle": (models.pixelshuffle4x, (1, 24, 32)),
    "edsr": (models.edsr_baseline, (3, 16, 24)),
    "cyclegan": (lambda: models.cyclegan(6), (3, 32, 48)),
}


def prepared(make, shape, form):
    """Model, graph with stacked probes, example."""
    torch.manual_seed(0)
    x0 = torch.randn(1, *shape)
    model = randomize(make().eval(), x0)
    graph = fxscope.transform(model, form, probes="stacked")
    return graph, (x0, x0[None] if form == "pair" else model(x0).detach()[None])


@pytest.mark.turns(2)
@pytest.mark.parametrize(("name", "form"), crossed(SMALL, ["pair", "adjoint"]))
def test_an_exported_graph_runs_at_other_sizes(name, form):
    graph, given = prepared(*SMALL[name], form)
    example, dynamic = shapes.dynamic(graph, given, shapes.SPATIAL)
    with torch.no_grad():
        program = torch.export.export(graph, example, dynamic_shapes=dynamic).module()
        for other in (example, shapes.doubled(graph, example), shapes.others(graph, example)):
            assert laws.distance(program(*other), graph(*other)) == 0


@pytest.mark.full
@pytest.mark.parametrize("form", ["pair", "adjoint"])
@pytest.mark.parametrize("name", LARGE)
def test_a_saved_file_runs_at_other_sizes(name, form, tmp_path):
    graph, given = prepared(*LARGE[name], form)
    check = fxscope.save(graph, tmp_path / "net.pt2", given, dynamic_shapes="spatial")
    assert check.ok and len(check.errors) == 3


@pytest.mark.full
@pytest.mark.parametrize("form", ["pair", "adjoint"])
def test_onnx_has_free_sizes_too(form, tmp_path):
    graph, given = prepared(*SMALL["dncnn"], form)
    assert fxscope.save(graph, tmp_path / "net.onnx", given, dynamic_shapes="spatial").ok
