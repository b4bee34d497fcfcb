"""Modules of torch.nn of which something was overridden or patched.

Also Python code that asks for the type of a tensor.
"""

from __future__ import annotations

import copy
import functools
import types

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, HookedModel, TraceFailure
from fxscope.testing import laws

D = torch.float64


def photo(rng):
    return torch.randn(2, 2, 6, 6, generator=rng, dtype=D)


def agrees(model, rng, given=False):
    model = model.double().eval()
    x0, v = photo(rng), photo(rng)
    example = {"example_inputs": (x0,)} if given else {}
    y0, y1 = fxscope.transform(model, policy="taylor", **example)(x0, x0)
    assert laws.distance(y0, model(x0)) < 1e-12 and laws.distance(y1, y0) < 1e-12
    assert (
        laws.distance(
            fxscope.transform(model, "filter", policy="taylor", **example)(x0, v),
            torch.func.jvp(model, (x0,), (v,))[1],
        )
        < 1e-9
    )


class Standardised(nn.Conv2d):
    def _conv_forward(self, input, weight, bias):
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        return super()._conv_forward(input, weight, bias)


class Scaled(nn.Conv2d):
    def __getattr__(self, name):
        value = super().__getattr__(name)
        return value * 2 if name == "weight" and "ready" in vars(self) else value

    def __init__(self, *args):
        super().__init__(*args)
        self.ready = True


class ByProperty(nn.Conv2d):
    """A property stands before the parameter of its name."""

    @property
    def weight(self):
        return torch.tanh(self._parameters["weight"])

    def __setattr__(self, name, value):
        self._parameters.__setitem__(name, value) if name == "weight" else super().__setattr__(name, value)


class Summed(nn.Conv2d):
    def __call__(self, x):
        return super().__call__(x) + 1.0


class TwoSided(nn.BatchNorm2d):
    def _check_input_dim(self, input):
        self.eps = 0.5


class Doubling(nn.Identity):
    def forward(self, x):
        return x * 2


class Leaky(nn.ReLU):
    def forward(self, x):
        return super().forward(x) + 0.1 * x


class Harmless(nn.Conv2d):
    """Nothing that its forward uses is its own."""

    limit = 3

    def reset_parameters(self):
        nn.init.normal_(self.weight)
        nn.init.zeros_(self.bias)

    def extra_repr(self):
        return "harmless"

    @property
    def fan(self):
        return self.in_channels


def around(unit):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), unit(), nn.Tanh())


UNITS = {
    "_conv_forward": lambda: Standardised(2, 2, 3),
    "__getattr__": lambda: Scaled(2, 2, 3),
    "__call__": lambda: Summed(2, 2, 3),
    "_check_input_dim": lambda: TwoSided(2),
    "property": lambda: ByProperty(2, 2, 3),
    "identity": Doubling,
    "forward": Leaky,
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("given", [True, False])
def test_an_overridden_module_is_not_taken_for_its_class(name, given, rng):
    if name == "__getattr__" and not given:
        with pytest.raises(TraceFailure, match="(?s)__getattr__.*example_inputs"):
            fxscope.transform(around(UNITS[name]))
        return
    agrees(around(UNITS[name]), rng, given)


def patched(kind, name, function):
    def build():
        module = kind()
        setattr(module, name, types.MethodType(function, module))
        return module

    return build


PATCHES = {
    "a forward": patched(nn.ReLU, "forward", lambda self, x: x * 3),
    "a method": patched(
        lambda: nn.Conv2d(2, 2, 3), "_conv_forward", lambda self, x, w, b: F.conv2d(x, w * 2, b)
    ),
    "an identity's forward": patched(nn.Identity, "forward", lambda self, x: x.sin()),
    "a container's forward": patched(
        lambda: nn.Sequential(nn.ReLU()), "forward", lambda self, x: self[0](x) + x
    ),
}


@pytest.mark.parametrize("name", PATCHES)
@pytest.mark.parametrize("given", [True, False])
def test_what_was_patched_on_an_instance_runs(name, given, rng):
    agrees(around(PATCHES[name]), rng, given)


def test_a_forward_set_on_the_model_itself(rng):
    model = around(nn.ReLU)
    model.forward = functools.partial(lambda self, x: nn.Sequential.forward(self, x) * 2, model)
    with pytest.raises(TraceFailure, match="(?s)set on the instance.*example_inputs"):
        fxscope.transform(model)
    agrees(model, rng, True)


def test_a_class_of_torch_that_was_patched(rng, monkeypatch):
    monkeypatch.setattr(nn.Hardswish, "forward", lambda self, x: x * 3)
    agrees(around(nn.Hardswish), rng)


def test_what_forward_does_not_use_may_be_overridden(rng):
    model = around(lambda: Harmless(2, 2, 3))
    agrees(model, rng)
    assert "1" in fxscope.places(model) and "1.conv2d" not in fxscope.places(model), (
        "a place of its own, as the class has it"
    )


def test_parametrised_modules_are_known(rng):
    agrees(around(lambda: nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 3))), rng)


