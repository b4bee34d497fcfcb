"""Nothing of a model is other than before, after any public function.

Values, memory, versions, attributes, hooks, modes, random state.
"""

from __future__ import annotations

import contextlib
import random
import warnings

import numpy as np
import pytest
import torch
from drawn import crossed
from torch import nn
from torch.nn.utils import parametrizations

import fxscope
from fxscope import analysis
from fxscope.emit import FORMS
from fxscope.errors import FxscopeError
from fxscope.frontend.unchanged import _Before, unchanged
from fxscope.testing import laws

D = torch.float64
IMAGE = (2, 2, 6, 6)


class Base(nn.Module):
    """Convolution, a habit, ReLU, convolution."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 2, 3, padding=1)
        self.prepare()

    def prepare(self):
        pass

    def forward(self, x):
        return self.last(torch.relu(self.habit(self.first(x))))


class PythonCounter(Base):
    calls = 0
    table: dict = {}

    def habit(self, h):
        self.calls += 1
        type(self).table[self.calls] = "seen"
        return h


class CounterBuffer(Base):
    def prepare(self):
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def habit(self, h):
        self.calls += 1
        return h


class BufferReplaced(Base):
    def prepare(self):
        self.register_buffer("calls", torch.zeros(()))

    def habit(self, h):
        self.calls = self.calls + 1
        return h


class MovingAverage(Base):
    def prepare(self):
        self.register_buffer("mean", torch.zeros(1, 4, 1, 1))

    def habit(self, h):
        self.mean.mul_(0.9).add_(0.1 * h.detach().mean((0, 2, 3), keepdim=True))
        return h - self.mean


class ActNorm(Base):
    def prepare(self):
        self.shift, self.scale = nn.Parameter(torch.zeros(1, 4, 1, 1)), nn.Parameter(torch.ones(1, 4, 1, 1))
        self.register_buffer("flag", torch.tensor(0, dtype=torch.uint8))

    def habit(self, h):
        if self.flag.item() == 0:
            self.shift.data.copy_(-h.mean((0, 2, 3), keepdim=True))
            self.scale.data.copy_(1 / (h.std((0, 2, 3), keepdim=True) + 1e-6))
            self.flag.fill_(1)
        return (h + self.shift) * self.scale


class ActNormInPython(ActNorm):
    initialised = False

    def habit(self, h):
        if not self.initialised:
            with torch.no_grad():
                self.shift.copy_(-h.mean((0, 2, 3), keepdim=True))
            self.initialised = True
        return h + self.shift


class OldSpectralNorm(Base):
    def prepare(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nn.utils.spectral_norm(self.first)

    def habit(self, h):
        return h


class SpectralNorm(Base):
    def prepare(self):
        parametrizations.spectral_norm(self.first)

    def habit(self, h):
        return h


class Meter:
    """A helper object of the user's, which the model feeds."""

    __slots__ = ("__dict__", "count")

    def __init__(self):
        self.count, self.values = 0, []

    def add(self, value):
        self.count += 1
        self.values.append(value)


class Caches(Base):
    """Things of a module's own that its forward pass changes.

    A dict, a list of losses, a set, a helper object, a plain tensor and an array that are written in place,
    and a generator of its own.
    """

    def prepare(self):
        self.cache, self.losses, self.seen, self.meter = {}, [], set(), Meter()
        self.plain, self.array, self.own = torch.zeros(3), np.zeros(2), random.Random(0)
        self.generator = torch.Generator().manual_seed(0)

    def habit(self, h):
        self.cache["last"] = h
        self.losses.append(self.own.random())
        self.seen.add(len(self.losses))
        self.meter.add(1)
        self.plain[0] += 1
        self.array[0] += 1
        self.generator.manual_seed(self.generator.initial_seed() + 1)
        return h


class Clamps(Base):
    """WGAN's clipping, and a flag that is flipped."""

    def habit(self, h):
        for p in self.last.parameters():
            p.data.clamp_(-0.01, 0.01)
        self.last.bias.requires_grad_(False)
        self.first.training = not self.first.training
        return h


class HooksItself(Base):
    def habit(self, h):
        if not self.last._forward_hooks:
            self.last.register_forward_hook(lambda m, i, o: None)
        return h


class Draws(Base):
    def habit(self, h):
        np.random.rand()
        random.random()
        return h * (1 + 0.1 * torch.randn_like(h))


class BatchNorm(Base):
    def prepare(self):
        self.norm, self.drop = nn.BatchNorm2d(4), nn.Dropout(0.2)

    def habit(self, h):
        return self.drop(self.norm(h))


MODELS = {c.__name__: c for c in (
    PythonCounter, CounterBuffer, BufferReplaced, MovingAverage, ActNorm, ActNormInPython, OldSpectralNorm,
    SpectralNorm, Caches, Clamps, HooksItself, Draws, BatchNorm,
)}  # fmt: skip


