"""From a model to a graph: wrappers are opened, the next frontend is tried, errors are short."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
import warnings

import pytest
import torch
import torchvision
from torch import nn
from torch.nn.utils import parametrize

import fxscope
from fxscope.errors import FxscopeError, ModelFails, TraceFailure, UnsupportedOperator
from fxscope.testing.laws import distance

D = torch.float64


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.SiLU()).double().eval()


def photo(rng, *shape):
    return torch.randn(*(shape or (2, 3, 6, 6)), generator=rng, dtype=D)


# wrappers


@pytest.fixture
def group(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": nn.parallel.DistributedDataParallel,
    "compile": torch.compile,
    "both": lambda model: torch.compile(nn.parallel.DistributedDataParallel(model)),
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapped_network_is_the_network(name, group, rng):
    model, x = net(), photo(rng)
    wrapped = WRAPPERS[name](model)
    lin, expected = fxscope.interpret(wrapped, x), fxscope.interpret(model, x)
    assert lin.model is model and lin.program.gm.meta["frontend"]["name"] == "symbolic"
    assert torch.equal(lin.F.row((1, 2, 2)), expected.F.row((1, 2, 2))) and torch.equal(lin.y0, expected.y0)
    pair = fxscope.transform(wrapped)
    assert distance(pair(x, x)[1], model(x)) < 1e-12
    assert pair.get_parameter("0.weight") is model[0].weight
    assert fxscope.places(wrapped) == fxscope.places(model)
    assert fxscope.verify(wrapped, x).ok


def test_a_compiled_part_goes_through_export(rng):
    model, x = nn.Sequential(torch.compile(net()), nn.Tanh()), photo(rng)
    lin = fxscope.interpret(model, x, policy="taylor")
    assert distance(lin.F @ x, torch.func.jvp(nn.Sequential(net(), nn.Tanh()), (x,), (x,))[1]) < 1e-10


def test_a_float_network_that_can_be_quantized(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torchvision.models.quantization.resnet18(weights=None, quantize=False).double().eval()
        x = photo(rng, 1, 3, 64, 64)
        lin = fxscope.interpret(model, x)
    given = x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(model(given)[0, 5], given)
    assert distance(lin.y0, model(x).detach()) < 1e-12
    assert distance(lin.F.row(5), expected[0]) < 1e-9


def test_padded_places_are_what_the_network_gives_with_gradients(rng):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2).double().eval()
    x, padded = photo(rng, 2, 5, 8), torch.tensor([[False] * 4 + [True], [False] * 3 + [True] * 2])
    lin = fxscope.interpret(model, x, src_key_padding_mask=padded, policy="taylor")
    given = x.clone().requires_grad_()
    y = model(given, src_key_padding_mask=padded)
    (expected,) = torch.autograd.grad(y[:, 4, 3].sum(), given)
    assert distance(lin.y0, y.detach()) < 1e-12 and distance(lin.F.row((4, 3)), expected) < 1e-10
    assert torch.backends.mha.get_fastpath_enabled()


# the next frontend's turn


class Unknown(Exception):
    """An exception of the model's library that nobody else knows."""


class Choosy(nn.Module):
    """Raises what it likes where it gets no tensor."""

    def __init__(self, error):
        super().__init__()
        torch.manual_seed(0)
        self.error, self.linear = error, nn.Linear(6, 4).double()

    def forward(self, x):
        if (
            not isinstance(x.shape[0], (int, torch.SymInt))
            or torch.fx._symbolic_trace.is_fx_symbolic_tracing()
        ):
            raise self.error
        return self.linear(x).relu()


@pytest.mark.parametrize(
    "error", [Unknown("no"), ZeroDivisionError(), NameError("x"), OSError("disk"), MemoryError()]
)
def test_any_failure_is_the_next_frontends_turn(error, rng, caplog):
    caplog.set_level(logging.WARNING, "fxscope")  # whatever another test made of the logger
    model, x = Choosy(error), photo(rng, 2, 6)
    lin = fxscope.interpret(model, x)
    assert distance(lin(x), model(x).detach()) < 1e-12
    assert (
        f"goes through torch.export: Choosy cannot be traced symbolically: {type(error).__name__}"
        in caplog.text
    )
    with pytest.raises(TraceFailure, match=r"(?s)at test_frontends.py:\d+: raise self.error"):
        fxscope.interpret(model, x, frontend="symbolic")
    with pytest.raises(TraceFailure, match=type(error).__name__):
        fxscope.transform(model)


def test_the_models_own_error_is_raised_as_it_is(rng):
    class Checks(nn.Module):
        def forward(self, x):
            if x.shape[1] != 4 or not x.sum() > -1e9:
                raise Unknown(f"4 channels, not {x.shape[1]}")
            return x

    for frontend in ("auto", "symbolic"):
        with pytest.raises((ModelFails, TraceFailure)) as told:
            fxscope.interpret(Checks(), photo(rng), frontend=frontend)
        assert frontend != "auto" or "Unknown: 4 channels, not 3" in str(told.value)
        assert frontend != "auto" or isinstance(told.value.__cause__, Unknown)


