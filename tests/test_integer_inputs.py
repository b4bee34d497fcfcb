"""Inputs of integers: the probe enters where they become floating, or it is refused; nothing is cut off."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, NotFloating
from fxscope.linop.spaces import Space


class Net(nn.Module):
    """A small network behind ``enter``, which makes integers floating."""

    def __init__(self, enter, dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1)).to(dtype)
        self.enter = enter

    def forward(self, x):
        return self.net(self.enter(x))


def pixels(seed=0):
    return torch.randint(
        0, 256, (2, 3, 6, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8
    )


CASTS = {
    "double": lambda x: x.double() / 255,
    "to": lambda x: x.to(torch.float64) / 255,
    "to, by name": lambda x: x.to(dtype=torch.float64).div(255),
    "type": lambda x: x.type(torch.float64) * (1 / 255),
    "behind a view": lambda x: x.flip(1).transpose(2, 3).double() / 255,
    "behind integer arithmetic": lambda x: (x // 2).double() / 127,
}


@pytest.mark.parametrize("name", CASTS)
@pytest.mark.parametrize("frontend", ["symbolic", "export"])
def test_the_probe_enters_at_the_cast(name, frontend):
    model, x = Net(CASTS[name]), pixels()
    lin = fxscope.interpret(model, x, frontend=frontend)
    assert lin.x.dtype == torch.float64 and lin.error < 1e-12
    index = (1, 2, 3)
    row, found = lin.F.row(index), lin.contributions(index)
    expected = _row(model, lin.x, name, index)
    assert row.dtype == torch.float64
    assert torch.allclose(row, expected, rtol=0, atol=1e-12)
    assert torch.allclose(found.total, model(x)[:, 1, 2, 3], rtol=0, atol=1e-12)
    assert torch.allclose(
        (row * lin.x).sum((1, 2, 3)) + lin.residual[:, 1, 2, 3], model(x)[:, 1, 2, 3], rtol=0, atol=1e-12
    )


def _row(model, value, name, index):
    """The gradient of the outputs at one index with respect to the value behind the cast."""
    factor = 127 if name == "behind integer arithmetic" else 255
    value = value.clone().requires_grad_()
    y = model.net(value / factor)[(slice(None), *index)].sum()
    return torch.autograd.grad(y, value)[0]


def test_the_numbers_of_pixels_over_255():
    model, x = Net(CASTS["double"]), pixels()
    lin = fxscope.interpret(model, x)
    as_floating = fxscope.interpret(model, x.double())
    assert torch.equal(lin.F.to_dense(), as_floating.F.to_dense())
    assert torch.allclose(lin.F.T @ model(x), as_floating.F.T @ model(x), rtol=0, atol=1e-14)
    assert lin.F.row((0, 1, 1)).abs().max() > 1e-5


@pytest.mark.parametrize("cast", [lambda x: x / 255, lambda x: x * (1 / 255), lambda x: torch.sqrt(x)])
def test_arithmetic_makes_integers_floating(cast):
    """True division, a product with a number, a root:
    their value is the first that is floating, of the default dtype.
    """
    model, x = Net(lambda x: cast(x).double()), pixels()
    lin = fxscope.interpret(model, x)
    assert lin.x.dtype == torch.float32 and torch.equal(lin.x, cast(x))
    expected = _row(nn.ModuleDict({"net": model.net}), 255 * lin.x.double(), "", (0, 1, 1)) * 255
    assert torch.allclose(
        lin.F.row((0, 1, 1)).double(), expected, rtol=0, atol=1e-6 * float(expected.abs().max())
    )
    assert lin.error < 1e-6


@pytest.mark.parametrize("emit", ["row", "argmax"])
def test_rows_of_emitted_graphs(emit):
    model, x = Net(CASTS["double"]), pixels()
    graph = fxscope.transform(model, emit, example_inputs=(x,))
    index = model(x).flatten(1).argmax(1)
    y0, *_, row, r = graph(x, index) if emit == "row" else graph(x)
    assert row.dtype == torch.float64
    sums = (row * x.double()).sum((1, 2, 3)) + r
    assert torch.allclose(sums, y0.flatten(1).gather(1, index[:, None])[:, 0], rtol=0, atol=1e-12)


FORMS = {
    "pair": lambda x, x1, y2, i: (x, x1),
    "filter": lambda x, x1, y2, i: (x, x1),
    "residual": lambda x, x1, y2, i: (x,),
    "adjoint": lambda x, x1, y2, i: (x, y2),
    "row": lambda x, x1, y2, i: (x, i),
    "argmax": lambda x, x1, y2, i: (x,),
    "record": lambda x, x1, y2, i: (x,),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_graph_without_an_example_refuses_integers(form):
    model, x = Net(CASTS["double"]), pixels()
    graph = fxscope.transform(model, form)
    rest = (x.double(), model(x), torch.tensor([1, 2]))
    graph(*FORMS[form](x.double(), *rest))
    with pytest.raises(AssertionError, match="example_inputs"):
        graph(*FORMS[form](x, *rest))


def test_a_cast_that_is_written_twice_is_one_value():
    model, x = Net(lambda x: (x.double() / 255).relu() + x.double().sigmoid()), pixels()
    lin = fxscope.interpret(model, x)
    assert (
        torch.equal(lin.F.to_dense(), fxscope.interpret(model, x.double()).F.to_dense()) and lin.error < 1e-12
    )


def test_a_decision_beside_the_cast_is_frozen():
    model, x = Net(lambda x: x.double() * (x > 99).double()), pixels()
    lin = fxscope.interpret(model, x)
    assert (
        torch.equal(lin.F.to_dense(), fxscope.interpret(model, x.double()).F.to_dense()) and lin.error < 1e-12
    )


@pytest.mark.parametrize(
    "enter",
    [
        lambda x: x.double() + (x // 2).double(),
        lambda x: x / 255.0 + x.float(),
        lambda x: torch.cat([x[:, :1].double(), x[:, 1:].double()], 1),
    ],
)
def test_several_places_are_refused_and_named(enter):
    with pytest.raises(NotFloating, match="2 places") as caught:
        fxscope.interpret(Net(lambda x: enter(x).double()), pixels())
    assert "inputs=" in str(caught.value) and "test_integer_inputs.py" in str(caught.value)


def test_one_of_several_places_can_be_named():
    model, x = Net(lambda x: x.double() + (x // 2).double()), pixels()
    lin = fxscope.interpret(model, x, inputs="double")
    assert lin.error < 1e-12 and torch.equal(lin.x, x.double())
    with pytest.raises(NotFloating, match="behind the cast"):
        fxscope.interpret(model, x, inputs="floordiv")


def test_complex_inputs_are_refused():
    class Complex(nn.Module):
        def forward(self, x):
            return torch.view_as_real(x * 2).flatten(1)

    x = torch.randn(2, 3, dtype=torch.complex128)
    with pytest.raises(NotFloating, match="view_as_real"):
        fxscope.interpret(Complex(), x)
    lin = fxscope.interpret(Complex(), x, inputs="view_as_real")
    assert lin.error < 1e-12


def test_a_space_of_integers_cannot_be():
    with pytest.raises(NotFloating):
        Space.of("x1", torch.zeros(2, 3, dtype=torch.int64), 2)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)]
)
def test_a_model_that_computes_wider_than_its_input(dtype, bound):
    """Rows are of the input's dtype, rounded to it; F to a dense matrix is of the outputs'."""
    model = Net(lambda x: x.double())
    x = pixels().to(dtype) / 256
    lin, exact = fxscope.interpret(model, x), fxscope.interpret(model, x.double())
    assert lin.y0.dtype == torch.float64 and lin.F.row((0, 1, 1)).dtype == dtype
    assert torch.allclose(lin.F.row((0, 1, 1)).double(), exact.F.row((0, 1, 1)), rtol=bound, atol=1e-6)
    assert torch.allclose(lin.F.columns([(0, 2, 2)])[0], exact.F.columns([(0, 2, 2)])[0], rtol=0, atol=1e-12)
    assert lin.error < bound


def test_the_error_is_that_of_the_rows_too():
    """A transpose that cuts values off shows in ``lin.error``, though F x0 + r is exact."""
    lin = fxscope.interpret(Net(lambda x: x.double()), pixels().double() / 255)
    pullback = lin.prepared.pullback
    lin.prepared.pullback = lambda state, y2: pullback(state, y2).trunc()
    assert lin.error > 1e-3


def test_every_refusal_is_an_error_of_fxscope():
    assert issubclass(NotFloating, FxscopeError) and issubclass(NotFloating, TypeError)
