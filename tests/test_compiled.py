"""``prepare(compile=)``: the same operator, and one compiled program a graph for all numbers of probes."""

import pickle
import shutil

import pytest
import torch
from torch import nn
from torch._dynamo import register_backend
from torch._dynamo.backends.registry import lookup_backend
from torch.utils import _pytree as pytree

import fxscope
from fxscope.errors import FxscopeError, StaleInterpreter

COUNTED: list[int] = []  # one entry a program


@register_backend
def counting(graph, inputs):
    """The backend "aot_eager", which also counts."""
    COUNTED.append(len(inputs))
    return lookup_backend("aot_eager")(graph, inputs)


class Joined(nn.Module):
    """Branches that are joined, a pool, a norm over the image, and a head of scores."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.norm, self.head = nn.GroupNorm(2, 8), nn.Linear(8, 16)

    def forward(self, x):
        x = torch.cat([torch.relu(self.first(x)), x], 1)
        x = nn.functional.max_pool2d(nn.functional.silu(self.norm(self.second(x))), 2)
        return self.head(x.mean((2, 3)))


class Attention(nn.Module):
    """Tokens that see each other; the batch is folded into the heads."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(16, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")

    def forward(self, x):
        return {"tokens": self.layer(self.embed(x.flatten(1, 2))), "sum": x.sum((1, 2, 3))}


def folded() -> nn.Module:
    """Batch norm that is folded with its convolution."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 3, stride=2), nn.Sigmoid()
    )


NETWORKS = {"joined": Joined, "attention": Attention, "folded": folded}


def made(name):
    torch.manual_seed(0)
    model = NETWORKS[name]().double().eval()
    for p in [*model.parameters(), *(b for b in model.buffers() if b.is_floating_point())]:
        nn.init.uniform_(p, 0.1, 0.5)
    return model


def images(batch):
    return torch.randn(batch, 2, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(batch))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-12)


@pytest.fixture(autouse=True)
def fresh():
    COUNTED.clear()
    torch.compiler.reset()


@pytest.mark.turns(2, 1)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.full] if n == "attention" else []) for n in NETWORKS]
)
def test_one_program_for_all_probes_and_images(name):
    model = made(name)
    compiled, plain = fxscope.prepare(model, images(2), compile="counting"), fxscope.prepare(model, images(2))
    for batch, probes in ((2, 7), (3, 2), (2, 16), (5, 3), (16, 2), (2, 33)):
        compared(compiled(images(batch)), plain(images(batch)), probes)
    assert len(COUNTED) == 3  # the recording, F and its transpose
    for batch, probes in ((1, 1), (1, 5), (3, 1), (1, 17)):
        compared(compiled(images(batch)), plain(images(batch)), probes)
        assert compiled(images(batch)).error < 1e-12
    assert len(COUNTED) <= 2 + 4 + 4  # one image, or one probe, may be a case of its own


def compared(lin, expected, probes):
    same(lin.y0, expected.y0)
    v = torch.randn(probes, *lin.F.inputs.zeros(1)[0].shape[1:], dtype=torch.float64)
    same(lin.F @ v, expected.F @ v)
    u = pytree.tree_map(torch.randn_like, lin.F @ v)
    same(lin.F.T @ u, expected.F.T @ u)


@pytest.mark.turns(3)
@pytest.mark.parametrize("memory", ["record", "packed", "recompute"])
def test_what_an_interpreter_gives(memory):
    model, x0 = made("joined"), images(2)
    lin = fxscope.prepare(model, x0, memory=memory, compile="counting")(x0)
    expected = fxscope.interpret(model, x0)
    same(lin.F.to_dense(progress=False), expected.F.to_dense(progress=False))
    same(lin.residual, expected.residual)
    same(lin.contributions((3,)).total, expected.contributions((3,)).total)
    same(lin(x0 * 2), expected(x0 * 2))


@pytest.mark.full
def test_other_sizes_and_other_weights():
    model = made("joined")
    reader = fxscope.prepare(model, images(2), compile="counting")
    lin = reader(images(2))
    same(lin.F.row((1,)), fxscope.interpret(model, images(2)).F.row((1,)))
    with torch.no_grad():
        model.first.weight.mul_(1.5)
    with pytest.raises(StaleInterpreter):
        lin.F.row((1,))
    same(reader(images(2)).F.row((1,)), fxscope.interpret(model, images(2)).F.row((1,)))
    count = len(COUNTED)
    assert count == 2
    larger = torch.cat([images(2)] * 2, 2)
    for _ in range(2):
        same(reader(larger).F.row((1,)), fxscope.interpret(model, larger).F.row((1,)))
    assert len(COUNTED) == 2 * count  # once for the other size


@pytest.mark.full
def test_a_model_that_draws():
    model = nn.Sequential(made("joined"), nn.Dropout(0.5), nn.Linear(16, 3).double()).train()
    lin = fxscope.prepare(model, images(2), compile="counting")(images(2))
    assert lin.error < 1e-12
    dense = lin.F.to_dense(progress=False)
    same((dense @ images(2).flatten() + lin.residual.flatten()).view_as(lin.y0), lin.y0)


def test_out_and_copies():
    model = made("folded")
    reader = fxscope.prepare(model, images(1), compile="counting")
    lin = reader(images(1))
    assert reader(images(3), out=lin) is lin
    copied = pickle.loads(pickle.dumps(reader))
    same(copied(images(3)).F.row((0, 3, 4)), lin.F.row((0, 3, 4)))


def test_arguments_that_are_wrong():
    with pytest.raises(ValueError, match="compile='nothing'; it is True, False or one of .*inductor"):
        fxscope.prepare(made("folded"), images(1), compile="nothing")


def test_a_backend_that_fails():
    @register_backend
    def failing(graph, inputs):
        raise RuntimeError("no such device")

    with pytest.raises(FxscopeError, match="torch.compile does not take.*no such device.*leave out compile="):
        fxscope.prepare(made("folded"), images(1), compile="failing")(images(1))


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("g++"), reason="Inductor compiles with g++, and there is none")
@pytest.mark.parametrize("name", NETWORKS)
def test_inductor(name):
    model = made(name)
    reader, plain = fxscope.prepare(model, images(2), compile=True), fxscope.prepare(model, images(2))
    for batch, probes in ((2, 2), (2, 17), (3, 5)):
        compared(reader(images(batch)), plain(images(batch)), probes)
