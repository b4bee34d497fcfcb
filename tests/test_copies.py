"""Interpreters and emitted graphs are copied and pickled, and give the same values afterwards."""

from __future__ import annotations

import copy
import io
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from drawn import crossed
from torch import nn
from torchvision.models import squeezenet1_1
from zoo import CASES

import fxscope
from fxscope.emit import FORMS
from fxscope.errors import FxscopeError, StaleInterpreter
from fxscope.passes.outputs import tensors_of

FRESH = """
import pickle, sys, torch
sys.path.insert(0, sys.argv[1])
for read, written in zip(sys.argv[2::2], sys.argv[3::2]):
    lin, F, x1 = pickle.load(open(read, "rb"))
    torch.save([F.to_dense(), lin.F.T @ (lin.F @ x1)], written)
"""


def through_pickle(value):
    return pickle.loads(pickle.dumps(value))


def through_torch(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = [copy.deepcopy, through_pickle, through_torch]


def net() -> nn.Module:
    torch.manual_seed(0)
    return fxscope.testing.randomize(squeezenet1_1(weights=None, num_classes=4).double().eval(), image(4))


def image(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, 3, 40, 40, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def same(a, b) -> None:
    for one, two in zip(tensors_of(a), tensors_of(b), strict=True):
        assert torch.equal(one, two)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("form", "way"), crossed(FORMS, WAYS))
def test_an_emitted_graph(form, way):
    model, x = net(), image()
    graph = fxscope.transform(model, form, example_inputs=(x,))
    y0, state = fxscope.transform(model, "record")(x)
    index = torch.zeros(1, dtype=torch.int64)
    inputs = {
        "pair": (x, 2 * x),
        "filter": (x, x),
        "adjoint": (x, y0),
        "row": (x, index),
        "replay": (state, x),
        "pullback": (state, y0),
    }.get(form, (x,))
    same(way(graph)(*inputs), graph(*inputs))


@pytest.mark.turns(3)
@pytest.mark.parametrize(("memory", "way"), crossed(["record", "packed", "recompute"], WAYS))
def test_an_interpreter(memory, way):
    x = image()
    lin = fxscope.interpret(net(), x, memory=memory, policy="detach")
    other = way(lin)
    assert other.model is not lin.model and other.memory == memory and repr(other) == repr(lin)
    same(other.F @ x[0], lin.F @ x[0])
    same(other.F.row((2,)), lin.F.row((2,)))
    same(other.residual, lin.residual)
    assert other.contributions((1,)).total == lin.contributions((1,)).total
    with torch.no_grad():
        other.model.features[0].weight.zero_()
    same(lin.F.row((2,)), way(lin).F.row((2,)))  # the copy's weights are its own
    with pytest.raises(StaleInterpreter):
        other.F.row((2,))


def test_a_copy_of_a_network_that_draws_has_the_same_draw():
    x = torch.randn(2, 6, dtype=torch.float64)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 3)).double().train()
    lin = fxscope.interpret(model, x)
    torch.rand(3)
    for way in WAYS:
        same(way(lin).F.to_dense(), lin.F.to_dense())
        same(way(lin).y0, lin.y0)


@pytest.mark.full
def test_in_a_fresh_process(tmp_path):
    names = ("outputs.ADataclass", "outputs.BestTwo", "outputs.NoneAmongThem")
    made, files = [], []
    for case in (c for c in CASES if c.name in names):
        (x,) = case.inputs(torch.Generator().manual_seed(0))
        lin = fxscope.interpret(case.build(), x)
        made.append((lin, x))
        files += [tmp_path / f"{case.name}.in", tmp_path / f"{case.name}.out"]
        files[-2].write_bytes(pickle.dumps((lin, lin.F.T, x)))
    assert len(made) == len(names)
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", FRESH, here, *map(str, files)], check=True)
    for (lin, x), written in zip(made, files[1::2], strict=True):
        transposed, product = torch.load(written, weights_only=False)
        same(transposed, lin.F.T.to_dense())
        same(product, lin.F.T @ (lin.F @ x))


@pytest.mark.turns(3)
@pytest.mark.parametrize("way", WAYS)
def test_a_reader(way):
    x = image()
    reader = fxscope.prepare(net(), x, policy="taylor")
    other = way(reader)
    assert other.model is not reader.model and other.policy == "taylor"
    same(other(2 * x).F.row((1,)), reader(2 * x).F.row((1,)))


def test_weights_that_changed_are_not_copied():
    x, model = image(), net()
    lin = fxscope.interpret(model, x)
    with torch.no_grad():
        model.features[0].weight.mul_(2)
    for way in WAYS:
        with pytest.raises(StaleInterpreter, match="features.0.weight"):
            way(lin)


def test_operators_that_are_computed_say_what_to_pickle():
    lin = fxscope.interpret(net(), image())
    assert copy.deepcopy(2 * lin.F) is not None and copy.deepcopy(lin.F) is lin.F
    with pytest.raises(TypeError, match="pickle lin"):
        pickle.dumps(lin.F + lin.F)


def test_a_pickled_graph_has_lost_its_notes_and_is_not_saved(tmp_path):
    x = image()
    graph = through_pickle(fxscope.transform(net(), example_inputs=(x,)))
    with pytest.raises(FxscopeError, match="fxscope.transform"):
        fxscope.save(graph, tmp_path / "graph.pt2", (x, x))
