"""Pooling whose window is read from a tensor, and networks that give one number an image."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.testing.laws import distance

X = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Of(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


WINDOWS = {
    "a size": lambda x: F.avg_pool1d(x.flatten(1, 2), x.size(-1)),
    "a size of two axes": lambda x: F.avg_pool2d(x, x.size(2), stride=1),
    "a shape": lambda x: F.avg_pool2d(x, x.shape[2:]),
    "a half": lambda x: F.avg_pool1d(x.flatten(1, 2), x.shape[-1] // 2),
    "two sizes": lambda x: F.avg_pool2d(x, (x.size(2), x.shape[3] // 2)),
}
NUMBERS = {
    "a sum": lambda x: x.sum((1, 2, 3)),
    "a choice": lambda x: x.flatten(1).kthvalue(2, -1)[0],
    "two of them": lambda x: {"low": x.flatten(1).min(1).values, "mean": x.tanh().mean((1, 2, 3))},
}


def _checked(function, x):
    model = Of(function).eval()
    lin = fxscope.interpret(model, x, policy="taylor")
    leaf = x.clone().requires_grad_()
    y = model(leaf)
    parts = list(y.values()) if isinstance(y, dict) else [y]
    assert (
        distance(
            lin(lin.x0.reshape(lin.F.inputs.shapes[0])),
            [p.detach().reshape(s) for p, s in zip(parts, lin.F.outputs.shapes)],
        )
        < 1e-12
    )
    u = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) for p in parts]
    (expected,) = torch.autograd.grad(sum((p * q).sum() for p, q in zip(parts, u)), leaf)
    found = lin.F.T @ lin.F.outputs.build([t.reshape(s) for t, s in zip(u, lin.F.outputs.shapes)])
    assert distance(found.reshape(expected.shape), expected) < 1e-12


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", WINDOWS)
def test_a_window_of_the_size_of_a_tensor(name, images):
    _checked(WINDOWS[name], X[:images])


@pytest.mark.parametrize("images", [1, 2])
@pytest.mark.parametrize("name", NUMBERS)
def test_one_number_an_image(name, images):
    _checked(NUMBERS[name], X[:images])
