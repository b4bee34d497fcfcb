"""Writes through views: each kind of view, each way to write, and a read afterwards, against the untouched model."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import AliasingWrite, FxscopeError, TraceFailure
from fxscope.testing import laws
from fxscope.transform import FRONTENDS

D = torch.float64
SHAPE = (2, 4, 6, 6)

# what is taken of h, and whether it is a view of it: True, False, or None where the graph alone does not tell
VIEWS = {
    "mT": (lambda h: h.mT, True),
    "transpose": (lambda h: h.transpose(1, -1), True),
    "swapdims": (lambda h: h.swapdims(1, 2), True),
    "swapaxes": (lambda h: torch.swapaxes(h, 1, 2), True),
    "moveaxis": (lambda h: h.moveaxis(1, -1), True),
    "movedim": (lambda h: torch.movedim(h, 3, 1), True),
    "permute": (lambda h: h.permute(0, 2, 3, 1), True),
    "diagonal": (lambda h: h.diagonal(0, 2, 3), True),
    "windows": (lambda h: h.unfold(2, 2, 3), True),
    "select": (lambda h: h.select(1, 2), True),
    "narrow": (lambda h: h.narrow(2, 1, 3), True),
    "index": (lambda h: h[:, 1:3, 2], True),
    "ellipsis": (lambda h: h[..., 1], True),
    "new axis": (lambda h: h[:, None, 1], True),
    "chunk": (lambda h: h.chunk(2, 1)[1], True),
    "split": (lambda h: torch.split(h, 2, 2)[1], True),
    "split by sizes": (lambda h: h.split([1, 3], 1)[1], True),
    "unbind": (lambda h: h.unbind(1)[2], True),
    "view": (lambda h: h.view(h.size(0), 24, 6), True),
    "unflatten": (lambda h: h.unflatten(1, (2, 2)), True),
    "squeeze": (lambda h: h.unsqueeze(1).squeeze(1), True),
    "view_as": (lambda h: h.view_as(h), True),
    "expand_as": (lambda h: h.expand_as(h), True),
    "alias": (lambda h: h[:], True),
    "dropout in eval": (lambda h: F.dropout(h, 0.5, False), True),
    "chain": (lambda h: h.transpose(1, 2)[:, 1:3].permute(0, 2, 1, 3), True),
    "clone": (lambda h: h.clone(), False),
    "to a copy": (lambda h: h.to(torch.float64, copy=True), False),
    "by a list": (lambda h: h[:, [0, 2]], False),
    "to": (lambda h: h.to(torch.float64), None),
    "double": (lambda h: h.double(), None),
    "type_as itself": (lambda h: h.type_as(h), True),
    "type_as": (lambda h: h.type_as(torch.cos(h)), None),
    "cpu": (lambda h: h.cpu(), None),
    "permute, contiguous": (lambda h: h.permute(0, 2, 3, 1).contiguous(), None),
    "permute, permute, contiguous": (lambda h: h.permute(0, 2, 3, 1).permute(0, 3, 1, 2).contiguous(), None),
    "transpose, reshape": (lambda h: h.transpose(1, 2).reshape(h.size(0), -1), None),
    # taken for contiguous, which the graph checks
    "contiguous": (lambda h: h.contiguous(), True),
    "reshape": (lambda h: h.reshape(h.size(0), -1), True),
    "flatten": (lambda h: h.flatten(1), True),
    "ravel": (lambda h: h.ravel(), True),
}


def doubled(v):
    v *= 2


def shifted(v):
    v.add_(torch.cos(v))


def filled(v):
    v[:1] = 0.25


def rectified(v):
    F.relu(v, True)


def through_out(v):
    torch.mul(v, v, out=v)


def clamped(v):
    torch.clamp_(v, -0.5, 0.5)


WRITES = [doubled, shifted, filled, rectified, through_out, clamped]


class Through(nn.Module):
    """A view is taken, one of the two is written, and both are read."""

    def __init__(self, view, write, where="view"):
        super().__init__()
        torch.manual_seed(0)
        self.view, self.write, self.where, self.conv = view, write, where, nn.Conv2d(2, 4, 3, padding=1)
        self.double().requires_grad_(False)

    def forward(self, x):
        h = self.conv(x)
        v = self.view(h)
        self.write(v if self.where == "view" else h)
        return h * 1.5, v.sin()


def photo(rng, *shape):
    return torch.randn(*(shape or (2, 2, 6, 6)), generator=rng, dtype=D)


def derivative(model, x0, v):
    """By autograd; where that refuses to write into one of several views (chunk, split, unbind), of torch's own functional form."""
    try:
        return torch.func.jvp(lambda x: model(x.clone()), (x0,), (v,))[1]
    except RuntimeError:
        return torch.func.jvp(torch.func.functionalize(lambda x: model(x.clone())), (x0,), (v,))[1]


def agrees(model, x0, v, transformed):
    """Laws 1 and 2, and under the policy "taylor" law 6."""
    pair, filter = transformed("pair"), transformed("filter")
    kept = x0.clone()
    expected = model(x0.clone())
    y0, y1 = pair(x0, x0)
    assert torch.equal(x0, kept), "x0 was written into"
    assert laws.distance(y0, expected) < 1e-12 and laws.distance(y1, y0) < 1e-12
    assert laws.distance(filter(x0, v), derivative(model, x0, v)) < 1e-9


@pytest.mark.parametrize("where", ["view", "base"])
@pytest.mark.parametrize("name", VIEWS)
def test_each_view(name, where, rng):
    view, shares = VIEWS[name]
    for write in WRITES[:1] if shares is not True else WRITES:
        model, x0, v = Through(view, write, where), photo(rng), photo(rng)
        agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor", example_inputs=(x0,)))
        if shares is None:
            with pytest.raises(AliasingWrite, match=r"(?s)test_aliasing.py.*example_inputs"):
                fxscope.transform(model)
        else:
            agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor"))


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_through_export(name, rng):
    view, _ = VIEWS[name]
    model, x0, v = Through(view, shifted), photo(rng), photo(rng)
    agrees(model, x0, v, lambda form: fxscope.transform(model, form, policy="taylor", example_inputs=(x0,), frontend="export"))
