"""The values that an operator chose (max, sort, topk, median) have the dtype of what they were chosen from, not that of the indices."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.testing.laws import distance

X = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CHOICES = {
    "max": lambda x: x.max(3)[0], "min, kept": lambda x: x.min(-1, keepdim=True).values, "amax": lambda x: x.amax((2, 3)), "amin, kept": lambda x: x.amin((1, -1), keepdim=True),
    "amin": lambda x: x.amin((1, -1)), "median": lambda x: x.median(1)[0], "kthvalue": lambda x: x.kthvalue(2, -1).values, "topk": lambda x: x.topk(2, 1)[0], "sort": lambda x: x.sort(2)[0],
    "cummax": lambda x: torch.cummax(x, 3)[0], "max of all but the batch": lambda x: x.flatten(1).max(1)[0],
}
CASTS = {"type_as": lambda h: h.type_as(h), "to": lambda h: h.float().to(h.dtype), "double": lambda h: h.double()}


class Chosen(nn.Module):
    def __init__(self, choice, cast):
        super().__init__()
        self.choice, self.cast = choice, cast

    def forward(self, x):
        return self.cast(self.choice(x)) * 2


@pytest.mark.parametrize("cast", CASTS)
@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_is_cast_and_pulled_back(choice, cast):
    model = Chosen(CHOICES[choice], CASTS[cast]).eval()
    lin = fxscope.interpret(model, X, policy="taylor")
    x = X.clone().requires_grad_()
    y = model(x)
    u = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected, = torch.autograd.grad((y * u).sum(), x)
    bound = 1e-6 if cast == "to" else 1e-12
    assert distance(lin(X), y.detach()) < bound
    assert distance(lin.F.T @ u, expected) < bound
    assert (lin.F.T @ u).dtype == torch.float64
