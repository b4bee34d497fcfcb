"""Images that are read at places which the image itself decides.

They are frozen under every policy but "taylor", where bilinear reading is written out and has its derivative.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope

X = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class Warped(nn.Module):
    def __init__(self, places):
        super().__init__()
        torch.manual_seed(0)
        self.places, self.theta, self.flow = places, nn.Linear(3, 6), nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x):
        return F.grid_sample(x, self.places(self, x), align_corners=False)


def _base(x):
    return F.affine_grid(
        torch.eye(2, 3, dtype=x.dtype).expand(x.shape[0], 2, 3),
        x.shape,
        align_corners=False,
    )


PLACES = {
    "an affine map": lambda m, x: F.affine_grid(
        m.theta(x.mean((2, 3))).view(-1, 2, 3), x.shape, align_corners=False
    ),
    "a flow": lambda m, x: _base(x) + 0.1 * m.flow(x).tanh().permute(0, 2, 3, 1),
    "a scale": lambda m, x: _base(x) * x.mean((1, 2, 3)).sigmoid().view(-1, 1, 1, 1),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_grid_that_the_image_decides_is_frozen_or_has_its_derivative(name):
    model = Warped(PLACES[name]).double().eval()
    lin = fxscope.interpret(model, X)
    torch.testing.assert_close(lin(X), lin.y0, rtol=0, atol=1e-12)
    taylor = fxscope.interpret(model, X, policy="taylor")
    u = torch.randn(taylor.y0.shape, dtype=torch.float64)
    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad((model(x) * u).sum(), x)
    torch.testing.assert_close(taylor.F.T @ u, expected, rtol=0, atol=1e-10)
    assert (lin.F.T @ u - expected).abs().max() > 1e-3


def test_a_grid_that_the_image_does_not_decide_is_no_matter():
    model = Warped(lambda m, x: 0.5 * _base(x)).double().eval()
    lin = fxscope.interpret(model, X, policy="taylor")
    u = torch.randn(lin.y0.shape, dtype=torch.float64)
    x = X.clone().requires_grad_()
    (expected,) = torch.autograd.grad((model(x) * u).sum(), x)
    torch.testing.assert_close(lin.F.T @ u, expected, rtol=0, atol=1e-12)
