"""A gate with one channel is frozen however its size comes back.

It comes as a literal 1, or read off a value that has one channel.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from zoo import products

import fxscope

NAMES = ("GateReshapedToItsOwnSize", "GateViewedBySizes", "GateUnflattened", "OneChannel")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("frontend", ["symbolic", "export"])
def test_the_gate_is_frozen(name, frontend):
    torch.manual_seed(0)
    model = getattr(products, name)().double().eval()
    x0, v = torch.randn(2, 2, 4, 6, 5, dtype=torch.float64)
    kept = model.c.forward
    model.c.forward = torch.ones_like  # what is left of the model is its gate
    gate = model(x0).detach()
    model.c.forward = kept
    del model.c.__dict__["forward"]
    exact = nn.functional.conv2d(v, model.c.weight) * gate
    lin = fxscope.interpret(model, x0, frontend=frontend)
    assert (lin.F @ v - exact).abs().max() < 1e-12
    if frontend == "symbolic":
        assert (fxscope.transform(model, "filter")(x0, v) - exact).abs().max() < 1e-12
