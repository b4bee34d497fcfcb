"""Weights that are computed (weight norm, spectral norm).

They are constants of x0 in eval mode, and refused or exported where every call changes them.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import fxscope
from fxscope.testing.laws import distance

X = torch.randn(2, 3, 6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
KINDS = {
    "weight norm": lambda: parametrizations.weight_norm(nn.Conv2d(3, 4, 3)),
    "spectral norm": lambda: parametrizations.spectral_norm(nn.Conv2d(3, 4, 3)),
    "spectral norm of a number": lambda: nn.Sequential(
        nn.Conv2d(3, 1, 1), parametrizations.spectral_norm(nn.Conv2d(1, 1, 1))
    ),
    "spectral norm of a vector": lambda: nn.Sequential(
        nn.Flatten(2), nn.Linear(48, 5), parametrizations.spectral_norm(nn.LayerNorm(5))
    ),
    "orthogonal": lambda: nn.Sequential(nn.Flatten(2), parametrizations.orthogonal(nn.Linear(48, 4))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_computed_weight_is_a_constant(kind):
    torch.manual_seed(0)
    model = KINDS[kind]().double().eval()
    x = X.clone().requires_grad_()
    y = model(x)
    u = torch.randn(y.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected,) = torch.autograd.grad((y * u).sum(), x)
    lin = fxscope.interpret(model, X, policy="taylor")
    assert distance(lin(X), y.detach()) < 1e-10
    assert distance(lin.F.T @ u, expected) < 1e-10


@pytest.mark.parametrize("frontend", ["auto", "symbolic", "export"])
def test_a_weight_that_every_call_changes_is_refused_by_name(frontend):
    model = (
        nn.Sequential(nn.Conv2d(3, 4, 1), parametrizations.spectral_norm(nn.Conv2d(4, 4, 1))).double().train()
    )
    before = {n: t.clone() for n, t in model.state_dict().items()}
    with pytest.raises(fxscope.errors.TraceFailure, match="1.parametrizations.weight"):
        fxscope.interpret(model, X, frontend=frontend)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert distance(fxscope.interpret(model.eval(), X).y0, model(X).detach()) < 1e-12


def test_the_weight_follows_its_parameters_and_the_model_stays_as_it_is():
    model = (
        nn.Sequential(
            nn.Conv2d(3, 4, 1),
            parametrizations.spectral_norm(nn.Conv2d(4, 4, 1)),
        )
        .double()
        .eval()
    )
    names = [set(m.__dict__) for m in model.modules()]
    pair = fxscope.transform(model)
    assert [set(m.__dict__) for m in model.modules()] == names
    with torch.no_grad():
        model[1].parametrizations.weight.original.mul_(
            torch.tensor(
                [1.0, 2.0, 3.0, 4.0],
                dtype=torch.float64,
            ).view(-1, 1, 1, 1)
        )
    assert distance(pair(X, X)[0], model(X)) < 1e-12
