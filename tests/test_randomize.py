"""Random weights under which a deep network is not vacuous: what the calibration sets, stays."""

from __future__ import annotations

import torch
from torch import nn

import fxscope
from fxscope.testing import laws, randomize


def deep(norm: bool) -> nn.Sequential:
    layers = []
    for i in range(12):
        layers.append(nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm2d(8))
        layers.append(nn.ReLU() if i % 2 else nn.SiLU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8 * 64, 5)).double().eval()


def test_outputs_of_layers_have_unit_deviation(rng):
    for norm in (False, True):
        x0 = torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64)
        model = randomize(deep(norm), x0)
        outputs = []
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                module.register_forward_hook(lambda m, inputs, y: outputs.append((m, y)))
        with torch.no_grad():
            model(x0)
        assert len(outputs) == 13
        for module, y in outputs:
            shape = (1, -1) if isinstance(module, nn.Linear) else (1, -1, 1, 1)
            linear = y if module.bias is None else y - module.bias.detach().reshape(shape)
            assert abs(linear.std() - 1) < 1e-9


def test_running_statistics_are_of_what_a_norm_sees(rng):
    x0 = torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64)
    model = randomize(deep(True), x0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_pre_hook(lambda m, inputs: seen.append((m, inputs[0])))
    seen: list = []
    with torch.no_grad():
        model(x0)
    for module, x in list(seen):
        assert 0.3 < (module.running_var / x.var((0, 2, 3), unbiased=False)).median() < 3
        assert (module.running_mean - x.mean((0, 2, 3))).abs().max() < 2 * x.std()
    assert len(seen) == 12


def test_neither_f_nor_r_is_nothing(rng):
    for norm in (False, True):
        x0 = torch.randn(1, 3, 8, 8, generator=rng, dtype=torch.float64)
        lin = fxscope.interpret(randomize(deep(norm), x0), x0)
        y0, r = lin.y0, lin.residual
        assert 0.01 < laws.distance(r, y0) < 100 and 0.01 < r.norm() / y0.norm() < 100


def test_the_model_changes_in_nothing_else(rng):
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Conv2d(3, 4, 3), 0
            self.register_buffer("average", torch.zeros(()))

        def forward(self, x):
            self.calls += 1
            self.average.mul_(0.9).add_(x.mean())
            return self.layer(x)

    model = Counting()
    randomize(model, torch.randn(1, 3, 8, 8, generator=rng) + 1)
    assert model.calls == 0 and model.average == 0 and not model._forward_hooks and model.training
