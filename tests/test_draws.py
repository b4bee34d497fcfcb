"""One interpreter is one draw.

Every product of it is of the random numbers that the generators gave when it was made.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn
from zoo import CASES

import fxscope
from fxscope.errors import NotLocal, TraceFailure
from fxscope.graph.draws import draws
from fxscope.testing import laws

D = torch.float64
DRAWING = {c.name: c for c in CASES if c.draws}


def built(name):
    case = DRAWING[name]
    model, inputs = case.build(), case.inputs(torch.Generator().manual_seed(1))
    torch.manual_seed(3)
    return model, inputs[0]


def drawn(model, x):
    """The untouched model's output of the draw that the interpreter is of; its state is put back."""
    state = {n: b.clone() for n, b in model.named_buffers()}
    torch.manual_seed(3)
    with torch.no_grad():
        y = model(x)
    for n, b in model.named_buffers():
        b.copy_(state[n])
    return y


@pytest.mark.turns(3)
@pytest.mark.parametrize("memory", ["record", "recompute", "packed"])
@pytest.mark.parametrize("name", DRAWING)
def test_every_product_is_of_one_draw(name, memory):
    model, x0 = built(name)
    lin = fxscope.interpret(model, x0, memory=memory)
    torch.manual_seed(99)  # what happens to the generators afterwards does not matter
    y0 = lin.y0
    assert laws.distance(y0, drawn(model, x0)) < 1e-12
    F = lin.F.to_dense(progress=False)
    torch.manual_seed(100)
    assert laws.distance(lin.F.T.to_dense(progress=False), F.T) < 1e-12, "F.T is of another draw"
    assert laws.distance(F @ x0.flatten() + lin.residual.flatten(), y0.flatten()) < 1e-10
    assert laws.distance(lin(x0), y0) < 1e-10 and lin.error < 1e-10
    assert lin.gap(x0)["error"] < 1e-10 and lin.gap(x0)["changed"] == 0
    found = lin.contributions((0,) * (y0.dim() - 1))
    assert (
        found.error < 1e-10
        and laws.distance(torch.as_tensor(found.total).reshape(-1), y0.flatten(1)[:, 0]) < 1e-10
    )


@pytest.mark.parametrize("name", [n for n in DRAWING if not DRAWING[n].train])
def test_the_gap_at_another_point_is_of_the_same_draw(name):
    """Rows are right: the gap is |F x + r - f(x)| with f's draw that of F."""
    model, x0 = built(name)
    lin = fxscope.interpret(model, x0)
    x = x0 + 0.05 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(2), dtype=D)
    y = drawn(model, x)
    expected = ((lin(x) - y).norm() / y.norm()).item()
    assert abs(lin.gap(x)["error"] - expected) < 1e-12 + 1e-9 * expected


@pytest.mark.parametrize(
    "name", [n for n in DRAWING if not n.endswith(("NoiseOfItsOwn",)) and not DRAWING[n].train]
)
def test_the_forms_are_one_draw_under_one_seed(name):
    model, x0 = built(name)
    v = torch.randn(x0.shape, generator=torch.Generator().manual_seed(2), dtype=D)
    u = drawn(model, x0)

    def run(form, *given):
        graph = fxscope.transform(model, form, example_inputs=(x0,))
        torch.manual_seed(3)
        with torch.no_grad():
            return graph(*given)

    y0, y1 = run("pair", x0, v)
    linear, r = run("filter", x0, v), run("residual", x0)
    assert laws.distance(y0, u) < 1e-12 and laws.distance(y1, linear + r) < 1e-10
    left, right = (linear * u).sum(), (run("adjoint", x0, u) * v).sum()
    assert abs(left - right) < 1e-10 * (linear * u).abs().sum()
    assert laws.distance(run("row", x0, torch.zeros(len(x0), dtype=torch.int64))[0], u) < 1e-12


