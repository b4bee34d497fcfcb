"""Emitted graphs called with what they do not take: one paragraph with what was expected, given and held."""

from __future__ import annotations

import copy
import pickle
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import fxscope
from fxscope.emit import FORMS
from fxscope.errors import FxscopeError, ModelFails, ShapeError, WrongInput
from fxscope.passes.outputs import tensors_of


def net() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    return nn.Sequential(*layers).double().eval()


def image(*shape: int) -> torch.Tensor:
    shape = shape or (2, 1, 8, 8)
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


KINDS = (None, "nonsense", 3, [[1.0]])
IMAGES = (
    *KINDS,
    image().numpy(),
    image().to_sparse(),
    image(0, 1, 8, 8),
    torch.tensor(1.0),
    image().float(),
    image().long(),
    image(2, 3, 8, 8),
    image(2, 1, 6, 6),
    image(1, 8, 8),
)
SCORES = (*KINDS, image(2, 3).numpy(), image(2, 3).float(), image(2, 4), image(3), image(3, 3), image(0, 3))
PLACES = (*KINDS, torch.zeros(2), torch.full((2,), 7), torch.full((2,), -1), torch.zeros(3).long())
STATES = (None, "nonsense", image(), (), (image(),), (None,) * 9)
WRONG = {"x0": IMAGES, "x1": IMAGES, "y2": SCORES, "index": PLACES, "state": STATES}


def right(form: str) -> dict[str, Any]:
    """The arguments that a form takes, by name."""
    x0 = image()
    y0, state = fxscope.transform(net(), "record")(x0)
    index = torch.zeros(2, dtype=torch.int64)
    given = {"x0": x0, "x1": 2 * x0, "y2": y0.detach(), "index": index, "state": state}
    names = {"pair": "x0 x1", "filter": "x0 x1", "adjoint": "x0 y2", "row": "x0 index"}
    names |= {"replay": "state x1", "pullback": "state y2"}
    return {name: given[name] for name in names.get(form, "x0").split()}


@pytest.mark.parametrize("form", FORMS)
def test_wrong_inputs(form, capfd):
    graph, given = fxscope.transform(net(), form), right(form)
    graph(**given)
    for name in given:
        for value in WRONG[name]:
            with pytest.raises(FxscopeError) as caught:
                graph(**{**given, name: value})
            text = str(caught.value)
            assert len(text) > 40 and "\n" not in text and name in text, text
    for args in ((), (*given.values(), image())):
        with pytest.raises(TypeError, match=rf"the {form} graph takes \({', '.join(given)}\)"):
            graph(*args)
    assert capfd.readouterr().err == ""


def test_probes_of_another_batch_and_none_at_all():
    graph = fxscope.transform(net())
    for x1, said in ((image(3, 1, 8, 8), "multiple"), (image(0, 1, 8, 8), "one probe at least")):
        with pytest.raises(WrongInput, match=said):
            graph(image(), x1)
    stacked = fxscope.transform(net(), probes="stacked")
    with pytest.raises(WrongInput, match=r"\(K, B, ...\)"):
        stacked(image(), image())


def test_what_is_wrong_says_what_the_weights_are():
    with pytest.raises(ModelFails, match=r"weights are torch.float64 on cpu.*It takes x0"):
        fxscope.transform(net(), "residual")(image().float())
    with pytest.raises(ModelFails, match="positions in the flattened output"):
        fxscope.transform(net(), "row")(image(), torch.full((2,), 7))


def test_integers_without_an_example():
    with pytest.raises(WrongInput, match="x0 must be real floating.*example_inputs"):
        fxscope.transform(net())(image().long(), image())


@pytest.mark.turns(3)
@pytest.mark.parametrize("form", FORMS)
def test_copies_check_and_other_forms_keep_the_graph(form):
    graph, given = fxscope.transform(net(), form), right(form)
    expected = tensors_of(graph(**given))
    other = copy.deepcopy(graph)
    assert repr(copy.deepcopy(other)) == repr(graph) and type(net()).__name__ in repr(graph)
    with pytest.raises(ShapeError):
        other(**{**given, next(iter(given)): None})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(graph)
    compiled = torch.compile(graph, backend="eager")
    args = [list(v) if isinstance(v, tuple) else v for v in given.values()]
    for same in (other, scripted, compiled, pickle.loads(pickle.dumps(graph))):
        for one, two in zip(tensors_of(same(*args)), expected, strict=True):
            assert torch.equal(one, two)


def test_a_traced_call_is_not_judged():
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.scope = fxscope.transform(net())

        def forward(self, x):
            return self.scope(x, x)[1]

    outer = Outer()
    traced = torch.fx.symbolic_trace(outer)
    assert torch.equal(traced(image()), outer(image()))


@pytest.mark.parametrize("suffix", ["ts", "pt2"])
def test_saved_files_say_what_they_take(tmp_path, suffix):
    x0 = image()
    path = tmp_path / f"graph.{suffix}"
    fxscope.save(fxscope.transform(net()), path, (x0, x0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(path) if suffix == "ts" else torch.export.load(path).module()
    loaded(x0, image(6, 1, 8, 8))
    for x1 in (image(2, 1, 6, 8), image(3, 1, 8, 8), image(2, 8, 8)):
        with pytest.raises(Exception, match="x1"):
            loaded(x0, x1)
