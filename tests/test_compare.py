"""``fxscope.compare``: several networks, and several readings of one, at the same x0."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import ShapeError
from fxscope.testing import randomize

D = torch.float64


@pytest.fixture
def nets(rng):
    x0 = torch.randn(1, 3, 12, 12, generator=rng, dtype=D)

    def make(activation):
        return randomize(
            nn.Sequential(
                nn.Conv2d(3, 6, 3, padding=1),
                nn.InstanceNorm2d(6, affine=True),
                activation,
                nn.Conv2d(6, 2, 3, padding=1),
            ).double(),
            x0,
        )

    return x0, make(nn.ReLU()), make(nn.GELU())


def test_readings_of_one_model(nets):
    x0, net, _ = nets
    found = fxscope.compare(x0, ["freeze", "detach", "taylor"], at=(1, 5, 6), model=net)
    assert [r.name for r in found.readings] == ["freeze", "detach", "taylor"]
    for reading in found.readings:
        lin = fxscope.interpret(net, x0, policy=reading.policy)
        assert torch.equal(reading.row, lin.F.row((1, 5, 6))) and reading.place == (5, 6)
        assert reading.residual_share == pytest.approx((lin.residual.norm() / lin.y0.norm()).item())
        assert reading.energy[-1] == pytest.approx(1) and list(reading.energy) == sorted(reading.energy)
        within = reading.row[:, 3:8, 4:9].square().sum() / reading.row.square().sum()
        assert reading.energy[2] == pytest.approx(within.item())
    assert found.limit == max(r.row.abs().max().item() for r in found.readings)
    assert found["freeze"].energy[2] == pytest.approx(1) and found["detach"].energy[2] < 1, (
        "with its mean linear an instance norm reaches everywhere"
    )
    assert found["taylor"].gap < found["freeze"].gap


def test_several_models_and_the_record(nets):
    x0, relu, gelu = nets
    found = fxscope.compare(x0, {"relu": relu, "gelu": (gelu, {"instance_norm": "scale"})}, at=(0, 2, 2))
    data = json.loads(found.to_json())
    assert (
        data["readings"][1]["policy"] == "freeze, instance_norm: scale"
        and data["readings"][0]["row_norm"] > 0
    )
    assert "gelu" in str(found) and "<table" in found._repr_html_()
    figure = found.plot("at (0, 2, 2)")
    assert len(figure.axes) == 5  # input, two rows, their colour bar, the curves
    with pytest.raises(ShapeError, match="one image"):
        fxscope.compare(torch.cat([x0, x0]), {"relu": relu}, at=(0, 2, 2))
    with pytest.raises(TypeError, match="pass model="):
        fxscope.compare(x0, ["freeze"], at=(0, 2, 2))
