"""Many rows and columns through the narrowest place of a network: F = A B, for the passes of its width."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import StaleInterpreter
from fxscope.linop import narrow
from fxscope.testing import randomize

D = torch.float64


class Classifier(nn.Module):
    def __init__(self, labels=60):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3), nn.BatchNorm2d(7), nn.ReLU()
        )
        self.last = nn.Linear(7, labels)

    def forward(self, x):
        return self.last(self.features(x).mean((2, 3)))


class Bottleneck(nn.Module):
    """An image of 5 numbers, and an image again."""

    def __init__(self):
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(2, 6, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(294, 5))
        self.up = nn.Sequential(nn.Linear(5, 294), nn.ReLU())
        self.last = nn.ConvTranspose2d(6, 2, 4, 2)

    def forward(self, x):
        return self.last(self.up(torch.tanh(self.down(x))).unflatten(1, (6, 7, 7)))


class TwoHeads(Classifier):
    """Two outputs of one place, one of them a number beside a frozen one."""

    def forward(self, x):
        h = self.features(x).mean((2, 3))
        return {"scores": self.last(h), "sum": h.sum(1, keepdim=True), "signs": torch.sign(h)}


class Cast(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model(x.float()).double()


class Around(Bottleneck):
    """A skip connection around the narrow place: there is no cut."""

    def forward(self, x):
        return super().forward(x) + 0.1 * x


CASES = {"classifier": Classifier, "bottleneck": Bottleneck, "two heads": TwoHeads}


def made(name, batch=1):
    torch.manual_seed(0)
    model = CASES.get(name, Around)().to(D).eval()
    x0 = torch.randn(batch, 2, 16, 16, dtype=D)
    return randomize(model, x0), x0


@pytest.fixture
def one_by_one(monkeypatch):
    """The same products without factors."""

    def without(lin, ask):
        with monkeypatch.context() as m:
            m.setattr(narrow, "WORTH", 0.0)
            return ask(lin.F)

    return without


@pytest.mark.turns(3)
@pytest.mark.parametrize("memory", ["record", "packed", "recompute"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", CASES)
def test_the_same_products(name, batch, memory, one_by_one):
    model, x0 = made(name, batch)
    lin = fxscope.interpret(model, x0, memory=memory)
    v = torch.randn(90, *lin.F.inputs.shapes[0], dtype=D)
    like = [torch.randn(90, *s, dtype=D) for s in lin.F.outputs.shapes]
    u = lin.F.outputs.build(like)
    assert lin.F._narrow(90, False) is not None
    for ask in (lambda F: F @ v, lambda F: F.T @ u, lambda F: (3 * F) @ v, lambda F: F.T.T @ v):
        got, expected = ask(lin.F), one_by_one(lin, ask)
        for a, b in zip(*(torch.utils._pytree.tree_leaves(y) for y in (got, expected))):
            assert a.shape == b.shape and torch.allclose(a, b, rtol=0, atol=1e-12 * float(b.abs().max() + 1))


@pytest.mark.parametrize("name", CASES)
def test_rows_dense_and_iterated(name, one_by_one):
    lin = fxscope.interpret(*made(name))
    key = ("scores",) if name == "two heads" else ()
    shape = lin.F.outputs.shapes[list(lin.F.outputs.keys).index("scores") if key else 0]
    indices = [(*key, *place) for place in torch.ones(shape).nonzero().tolist()][:60]
    rows = lin.F.rows(indices, progress=False)
    apart = torch.stack([lin.F.row(i) for i in indices])
    assert torch.allclose(rows, apart, rtol=0, atol=1e-12)
    again = torch.stack([row for _, row in lin.F.iter_rows(indices, chunk=7, progress=False)])
    assert torch.allclose(again, apart, rtol=0, atol=1e-12)
    dense = lin.F.to_dense(progress=False)
    plain = one_by_one(lin, lambda F: F.to_dense(progress=False))
    assert dense.shape == lin.F.shape and torch.allclose(dense, plain, rtol=0, atol=1e-12)


def test_it_takes_the_passes_of_the_narrow_side(monkeypatch):
    lin = fxscope.interpret(*made("classifier"))
    whole, part = [], []
    body_graph = lin.prepared.cut.graphs[0]
    pullback, body = lin.prepared.pullback.forward, body_graph.forward
    monkeypatch.setattr(lin.prepared.pullback, "forward", lambda s, y: whole.append(len(y)) or pullback(s, y))
    monkeypatch.setattr(body_graph, "forward", lambda s, y: part.append(len(y)) or body(s, y))
    lin.F.rows([(i,) for i in range(60)], progress=False)
    assert not whole and sum(part) == 7
    lin.F.rows([(i,) for i in range(5)], progress=False)
    assert sum(whole) == 5 and sum(part) == 7


def test_a_network_that_casts():
    """Its ends and its cut are of several dtypes: one product after another."""
    model, x0 = made("classifier")
    lin = fxscope.interpret(Cast(model.float()), x0)
    assert lin.F.to_dense(progress=False).shape == (60, 512) and lin.error < 1e-5


def test_a_path_around_the_narrow_place():
    lin = fxscope.interpret(*made("around"))
    assert lin.prepared.cut is None and lin.F._narrow(10**6, False) is None


def test_other_sizes_than_those_of_the_example(one_by_one):
    model, x0 = made("classifier")
    reader = fxscope.prepare(model, x0)
    lin = reader(torch.randn(1, 2, 20, 14, dtype=D))
    assert lin.F._narrow(10**6, False) is None
    assert lin.F.to_dense(progress=False).shape == (60, 560)


def test_weights_that_change():
    model, x0 = made("classifier")
    lin = fxscope.interpret(model, x0)
    with torch.no_grad():
        model.last.weight.mul_(2)
    with pytest.raises(StaleInterpreter):
        lin.F.to_dense(progress=False)
