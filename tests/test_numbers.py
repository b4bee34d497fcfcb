"""Tensors without dimensions, of which torch takes dimension 0: F is autograd's Jacobian for K probes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope

D = torch.float64
FORMS = {
    "softmax": lambda s: s * 2 + torch.softmax(s, 0),
    "log_softmax": lambda s: s + F.log_softmax(s, -1),
    "logsumexp": lambda s: torch.logsumexp(s, 0),
    "logsumexp kept": lambda s: s.logsumexp(-1, keepdim=True),
    "squeeze": lambda s: s.squeeze(0),
    "squeeze several": lambda s: torch.squeeze(s, (0,)),
    "transpose": lambda s: s.transpose(0, -1),
    "cumsum": lambda s: torch.cumsum(s, 0),
    "cumprod": lambda s: s.cumprod(0),
    "sum": lambda s: s.sum(0),
    "mean": lambda s: torch.mean(s, -1),
    "largest": lambda s: torch.amax(s, 0),
    "gathered by a number": lambda s: torch.gather(s, 0, torch.tensor(0)),
    "gathered by a list": lambda s: torch.gather(s, 0, torch.tensor([0])),
    "index_select": lambda s: torch.ops.aten.index_select.default(s, 0, torch.tensor([0])),
    "unsqueeze": lambda s: s.unsqueeze(0),
    "flatten": lambda s: torch.flatten(s),
}


class OfNumber(nn.Module):
    """The mean of an image's squares goes through one operator."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        s = (x * x).mean()
        return x * 0.5 + self.form(s) * 3


@pytest.mark.turns(3)
@pytest.mark.parametrize("frontend", ["symbolic", "export"])
@pytest.mark.parametrize("form", FORMS, ids=FORMS)
def test_operators_that_name_the_dimension_of_a_number(form, frontend):
    torch.manual_seed(0)
    model, x0 = OfNumber(FORMS[form]), torch.randn(1, 2, 3, dtype=D)
    lin = fxscope.interpret(model, x0, policy="taylor", frontend=frontend)
    jacobian = torch.autograd.functional.jacobian(model, x0).reshape(6, 6)
    probes = torch.randn(3, 1, 2, 3, dtype=D)
    near = {"rtol": 0, "atol": 1e-12}
    flat = probes.reshape(3, 6)
    torch.testing.assert_close((lin.F @ probes).reshape(3, 6), flat @ jacobian.T, **near)
    torch.testing.assert_close((lin.F.T @ probes).reshape(3, 6), flat @ jacobian, **near)
    torch.testing.assert_close(lin.F @ x0 + lin.residual, model(x0), **near)
