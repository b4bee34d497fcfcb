"""Outputs that do not depend on the probe, beside others that do.

And outputs that are no floating tensors.
"""

from __future__ import annotations

import logging
from collections import namedtuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.emit.pipeline import program_of
from fxscope.errors import NoLinearPath, PlaceIndexError
from fxscope.testing.case import LawCase
from fxscope.testing.derivative import law_6

Scored = namedtuple("Scored", ["label", "probabilities", "logits"])


class Net(nn.Module):
    """Logits, and what ``outputs`` makes of them and of the input."""

    def __init__(self, outputs):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.outputs = nn.Linear(5, 6).double(), nn.Linear(6, 3).double(), outputs

    def forward(self, x):
        return self.outputs(x, self.b(torch.relu(self.a(x))))


def x0(B=2):
    return torch.randn(B, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


BESIDE = {
    "a dict": (lambda x, z: {"logits": z, "p": z.softmax(1)}, "logits", "p"),
    "a tuple": (lambda x, z: (F.softmax(z, dim=-1), z), 1, 0),
    "a named tuple": (lambda x, z: Scored(z.argmax(1), torch.softmax(z, 1), z), "logits", "probabilities"),
    "a list": (lambda x, z: [z, z.round(), z > 0], 0, 1),
    "detached": (lambda x, z: (z, (2 * z).detach()), 0, 1),
    "nested": (lambda x, z: {"main": z, "aux": (z.sign(), z.argmax(1))}, "main", ("aux", 0)),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("B", [1, 2])
def test_a_constant_output_is_named_and_has_no_rows(name, B):
    outputs, linear, constant = BESIDE[name]
    model, x = Net(outputs), x0(B)
    lin = fxscope.interpret(model, x)
    assert lin.constant_outputs == (constant,) and repr(constant) in repr(lin)
    key = constant if isinstance(constant, tuple) else (constant,)
    with pytest.raises(NoLinearPath, match="test_frozen_outputs.py") as caught:
        lin.F.row((*key, 1))
    assert "outputs=" in str(caught.value) and "taylor" in str(caught.value)
    alone = fxscope.interpret(Net(lambda x, z: z), x)
    assert torch.allclose(lin.F.row((linear, 1)), alone.F.row((1,)), rtol=0, atol=1e-12)
    assert torch.allclose(
        lin.F.rows([(linear, 0), (linear, 2)]), alone.F.rows([(0,), (2,)]), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("B", [1, 2])
def test_contributions_sum_to_every_output(name, B):
    outputs, linear, constant = BESIDE[name]
    lin = fxscope.interpret(Net(outputs), x0(B))
    for key in (linear, constant):
        found = lin.contributions((*(key if isinstance(key, tuple) else (key,)), 2))
        assert torch.allclose(torch.as_tensor(found.total), torch.as_tensor(found.output), rtol=0, atol=1e-12)
        assert any(term.kind == "frozen" for term in found.terms) == (key == constant)
        elementwise = sum(value.flatten(1).sum(1) for value in found.elementwise().values())
        assert torch.allclose(
            elementwise, torch.as_tensor(found.residual, dtype=torch.float64).reshape(-1), atol=1e-12
        )
    assert found.linear is not None and torch.as_tensor(found.linear).abs().max() == 0


def test_the_output_that_a_tap_leaves_behind():
    """``{"a": relu(z), "b": 2 * x}``, probed at the product: a is a constant."""
    model = Net(lambda x, z: {"a": torch.relu(z + 5), "b": 2 * x})
    x = x0(1)
    lin = fxscope.interpret(model, x, inputs="mul")
    found = lin.contributions(("a", 0))
    assert found.output == pytest.approx(model(x)["a"][0, 0].item(), abs=1e-14) and found.output > 1
    assert found.total == found.output and [(t.kind, t.rule) for t in found.terms] == [("frozen", "relu")]
    assert found.by_layer() == {"relu_1": found.output}
    other = lin.contributions(("b", 0))
    assert other.total == pytest.approx(other.output, abs=1e-14) and not other.terms


@pytest.mark.parametrize("name", BESIDE)
def test_y1_has_the_constant_output_of_x0(name):
    """lin(x1), the residual and the pair: F is 0 there, and r all of it.

    Integers and booleans are those of x0.
    """
    outputs, _, constant = BESIDE[name]
    model, x = Net(outputs), x0()
    lin, x1 = fxscope.interpret(model, x), x0() + 1
    y0, y1, again = model(x), lin(x1), lin(torch.stack([x1, x]))
    pair = fxscope.transform(model, example_inputs=(x,))(x, x1)[1]
    for expected, one, two, _r, given in zip(*map(_leaves, (y0, y1, again, lin.residual, pair)), strict=True):
        if not expected.is_floating_point():
            assert (
                torch.equal(one, expected) and torch.equal(two[1], expected) and torch.equal(given, expected)
            )
            continue
        assert torch.allclose(two[1], expected, rtol=0, atol=1e-12) and torch.allclose(
            two[0], one, rtol=0, atol=1e-12
        )
        assert torch.allclose(given, one, rtol=0, atol=1e-12)
    at = constant if isinstance(constant, tuple) else (constant,)
    assert torch.equal(_at(lin.residual, at), _at(y0, at)) and torch.equal(_at(y1, at), _at(y0, at))


def _leaves(value):
    values = value.values() if isinstance(value, dict) else value
    return [value] if isinstance(value, torch.Tensor) else [leaf for v in values for leaf in _leaves(v)]


def _at(value, keys):
    for key in keys:
        value = getattr(value, key) if isinstance(key, str) and not isinstance(value, dict) else value[key]
    return value


@pytest.mark.parametrize("name", ["a dict", "a tuple", "a named tuple"])
def test_policy_taylor_makes_it_linear(name):
    outputs, _, constant = BESIDE[name]
    model, x = Net(outputs), x0(1)
    lin = fxscope.interpret(model, x, policy="taylor")
    assert lin.constant_outputs == ()
    expected = torch.autograd.functional.jacobian(lambda x: _at(model(x), (constant,)), x)[0, 1, 0]
    assert torch.allclose(lin.F.row((constant, 1)), expected, rtol=0, atol=1e-12)


def test_integers_are_none_of_F():
    model, x = Net(lambda x, z: (z.argmax(1), {"z": z, "n": x.shape[1]}, z > 0)), x0()
    lin = fxscope.interpret(model, x)
    assert lin.F.shape == (6, 10) and lin.constant_outputs == ()
    labels, parts, mask = lin.F @ x
    assert labels == () and mask == () and parts["n"] == () and parts["z"].shape == (2, 3)
    assert torch.allclose(lin.F.T @ model(x), lin.F.T @ ((), {"z": model(x)[1]["z"], "n": ()}, ()))
    assert lin(x)[1]["n"] == 5 and torch.equal(lin(x)[0], model(x)[0])
    assert lin.F.row((1,)).shape == (2, 5)
    with pytest.raises(PlaceIndexError):
        lin.F.row(("labels", 1))


def test_a_key_of_the_one_floating_output():
    lin = fxscope.interpret(Net(lambda x, z: {"label": z.argmax(1), "logits": z}), x0())
    assert torch.equal(lin.F.row(("logits", 1)), lin.F.row((1,)))
    with pytest.raises(PlaceIndexError, match="it has 'logits'"):
        lin.F.row(("label", 1))


def test_outputs_of_two_precisions():
    """Every output keeps its own dtype; rows of both are right."""
    model, x = Net(lambda x, z: (z.float(), z * 2)), x0()
    lin, exact = fxscope.interpret(model, x), fxscope.interpret(Net(lambda x, z: (z, z * 2)), x)
    assert [t.dtype for t in lin.F @ x] == [torch.float32, torch.float64]
    assert torch.allclose(lin.F.row((1, 2)), exact.F.row((1, 2)), rtol=0, atol=1e-12)
    assert torch.allclose(lin.F.row((0, 2)), exact.F.row((0, 2)), rtol=0, atol=1e-6)
    assert torch.allclose(lin.F.to_dense(), exact.F.to_dense(), rtol=0, atol=1e-6)
    assert lin.contributions((1, 0)).error < 1e-12 and lin.error < 1e-6


def test_the_program_and_the_summary_name_it():
    model, x = Net(BESIDE["a dict"][0]), x0()
    assert list(program_of(model, example_inputs=(x,)).constant_outputs()) == ["p"]
    assert list(program_of(model).constant_outputs()) == ["p"]
    assert "'p'" in fxscope.summary(fxscope.transform(model)).header
    assert fxscope.summary(fxscope.transform(Net(lambda x, z: z))).constant == ()


def test_an_output_without_a_batch_has_no_rows_of_one_image():
    model = Net(lambda x, z: {"z": z, "prior": torch.ones(7, dtype=torch.float64)})
    lin = fxscope.interpret(model, x0())
    with pytest.raises((PlaceIndexError, NoLinearPath)):
        lin.F.row(("prior", 1))
    with pytest.raises(PlaceIndexError):
        lin.contributions(("prior", 1))
    assert lin.contributions(("z", 1)).error < 1e-12


SPELLINGS = {  # of an output that does not depend on the probe, and what it says
    "a buffer": (lambda net, x, z: net.a.weight, "nothing computed from the probe"),
    "zeros": (lambda net, x, z: torch.zeros_like(x), "zeros_like"),
    "a softmax over one entry": (lambda net, x, z: z[:, :1].softmax(1), "softmax"),
    "a comparison": (lambda net, x, z: (z > 0).to(x.dtype), "gt"),
    "detached": (lambda net, x, z: z.detach(), "detach"),
}
BESIDES = {  # beside it, what is no tensor or has no linear part
    "nothing": lambda x, z: (),
    "a size": lambda x, z: (x.shape[0],),
    "all sizes and a number": lambda x, z: (x.shape, 3.0),
    "labels and none": lambda x, z: (z.argmax(1), z > 0, None),
}


class Beside(Net):
    """Two affine outputs around one that is constant."""

    def __init__(self, constant, more):
        super().__init__(None)
        self.constant, self.more = constant, more

    def forward(self, x):
        z = self.b(torch.relu(self.a(x)))
        return (z, *self.more(x, z), self.constant(self, x, z), 2 * z)


@pytest.mark.turns(3)
@pytest.mark.parametrize("frontend", ["symbolic", "export"])
@pytest.mark.parametrize(
    ("name", "more"), [(n, "a size") for n in SPELLINGS] + [("a comparison", m) for m in BESIDES]
)
def test_the_laws_leave_a_constant_output_out(name, more, frontend):
    """Law 6 compares F with a derivative: the output of "freeze" that is constant has another one."""
    model = Beside(SPELLINGS[name][0], BESIDES[more])
    found = fxscope.verify(model, x0(), frontend=frontend, thorough=False)
    assert found.ok, str(found)
    laws = {law.name: law for law in found.laws}
    assert not laws["law 6"].skipped and "left out: it is a constant" in laws["law 6"].statement
    assert not laws["law 3"].skipped and not laws["law 5"].skipped


def test_a_wrong_derivative_beside_a_constant_is_still_found():
    """The outputs that are left are compared one by one with the derivative."""
    case = LawCase.of(Beside(SPELLINGS["zeros"][0], BESIDES["a size"]), (x0(),))
    assert law_6(case).ok
    other = LawCase.of(Net(lambda x, z: (z, x.shape[0], torch.zeros_like(x), 2.5 * z)), (x0(),))
    case.model, case.outputs = other.model, None
    assert not law_6(case).ok


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("make", [fxscope.interpret, fxscope.transform])
def test_what_is_left_out_is_said_once(name, make, caplog):
    constant, why = SPELLINGS[name]
    model = Beside(constant, BESIDES["nothing"])
    with caplog.at_level(logging.WARNING, logger="fxscope"):
        made = make(model, x0()) if make is fxscope.interpret else make(model, example_inputs=(x0(),))
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 1 and "the output 1 does not depend linearly" in said[0] and why in said[0]
    assert made is not None


def test_an_output_that_is_picked_and_constant_is_stated(caplog):
    """With others it is a stated constant, alone an error."""
    model = Net(lambda x, z: (z, z.softmax(1)))
    with caplog.at_level(logging.WARNING, logger="fxscope"):
        lin = fxscope.interpret(model, x0(), outputs={"scores": "b", "chances": "softmax"})
    assert lin.constant_outputs == ("chances",) and "'chances'" in caplog.text
    with pytest.raises(NoLinearPath, match="softmax"):
        fxscope.interpret(model, x0(), outputs="softmax")


def test_nothing_but_constants_is_refused():
    with pytest.raises(NoLinearPath):
        fxscope.interpret(Net(lambda x, z: (z.softmax(1), z.argmax(1))), x0())