def test_two_interpreters_in_a_row_are_one_draw_and_a_seed_decides():
    model, x0 = built("state.MonteCarloDropout")
    first, second = fxscope.interpret(model, x0), fxscope.interpret(model, x0)
    torch.manual_seed(4)
    other = fxscope.interpret(model, x0)
    assert torch.equal(first.y0, second.y0) and not torch.equal(first.y0, other.y0)


def test_compare_reads_all_networks_under_one_draw():
    model, x0 = built("state.Sampled")
    found = fxscope.compare(x0[:1], ["freeze", "detach"], 2, model=model)
    assert (
        torch.equal(found.readings[0].row, found.readings[1].row)
        or found.readings[0].gap != found.readings[1].gap
    )
    assert all(r.gap < 1 for r in found.readings)


def test_discussions_are_of_the_interpreters_draw():
    model, x0 = built("state.MonteCarloDropout")
    lin = fxscope.interpret(model, x0)
    torch.manual_seed(50)
    found = lin.pixel_discussion([1, 3], progress=False)
    assert found.error < 1e-10 and laws.distance(found.scores, lin.y0[:, [1, 3]].T) < 1e-12


def test_a_draw_of_fixed_size_is_never_a_constant():
    model = DRAWING["state.NoiseOfItsOwn"].build()
    with pytest.raises(
        TraceFailure, match="(?s)draws random numbers that do not come from its input.*example_inputs"
    ):
        fxscope.transform(model)
    graph = fxscope.transform(model, "residual", example_inputs=(torch.randn(2, 6, dtype=D),))
    x0 = torch.randn(2, 6, dtype=D)
    assert not torch.equal(graph(x0), graph(x0))


class LayerDrop(nn.Module):
    """A decision drawn by Python's own generator."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x):
        h = torch.relu(self.a(x))
        return self.b(h) if random.random() < 0.5 else h


@pytest.mark.parametrize("seed", range(4))
def test_a_decision_drawn_by_python_is_that_of_the_state_at_the_call(seed):
    model, x0 = LayerDrop().double(), torch.randn(2, 6, dtype=D)
    random.seed(seed)
    lin = fxscope.interpret(model, x0)
    random.seed(seed)
    assert torch.equal(lin.y0, model(x0)) and lin.error < 1e-12


def test_a_crop_draws_other_numbers():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 3, padding=1)

        def forward(self, x):
            return torch.relu(self.conv(x) + torch.randn_like(x))

    with pytest.raises(NotLocal, match="randn_like"):
        fxscope.local_row(Noisy().double(), torch.randn(1, 1, 12, 12, dtype=D), (0, 6, 6))


@pytest.mark.parametrize("suffix", [".pt2", ".ts"])
def test_a_saved_file_is_checked_under_one_seed(tmp_path, suffix):
    model, x0 = built("state.MonteCarloDropout")
    graph = fxscope.transform(model, example_inputs=(x0,))
    assert fxscope.save(graph, tmp_path / f"pair{suffix}", (x0, x0)).ok


def test_which_nodes_draw_is_told_by_torch():
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    functional = torch.nn.functional
    drawing = [
        (torch.randn_like, ()),
        (functional.dropout2d, (0.5,)),
        (torch.bernoulli, ()),
        (torch.ops.aten.rand_like.default, ()),
        (functional.gumbel_softmax, ()),
    ]
    quiet = [
        (torch.relu, ()),
        (functional.dropout, (0.5, False)),
        (functional.rrelu, ()),
        (torch.zeros_like, ()),
        (functional.interpolate, (4,)),
    ]
    assert all(draws(graph.call_function(f, (x, *rest))) for f, rest in drawing)
    assert not any(draws(graph.call_function(f, (x, *rest))) for f, rest in quiet)
    assert draws(graph.call_method("normal_", (x,))) and not draws(graph.call_method("view", (x, -1)))


def test_numpy_and_python_go_on_where_they_were():
    model, x0 = LayerDrop().double(), torch.randn(2, 6, dtype=D)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    fxscope.interpret(model, x0).residual
    assert (
        random.getstate() == before[0]
        and np.random.get_state()[1].tolist() == before[1]
        and torch.equal(torch.get_rng_state(), before[2])
    )