class Decides(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 4).double()

    def forward(self, x):
        h = self.linear(x)
        return h * 2 if h.sum() > 0 else h.relu()


@pytest.mark.parametrize("frontend", ["auto", "export"])
def test_a_refusal_is_short_and_the_only_thing_that_is_said(frontend, rng, capfd):
    with pytest.raises(TraceFailure) as told:
        fxscope.interpret(Decides(), photo(rng, 2, 6), frontend=frontend)
    assert len(str(told.value)) < 900 and str(told.value).count("\n") <= 5
    assert "h * 2 if h.sum() > 0" in str(told.value) and "takes many such models" not in str(told.value)
    captured = capfd.readouterr()
    assert "arg0" not in captured.out + captured.err and len(captured.err) < 300


# the line that an error names


def test_the_callers_line_is_not_the_models():
    model = nn.Sequential(nn.Linear(6, 4), nn.LSTM(4, 3)).double()
    with pytest.raises(UnsupportedOperator) as told:
        fxscope.transform(model)
    assert "test_frontends.py" not in str(told.value) and "LSTM (1) at 1\n" in str(told.value)
    lin = fxscope.interpret(net(), torch.randn(2, 3, 6, 6, dtype=D))
    assert "test_frontends.py" not in str(fxscope.summary(fxscope.transform(net())))
    assert not any("test_frontends.py" in n.meta["fxscope"].source for n in lin.program.gm.graph.nodes)


class Wrapped(Decides):
    """Calls itself through Python's own library, and through torch's decorators."""

    @torch.no_grad()
    def inner(self, h):
        with contextlib.ExitStack():
            return functools.reduce(lambda a, layer: torch.special.bessel_j0(layer(a)), [self.linear], h)

    def forward(self, x):
        return copy.deepcopy(self.inner(x))


@pytest.mark.parametrize("given", [True, False])
def test_the_line_is_the_models_not_that_of_a_library(given, rng):
    x = photo(rng, 2, 6)
    with pytest.raises(FxscopeError, match=r"at test_frontends.py:\d+: return functools.reduce"):
        fxscope.transform(Wrapped(), example_inputs=(x,) if given else None)


# weights whose code decides on their values


class Clipped(nn.Module):
    def forward(self, weight):
        norm = float(weight.detach().norm())
        return weight / norm if norm > 1 else weight * 2


def clipped():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 4))
    parametrize.register_parametrization(model[2], "weight", Clipped())
    return model.eval()


def test_a_weight_that_decides_follows_its_parameter(rng):
    model, x = clipped().double(), photo(rng, 2, 6)
    pair, lin, reader = fxscope.transform(model), fxscope.interpret(model, x), fxscope.prepare(model, x)
    with torch.no_grad():
        model[2].parametrizations.weight.original.mul_(0.01)  # the other branch
    assert distance(pair(x, x)[1], model(x)) < 1e-12
    with pytest.raises(fxscope.errors.StaleInterpreter):
        lin.F.row(0)
    assert distance(reader(x)(x), model(x).detach()) < 1e-12
    model[2].parametrizations.weight.original.grad = None
    pair(x, x)[1].sum().backward()
    assert model[2].parametrizations.weight.original.grad.abs().sum() > 0


@pytest.mark.turns(3)
@pytest.mark.parametrize("suffix", ["pt2", "ts", "onnx"])
def test_a_weight_that_decides_is_a_tensor_in_files(suffix, rng, tmp_path):
    x = photo(rng, 2, 6).float()
    assert fxscope.save(fxscope.transform(clipped()), tmp_path / f"pair.{suffix}", (x, x)).ok


class Bessel(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 6)

    def forward(self, x):
        return self.linear(x).relu() * torch.special.i0e(x.detach())


def test_what_an_exporter_refuses_is_told_in_a_paragraph(rng, tmp_path, capfd):
    x = photo(rng, 2, 6).float()
    graph = fxscope.transform(Bessel(), example_inputs=(x,))
    with pytest.raises(
        FxscopeError, match="cannot be written as onnx.*bessel_i0e.*Try another format"
    ) as told:
        fxscope.save(graph, tmp_path / "pair.onnx", (x, x))
    assert len(str(told.value)) < 500 and told.value.__suppress_context__
    assert list(tmp_path.iterdir()) == [] and "graph" not in "".join(capfd.readouterr())


class Silent(Exception):
    """An error without a message."""


@pytest.mark.parametrize("message", ["", "\n", " \n\n", "\nsecond"])
def test_errors_without_a_message(message):
    class Raises(nn.Module):
        def forward(self, x):
            raise Silent(message)

    for call in (lambda: fxscope.transform(Raises()), lambda: fxscope.interpret(Raises(), torch.rand(1, 3))):
        with pytest.raises(FxscopeError) as caught:
            call()
        assert len(str(caught.value).splitlines()[0]) > 20
    assert "Silent" in str(caught.value)
