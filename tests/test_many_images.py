"""Loops over images: numbers of interpreters made anew, graphs made once, nothing kept of an image."""

from __future__ import annotations

import gc
import json
import weakref

import pytest
import torch
from torch import nn

import fxscope
from fxscope.analysis import layer_contributions, residual_share
from fxscope.errors import WrongArgument
from fxscope.linop import reader as linop_reader
from fxscope.paper.tour.networks import Network
from fxscope.paper.tour.report import parts_of
from fxscope.testing import randomize

D = torch.float64


def classifier(seed=0):
    """Folded batch norm, a mask, an index, a factor; five scores."""
    torch.manual_seed(seed)
    layers = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(4, 4, 3), nn.GELU(), nn.Flatten(), nn.Linear(64, 5)]
    model = nn.Sequential(*layers).double().eval()
    return randomize(model, torch.randn(4, 2, 12, 12, dtype=D))


def images(count, seed=1, side=12):
    return torch.randn(count, 2, side, side, dtype=D, generator=torch.Generator().manual_seed(seed))


def refused(lin):
    with pytest.raises(fxscope.errors.PlaceIndexError):
        lin.F.row((9, 9))


USES = {
    "nothing": lambda lin: None,
    "products": lambda lin: (lin.F.row(1), lin.F.T @ torch.ones(5, dtype=D), lin(lin.x0[0])),
    "residual": lambda lin: (lin.residual, lin.error, lin.gap(lin.x0 * 1.01), lin.nbytes),
    "contributions": lambda lin: (lin.contributions(2), lin.contributions(2).elementwise()),
    "pixels": lambda lin: (lin.pixel_discussion([1], progress=False), lin.pixel_votes(progress=False)),
    "records": lambda lin: (lin.F.filters(rows=[0, 3]), lin.F.svd(2, progress=False)),
    "operators": lambda lin: ((2 * lin.F - lin.F).row(0), lin.F.T.T.row(0)),
    "errors": refused,
}


@pytest.mark.turns(4)
@pytest.mark.parametrize("memory", ["record", "packed", "recompute"])
@pytest.mark.parametrize("use", USES)
def test_an_interpreter_is_freed_with_its_last_name(use, memory):
    """Not only when Python looks for cycles: a loop would hold the states of many images until then."""
    reader = fxscope.prepare(classifier(), images(1), memory=memory)
    USES[use](reader(images(1)))  # what is imported and emitted at the first use
    gc.collect()
    gc.disable()
    try:
        lin = reader(images(1, 2))
        USES[use](lin)
        held = [weakref.ref(lin), *(weakref.ref(s) for s in lin._kept.tensors() if s.dtype != D)]
        assert memory == "recompute" or len(held) > 2
        del lin
        assert [each for each in held if each() is not None] == []
    finally:
        gc.enable()


def test_an_operator_keeps_its_interpreter():
    model, x0 = classifier(), images(1)
    F = fxscope.interpret(model, x0).F
    gc.collect()
    assert torch.equal(F.row(3), fxscope.interpret(model, x0).F.row(3))
    lin = fxscope.interpret(model, x0)
    F = lin.F
    assert lin.F is F and lin.F.T.shape == F.shape[::-1]
    with pytest.raises(AttributeError):
        F.chunk = 3  # it would be lost with this operator


LOOPS = {
    "dropped": lambda reader, lin, xs: [reader(x).F.row(1) for x in xs],
    "out": lambda reader, lin, xs: [reader(x, out=lin).contributions(1).total for x in xs],
    "rows": lambda reader, lin, xs: [reader.rows(x.expand(3, -1, -1, -1), [0, 1, 2]) for x in xs],
    "contributions": lambda reader, lin, xs: [reader.contributions(x, 2) for x in xs],
    "discussion": lambda reader, lin, xs: [reader(x).pixel_discussion([1], progress=False) for x in xs],
    "layers": lambda reader, lin, xs: layer_contributions(reader, torch.cat(xs), batch=4, progress=False),
    "shares": lambda reader, lin, xs: residual_share(reader.model, list(zip("abcdefghijkl", xs)), batch=4),
}


@pytest.mark.turns(8)
@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_kept_of_an_image(loop):
    """As many objects after three dozen images as after two; torch.fx keeps the text of a graph."""
    reader = fxscope.prepare(classifier(), images(1))
    lin = reader(images(1))

    def objects():
        gc.collect()
        found = gc.get_objects()
        return len(found), sum(issubclass(type(each), torch.Tensor) for each in found)

    counts = []
    for seed in range(3):
        LOOPS[loop](reader, lin, images(12, seed).split(1))
        counts.append(objects())
    assert counts[2][1] == counts[1][1] and counts[2][0] - counts[1][0] < 12


@pytest.fixture
def programs(monkeypatch):
    """The networks of which a reader makes graphs, one entry each time."""
    made, make = [], linop_reader.program_of
    monkeypatch.setattr(linop_reader, "program_of", lambda m, **k: made.append(m) or make(m, **k))
    return made


