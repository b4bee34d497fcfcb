"""The values that an operator chose (max, sort, topk, median) have the right dtype.

It is that of what they were chosen from, not that of the indices.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.testing.laws import distance

X = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
CHOICES = {
    "max": lambda x: x.max(3)[0],
    "min, kept": lambda x: x.min(-1, keepdim=True).values,
    "amax": lambda x: x.amax((2, 3)),
    "amin, kept": lambda x: x.amin((1, -1), keepdim=True),
    "amin": lambda x: x.amin((1, -1)),
    "median": lambda x: x.median(1)[0],
    "kthvalue": lambda x: x.kthvalue(2, -1).values,
    "topk": lambda x: x.topk(2, 1)[0],
    "sort": lambda x: x.sort(2)[0],
    "cummax": lambda x: torch.cummax(x, 3)[0],
    "max of all but the batch": lambda x: x.flatten(1).max(1)[0],
}
CASTS = {
    "type_as": lambda h: h.type_as(h),
    "to": lambda h: h.float().to(h.dtype),
    "double": lambda h: h.double(),
}


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
    (expected,) = torch.autograd.grad((y * u).sum(), x)
    bound = 1e-6 if cast == "to" else 1e-12
    assert distance(lin(X), y.detach()) < bound
    assert distance(lin.F.T @ u, expected) < bound
    assert (lin.F.T @ u).dtype == torch.float64


NAMED = {
    "topk": lambda h: torch.topk(h, 2, 1).values,
    "sort": lambda h: h.sort(1).values,
    "sorted": lambda h: torch.sort(h, dim=1, descending=True).values,
    "max": lambda h: h.max(dim=1).values,
    "median": lambda h: h.median(1).values,
    "kthvalue": lambda h: h.kthvalue(2, 1)[0],
    "unpacked": lambda h: _first(torch.topk(h, 2, dim=1)),
    "indices": lambda h: h.gather(1, h.sort(1).indices),
    "cummax": lambda h: torch.cummax(h, 1).values,
    "a layer norm of its last size": lambda h: torch.nn.functional.layer_norm(h, h.shape[-1:]),
    "a layer norm of two sizes": lambda h: torch.nn.functional.layer_norm(h, h.shape[2:]),
    "an rms norm of its last size": lambda h: torch.nn.functional.rms_norm(h, (h.shape[-1],)),
}


def _first(pair):
    values, _ = pair
    return values


class After(nn.Module):
    def __init__(self, choice):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.choice = nn.Conv2d(3, 4, 1), choice

    def forward(self, x):
        return self.choice(self.conv(x))


@pytest.mark.parametrize("name", NAMED)
def test_results_by_name_need_no_example(name):
    model = After(NAMED[name]).double().eval()
    y0, y1 = fxscope.transform(model)(X, X)
    assert distance(y0, model(X).detach()) < 1e-12
    assert distance(y1, y0) < 1e-12