# whose train mode is another thing
TRAINED = ("ActNorm", "OldSpectralNorm", "SpectralNorm", "Draws", "BatchNorm")


def fingerprint(model):
    """Everything that the model is, as values that compare: written without the code under test."""
    found = {}
    for path, module in model.named_modules():
        for kind in (type(module), Base):
            found[path, "class", kind.__name__] = {
                k: repr(v) for k, v in vars(kind).items() if not callable(v) and not k.startswith("__")
            }
        for name, value in vars(module).items():
            found[path, name] = described(value)
    found["random"] = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    found["modes"] = torch.is_grad_enabled(), torch.is_autocast_cache_enabled(), torch.get_default_dtype()
    return found


def described(value):
    if isinstance(value, torch.Tensor):
        return (
            id(value),
            value.data_ptr(),
            value._version,
            value.requires_grad,
            value.dtype,
            id(value.grad),
            value.detach().clone().tolist(),
        )
    if isinstance(value, dict):
        return type(value), id(value), [(k, described(v)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return type(value), id(value), [described(v) for v in value]
    if isinstance(value, Meter):
        return id(value), value.count, described(value.values)
    if isinstance(value, np.ndarray):
        return id(value), value.tolist()
    if isinstance(value, random.Random):
        return id(value), value.getstate()
    if isinstance(value, torch.Generator):
        return id(value), value.get_state().tolist()
    return repr(value) if isinstance(value, (int, float, str, set)) else id(value)


def read(memory):
    def run(model, x0, tmp_path):
        lin = fxscope.interpret(model, x0, memory=memory)
        lin.F.row((0, 1, 1)), lin.F.column((0, 1, 1)), lin.residual, lin.gap(x0 * 1.1), lin(x0), lin.error
        lin.contributions((0, 1, 1)).elementwise()
        if len(x0) == 1:
            lin.F.norm(), lin.pixel_discussion((0, 1, 1), progress=False)

    return run


def graphs(example):
    def run(model, x0, tmp_path):
        for form in ("pair", "adjoint", "row", "record") if example else FORMS:
            fxscope.transform(model, form, example_inputs=(x0,) if example else None)

    return run


def shown(model, x0, tmp_path):
    graph = fxscope.transform(model, example_inputs=(x0,))
    str(fxscope.summary(graph)), fxscope.to_networkx(graph)


def saved(suffix):
    def run(model, x0, tmp_path):
        fxscope.save(fxscope.transform(model, example_inputs=(x0,)), tmp_path / f"file{suffix}", (x0, x0))

    return run


ENTRIES = {
    "places": lambda m, x, _: fxscope.places(m, (x,)),
    "places, no example": lambda m, x, _: fxscope.places(m),
    "transform": graphs(True), "transform, no example": graphs(False),
    "through export": lambda m, x, _: fxscope.transform(m, example_inputs=(x,), frontend="export"),
    "record": read("record"), "recompute": read("recompute"), "packed": read("packed"),
    "tapped": lambda m, x, _: fxscope.interpret(m, x, inputs="relu", outputs="last").residual,
    "verify": lambda m, x, _: fxscope.verify(m, x),
    "verify, its own dtype": lambda m, x, _: fxscope.verify(m, x, dtype=None),
    "shown": shown, "storage": lambda m, x, _: fxscope.storage(m, tuple(x.shape), example_inputs=(x,)),
    "local_row": lambda m, x, _: fxscope.local_row(m, x[:1], (0, 2, 2)),
    "local_columns": lambda m, x, _: fxscope.local_columns(m, x[:1], [(0, 2, 2), (0, 3, 3)]),
    "compare": lambda m, x, _: fxscope.compare(x[:1], ["freeze", "taylor"], (0, 1, 1), model=m),
    "fgsm": lambda m, x, _: analysis.fgsm(Scores(m), x.sigmoid(), epsilons=(0.1,)),
    "residual_share": lambda m, x, _: analysis.residual_share(
        Scores(m), [("a", x[:1]), ("b", x[1:])], progress=False
    ),
    "layers": lambda m, x, _: analysis.layer_contributions(Scores(m), x, progress=False),
}  # fmt: skip


class Scores(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body
        self.train(body.training)

    def forward(self, x):
        return self.body(x).flatten(1)[:, :5]


def made(name, train):
    torch.manual_seed(0)
    return MODELS[name]().double().train(train), torch.randn(IMAGE, dtype=D)


WALKS = [(n, False) for n in MODELS] + [(n, True) for n in TRAINED]
SOME = [("HooksItself", False), ("Draws", True)]  # by default


@pytest.mark.parametrize(
    ("name", "train"), [pytest.param(*w, marks=[] if w in SOME else pytest.mark.full) for w in WALKS]
)
def test_every_public_function_leaves_the_model_as_it_was(name, train, tmp_path):
    """Whether it gives a result or refuses the model by an ``FxscopeError``."""
    model, x0 = made(name, train)
    given, before = x0.clone(), fingerprint(model)
    for entry, run in ENTRIES.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run(model, x0, tmp_path)
        except FxscopeError:
            pass
        now = fingerprint(model)
        assert [key for key in before if now.get(key) != before[key]] + [
            key for key in now if key not in before
        ] == [], entry
        assert torch.equal(x0, given), entry


@pytest.mark.turns(3)
@pytest.mark.parametrize(
    ("name", "suffix"), crossed(["BatchNorm", "Draws", "PythonCounter"], [".pt2", ".ts"])
)
def test_saving_leaves_the_model_as_it_was(name, suffix, tmp_path):
    model, x0 = made(name, name == "BatchNorm")
    before = fingerprint(model)
    with contextlib.suppress(FxscopeError):
        saved(suffix)(model, x0, tmp_path)
    assert fingerprint(model) == before


@pytest.mark.parametrize(
    "name", ["PythonCounter", "CounterBuffer", "SpectralNorm", "Caches", "Draws", "HooksItself"]
)
def test_such_models_are_read_right(name):
    """The interpreter's output is the model's, and its rows are autograd's."""
    model, x0 = made(name, False)
    lin = fxscope.interpret(model, x0[:1])
    torch.manual_seed(0)
    torch.randn(IMAGE)  # anything
    state = torch.get_rng_state()
    lin = fxscope.interpret(model, x0[:1])
    torch.set_rng_state(state)
    with unchanged(model):
        x = x0[:1].clone().requires_grad_()
        y = model(x)
        gradient = torch.autograd.grad(y[0, 1, 2, 3], x)[0]
    assert (
        laws.distance(lin.y0, y.detach()) < 1e-12 and laws.distance(lin.F.row((1, 2, 3)), gradient[0]) < 1e-9
    )


@pytest.mark.parametrize(
    "read",
    [
        lambda m, x: fxscope.interpret(m, x).F.row((0, 1, 1)),
        lambda m, x: fxscope.transform(m, example_inputs=(x,)),
        lambda m, x: fxscope.verify(m, x, dtype=None),
    ],
)
def test_training_under_autocast_afterwards_gives_the_same_gradients(read):
    """A weight cast without gradients must not stay in autocast's cache."""
    torch.manual_seed(0)
    model, x0 = Sizes(), torch.randn(2, 2, 6, 6)

    def gradients(before):
        model.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            if before:
                read(model, x0)
            model(x0).float().square().sum().backward()
        return [p.grad.clone() for p in model.parameters()]

    assert all(torch.equal(a, b) for a, b in zip(gradients(False), gradients(True), strict=True))


class Sizes(Base):
    def habit(self, h):
        return h


def test_a_backward_pass_that_was_under_way_goes_on():
    """Version counters are as before, so that autograd finds what it saved."""
    model, x0 = made("BatchNorm", False)
    loss = model(x0).square().sum()
    fxscope.interpret(model.train(), x0)
    loss.backward()
    assert model.first.weight.grad.abs().sum() > 0


def test_what_is_not_written_is_not_copied():
    """Weights are copied when an operator is about to write to them, and only those."""
    model = nn.Sequential(*[nn.Linear(64, 64) for _ in range(3)])
    before = [p.detach().clone() for p in model.parameters()]
    kept = _Before(model)
    with kept.watch, torch.no_grad():
        model(torch.ones(1, 64))
        model[1].weight.data.mul_(2)
        torch.nn.init.zeros_(model[2].bias)
    copied = [t.tensor for t in kept._tensors.values() if t.copy is not None]
    assert len(copied) == 2 and copied[0] is model[1].weight and copied[1] is model[2].bias
    kept.restore()
    with unchanged(model):
        torch._foreach_mul_([p.data for p in model.parameters()], 3.0)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize(
    "function", [lambda m, x: fxscope.transform(m)(x, x), lambda m, x: fxscope.transform(m, "record")(x)]
)
def test_emitted_graphs_do_what_they_say(function):
    """In train mode the pair updates the running statistics once, as the model's own forward does.

    No other form does.
    """
    model, x0 = made("BatchNorm", True)
    mean = model.norm.running_mean.clone()
    function(model, x0)
    expected = 0.1 * model.first(x0).mean((0, 2, 3)) if int(model.norm.num_batches_tracked) else mean
    assert laws.distance(model.norm.running_mean, expected) < 1e-12 or torch.equal(
        model.norm.running_mean, expected
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
@pytest.mark.parametrize(
    "function",
    [
        lambda x: torch.add(x, 0.3, alpha=2),
        lambda x: torch.sub(x, 0.3, alpha=2),
        lambda x: torch.rsub(x, 0.3),
    ],
)
def test_tangents_that_are_zero_are_taken_while_a_model_is_watched(function):
    x = torch.ones(2, 3, dtype=D)
    with unchanged(nn.Linear(3, 3)):
        tangent = torch.func.jvp(function, (x,), (x,))[1]
    assert torch.equal(tangent, torch.func.jvp(function, (x,), (x,))[1])