@pytest.mark.parametrize(
    "register",
    [
        "register_module_forward_hook",
        "register_module_forward_pre_hook",
        "register_module_full_backward_hook",
    ],
)
def test_hooks_on_all_modules_are_refused(register, rng):
    handle = getattr(nn.modules.module, register)(lambda *a: None)
    try:
        for call in (
            lambda: fxscope.transform(around(nn.ReLU)),
            lambda: fxscope.interpret(around(nn.ReLU).double(), photo(rng)),
        ):
            with pytest.raises(HookedModel, match="all modules"):
                call()
    finally:
        handle.remove()
    agrees(around(nn.ReLU), rng)


class Asking(nn.Module):
    def __init__(self, asked):
        super().__init__()
        torch.manual_seed(0)
        self.asked, self.conv = asked, nn.Conv2d(2, 4, 3)

    def forward(self, x):
        y = self.conv(x)
        return y.sin() if self.asked(y) else y * 3


def matched(y):
    match y:
        case torch.Tensor():
            return True
    return False


QUESTIONS = {
    "isinstance": lambda y: isinstance(y, torch.Tensor),
    "of several": lambda y: isinstance(y, (list, torch.Tensor)),
    "a list": lambda y: isinstance(y, (list, tuple)),
    "type": lambda y: type(y) is torch.Tensor,
    "type among": lambda y: type(y) in (torch.Tensor, nn.Parameter),
    "is_tensor": torch.is_tensor,
    "class": lambda y: y.__class__ is torch.Tensor,
    "match": matched,
    "of a sum": lambda y: isinstance(y + 1, torch.Tensor),
    "of a size": lambda y: isinstance(y.shape[0], int),
    "of a shape": lambda y: isinstance(y.shape, tuple),
    "of parts": lambda y: isinstance(y.chunk(2, 1), torch.Tensor),
    "a parameter": lambda y: isinstance(y, nn.Parameter),
    "an attribute": lambda y: hasattr(y, "logits"),
    "a default": lambda y: getattr(y, "sample", None) is None,
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_model_is_told_the_type_of_its_values(name, rng):
    agrees(Asking(QUESTIONS[name]), rng)


def test_what_is_not_known_while_tracing_is_refused(rng):
    model = Asking(lambda y: isinstance(y, torch.DoubleTensor))
    with pytest.raises(TraceFailure, match="(?s)DoubleTensor.*test_overridden.py.*example_inputs"):
        fxscope.transform(model)


def test_python_is_as_it_was_afterwards():
    before = isinstance, type
    fxscope.transform(Asking(QUESTIONS["type"]))
    with pytest.raises(FxscopeError):
        fxscope.transform(Asking(lambda y: y.sum() > 0))
    assert before == (isinstance, type)


def test_tensors_that_are_given_attributes_are_refused():
    class Tagging(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            y.data = x * 2
            return y

    with pytest.raises(TraceFailure, match="setting .data"):
        fxscope.transform(Tagging())


def test_a_deep_copy_is_a_copy(rng):
    class Copying(nn.Module):
        def forward(self, x):
            y = x.sin()
            z = copy.deepcopy(y.detach())
            z.mul_(3)
            return y * z

    model, x0 = Copying(), photo(rng)
    y0, y1 = fxscope.transform(model)(x0, x0)
    assert laws.distance(y0, model(x0)) < 1e-12 and laws.distance(y1, y0) < 1e-12


# train mode


class Training(nn.Module):
    def __init__(self, unit, lost=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.unit, self.lost = nn.Conv2d(2, 4, 3), unit, lost
        self.double().train()

    def forward(self, x):
        h = self.unit(self.conv(x))
        return h + 1.0 if self.lost and not torch.fx._symbolic_trace.is_fx_symbolic_tracing() else h * 2.0


TRAINED = [
    nn.Dropout(0.4),
    nn.Dropout2d(0.4),
    nn.AlphaDropout(0.4),
    nn.FeatureAlphaDropout(0.4),
    nn.BatchNorm2d(4),
    nn.RReLU(),
    nn.Sequential(nn.Dropout(0.3), nn.BatchNorm2d(4), nn.RReLU(), nn.Dropout2d(0.2)),
]


@pytest.mark.parametrize("unit", TRAINED, ids=str)
def test_train_mode_gives_the_models_own_draws(unit, rng):
    model = Training(unit)
    before, x0 = copy.deepcopy(model.state_dict()), photo(rng)
    pair = fxscope.transform(model, example_inputs=(x0,))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    with torch.no_grad():
        torch.manual_seed(5)
        y0, y1 = pair(x0, x0)
        torch.manual_seed(5)
        assert laws.distance(y0, copy.deepcopy(model)(x0)) < 1e-12 and laws.distance(y1, y0) < 1e-9


def test_law_1_is_checked_in_train_mode(rng):
    x0 = photo(rng)
    with pytest.raises(FxscopeError, match="does not compute what the model computes"):
        fxscope.transform(Training(nn.Dropout(0.3), lost=True), example_inputs=(x0,), frontend="symbolic")