def test_layer_contributions_are_those_of_interpreters_made_anew(programs):
    model, x0 = classifier(), images(7)
    found = layer_contributions(model, x0, batch=3, progress=False)
    assert len(programs) == 1
    reader = fxscope.prepare(model, x0[:3])
    again = layer_contributions(reader, x0, batch=3, progress=False)
    assert len(programs) == 2 and torch.equal(again.values, found.values)
    for i, x in enumerate(x0.split(1)):
        lin = fxscope.interpret(model, x)
        parts = lin.contributions(int(lin.y0.argmax()))
        each = {}
        for term in parts.terms:
            each[term.layer] = each.get(term.layer, 0) + term.value
        assert tuple(each) == found.names and int(lin.y0.argmax()) == found.labels[i]
        expected = torch.tensor([parts.linear, *each.values(), parts.output], dtype=D)
        got = torch.cat([found.linear[i : i + 1], found.values[i], found.output[i : i + 1]])
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_layer_contributions_of_a_network_without_constants():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(288, 3, bias=False)).double()
    found = layer_contributions(model, images(3), batch=2, progress=False)
    assert found.names == () and found.values.shape == (3, 0) and found.error < 1e-12


def test_a_reader_has_its_own_policy():
    model, x0 = classifier(), images(2)
    reader = fxscope.prepare(model, x0, policy="taylor")
    found = layer_contributions(reader, x0, progress=False)
    expected = layer_contributions(model, x0, policy="taylor", progress=False)
    assert torch.equal(found.values, expected.values)
    with pytest.raises(WrongArgument, match="policy taylor"):
        layer_contributions(reader, x0, policy="freeze", progress=False)


def test_residual_shares_are_those_of_interpreters_made_anew():
    model, x0 = classifier(), images(7)
    given = [(str(i), x) for i, x in enumerate(x0.split(1))]
    found = residual_share(model, given, batch=3, progress=False).models[0]
    for name, x in given:
        lin = fxscope.interpret(model, x)
        k = int(lin.y0.argmax())
        assert found.labels[name] == k
        assert abs(found.shares[name] - float(lin.residual[0, k] / lin.y0[0, k])) < 1e-12


def test_discussions_and_votes_of_a_reader_are_those_of_interpreters_made_anew():
    model = classifier()
    reader = fxscope.prepare(model, images(1))
    for x0 in (*images(3).split(1), images(2, 5), images(1, 6, side=14)[..., :12, :12]):
        lin, fresh = reader(x0), fxscope.interpret(model, x0)
        for reading in ("weighted", "per-layer", "literal"):
            a, b = (
                each.pixel_discussion([1, 3], reading=reading, condition=1e12, progress=False)
                for each in (lin, fresh)
            )
            assert torch.equal(a.images, b.images) and a.added == b.added
        a, b = (each.pixel_votes(progress=False) for each in (lin, fresh))
        assert torch.equal(a.winners, b.winners) and torch.equal(a.highest, b.highest)
    parts = [reader(x0).prepared.once("projections", dict) for x0 in images(2).split(1)]
    assert parts[0] is parts[1]


def test_a_report_makes_the_graphs_of_a_network_once(programs):
    model = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 49, 6)).eval()
    given = fxscope.Preprocess(size=16, resize="cover", crop="center", mean=0.5, std=0.25)
    network = Network("small", model, given, "drawn")
    torch.manual_seed(1)
    pictures = [(f"{i}.png", torch.rand(3, 20, 24)) for i in range(3)]

    def numbers_of(some):
        return {key: v for make in parts_of(network, some).values() for key, v in make().numbers.items()}

    together = numbers_of(pictures)
    assert programs.count(model) == 2  # one for the pictures, one for all of them in batches
    for title, picture in pictures:
        alone = numbers_of([(title, picture)])
        assert json.dumps(alone[title], default=str) == json.dumps(together[title], default=str)


def test_a_state_of_residual_shares_survives_an_interruption(tmp_path):
    model, state = classifier(), tmp_path / "state.json"
    given = [(str(i), x) for i, x in enumerate(images(8).split(1))]

    def stopped():
        yield from given[:5]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        residual_share(model, stopped(), state, batch=2, progress=False)
    read = []
    whole = residual_share(
        model, ((name, read.append(name) or x) for name, x in given), state, batch=2, progress=False
    )
    lines = [json.loads(line) for line in state.read_text().splitlines()]  # one a batch
    kept = [
        (key, name) for line in lines for key in line if key.startswith("Sequential") for name in line[key]
    ]
    assert len({key for key, _ in kept}) == 1 and sorted(name for _, name in kept) == [n for n, _ in given]
    assert whole.models[0].shares.keys() == {name for name, _ in given}
    fresh = residual_share(model, given, batch=2, progress=False)
    assert {n: pytest.approx(v, abs=1e-12) for n, v in fresh.models[0].shares.items()} == whole.models[
        0
    ].shares


def test_residual_share_leaves_the_model_and_the_random_state():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(288, 4)

        def forward(self, x):
            return self.layer(x.flatten(1)).relu() + torch.rand_like(x[:, 0, 0, :4])

    torch.manual_seed(0)
    model = Draws().double()
    state = torch.get_rng_state()
    residual_share(model, [("a", images(1))], progress=False)
    assert torch.equal(torch.get_rng_state(), state)


def test_out_takes_over_the_constants_of_another_kind_of_call():
    class Two(nn.Module):
        def forward(self, x, number=1):
            constant = torch.ones(x.shape[0], 2, dtype=x.dtype)
            return (x.relu(), constant) if number == 1 else (constant, x.relu())

    x0 = torch.randn(1, 4, dtype=D)
    reader = fxscope.prepare(Two(), x0)
    lin = reader(x0)
    assert lin.constant_outputs == fxscope.interpret(Two(), x0).constant_outputs
    lin = reader(x0, number=2, out=lin)
    assert lin.constant_outputs == fxscope.interpret(Two(), x0, number=2).constant_outputs
