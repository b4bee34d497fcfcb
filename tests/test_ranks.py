"""Ranks without an example: known and right, or refused with the node's name; never guessed."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import UnknownRank
from fxscope.testing import laws
from fxscope.testing.case import LawCase

IMAGE = (2, 4, 6, 5)


class Model(nn.Module):
    """A function of a convolution, with buffers of several ranks beside it."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.function = nn.Conv2d(4, 4, 1), function
        self.narrow = nn.Conv2d(4, 1, 1)
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("grid", torch.tensor([[2, 0], [1, 3]]))
        self.register_buffer("one", torch.tensor(2))
        self.register_buffer("some", torch.tensor([True, False, True, True]))
        self.register_buffer("scale", torch.rand(5))
        self.register_buffer("plane", torch.rand(6, 5))

    def forward(self, x):
        return self.function(self, self.conv(x))


# spellings that the graph alone tells: right without an example
KNOWN = {
    "an index of numbers": lambda m, h: h[:, m.order].std(1),
    "an index of numbers, and a norm": lambda m, h: h[:, m.order].norm(dim=1),
    "a table of numbers": lambda m, h: h[:, m.grid].std(1) * h.mean(1)[:, None],
    "a buffer of one number": lambda m, h: h[:, m.one].std(1),
    "a mask of one dimension": lambda m, h: h[:, m.some].std(1),
    "a list": lambda m, h: h[:, [0, 2]].var((1, 2)),
    "squeeze of keepdim": lambda m, h: h.mean(2, keepdim=True).squeeze(2).std(1),
    "squeeze of one channel": lambda m, h: m.narrow(h).squeeze(1).std(1),
    "squeeze of pooling": lambda m, h: F.adaptive_avg_pool2d(h, 1).squeeze(-1).squeeze(-1).std(1),
    "squeeze of unsqueeze": lambda m, h: h.unsqueeze(1).squeeze(1).norm(dim=1),
    "squeeze of None": lambda m, h: h[:, None].squeeze(1).norm(dim=1),
    "a comparison": lambda m, h: (h * (h > 0.1)).std(1),
    "a comparison of reductions": lambda m, h: (h.mean(1) * (h.sum(1) > 0.1)).std(1),
    "a computed constant": lambda m, h: (h.mean(1) + (m.scale * 2 - 1)).std(1),
    "a constant made in forward": (
        lambda m, h: (h.sum(1) * torch.linspace(0.0, 1.0, 5, dtype=torch.float64)).std(1)
    ),
    "zeros of the input's size": (
        lambda m, h: torch.cat([h.new_zeros(h.size(0), 1, h.size(2), h.size(3)), h], 1).std(1)
    ),
    "ones like": lambda m, h: (h.sum(1) - torch.ones_like(h).sum(1)).norm(dim=1),
    "an argmax as an index": lambda m, h: h.std(1) + F.one_hot(h.argmax(1), 4).sum(-1),
    "a plane": lambda m, h: (h.flatten(2).unflatten(2, (6, 5)) + m.plane).std(1),
    "a sort": lambda m, h: h.sort(1)[0][:, :2].std(1),
}
# spellings that only sizes would tell: refused without an example, right with one
UNKNOWN = {
    "squeeze that does nothing, and a deviation": lambda m, h: h.squeeze(2).std(1),
    "squeeze that does nothing, and a norm": lambda m, h: h.squeeze(2).norm(dim=1),
    "squeeze that does nothing, and a variance": lambda m, h: torch.squeeze(h, 1).var(1),
    "squeeze without a dimension": lambda m, h: h.squeeze().std(1),
    "squeeze of several": lambda m, h: h.squeeze((2, 3)).norm(dim=1),
    "squeeze, and a product whose gate it hides": lambda m, h: h * h.squeeze(2).mean(1, keepdim=True),
    "squeeze of a slice, and a maximum": lambda m, h: h[:, :, :1].squeeze(2).amax(1),
}


def check(model, x0, **options):
    s = LawCase.of(model, (x0,), **options)
    assert s.errors("law 3")["law 3"] < 1e-12
    reference = fxscope.interpret(model, x0)
    assert reference.error < 1e-12
    assert laws.distance(s.linear.unflatten(0, (s.K, -1)), reference.F @ s.probes[0]) < 1e-12
    tangent = LawCase.of(model, (x0,), policy="taylor").errors("law 6", "law 13 memory")
    assert max(tangent.values()) < 1e-9


@pytest.mark.parametrize("name", KNOWN)
def test_known_without_an_example(name, rng):
    model = Model(KNOWN[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    check(model, x0, free=True)


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_without_an_example(name, rng):
    model = Model(UNKNOWN[name]).double().eval()
    x0 = torch.randn(IMAGE, generator=rng, dtype=torch.float64)
    with pytest.raises(UnknownRank, match=r"squeeze.*example_inputs|example_inputs"):
        fxscope.transform(model, "filter")
    check(model, x0)
