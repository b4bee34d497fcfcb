"""``fxscope.prepare``: graphs made once give the interpreters that are made anew, to the last bit."""

from __future__ import annotations

import logging
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import fxscope
from fxscope.errors import FxscopeError, NonFinite, StaleInterpreter
from fxscope.testing import randomize

D = torch.float64


class Net(nn.Module):
    """Batch norm, a mask before a pool, a smooth unit and a gate: folded, recorded and extra states."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 5)

    def forward(self, x):
        h = F.max_pool2d(self.norm(self.one(x)).relu(), 2)
        h = F.gelu(self.two(h))
        return self.head((h * h.mean((2, 3), keepdim=True).sigmoid()).mean((2, 3)))


def made(kind=Net, *shape):
    torch.manual_seed(0)
    model = kind().double().eval()
    x0 = torch.randn(*(shape or (1, 2, 12, 12)), dtype=D)
    randomize(model, x0)
    return model, x0


def same(lin, other, index=(1,)):
    """The same bits in everything that an interpreter hands out."""
    v = torch.randn(2, *lin.x0.shape[1:], dtype=lin.x0.dtype, generator=torch.Generator().manual_seed(3))
    v = v if lin.batch == 1 else v.unsqueeze(1).expand(2, *lin.x0.shape)
    assert torch.equal(lin.y0, other.y0) and torch.equal(lin.residual, other.residual)
    assert torch.equal(lin.F @ v, other.F @ v) and torch.equal(lin.F.row(index), other.F.row(index))
    a, b = lin.contributions(index), other.contributions(index)
    assert [t.place for t in a.terms] == [t.place for t in b.terms]
    assert all(
        torch.equal(torch.as_tensor(s.value), torch.as_tensor(t.value)) for s, t in zip(a.terms, b.terms)
    )
    assert lin.error == other.error < 1e-12


@pytest.mark.turns(3)
@pytest.mark.parametrize("memory", ["record", "packed", "recompute"])
@pytest.mark.parametrize("shape", [(1, 2, 12, 12), (3, 2, 12, 12), (1, 2, 20, 14), (2, 2, 9, 17)])
def test_a_reader_gives_the_interpreters_that_are_made_anew(memory, shape):
    model, example = made()
    reader = fxscope.prepare(model, example, memory=memory)
    x0 = torch.randn(*shape, dtype=D)
    same(reader(x0), fxscope.interpret(model, x0, memory=memory))
    again = torch.randn(*shape, dtype=D)
    same(reader(again), fxscope.interpret(model, again, memory=memory))


@pytest.mark.parametrize("policy", ["detach", "taylor", {"gelu": "taylor"}])
def test_under_every_policy(policy):
    model, example = made()
    x0 = torch.randn_like(example)
    same(fxscope.prepare(model, example, policy=policy)(x0), fxscope.interpret(model, x0, policy=policy))


def test_free_sizes_need_no_new_graphs_and_fixed_ones_are_made_again(caplog):
    model, example = made()
    reader = fxscope.prepare(model, example)
    with caplog.at_level(logging.INFO, "fxscope"):
        reader(torch.randn(2, 2, 18, 12, dtype=D))
    assert len(reader._kinds) == 1 and not caplog.records

    class Fixed(nn.Module):
        def forward(self, x):
            return F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2)).relu() if x.shape[2] > 6 else x * 2

    model, example = made(Fixed, 1, 2, 8, 8)
    reader = fxscope.prepare(model, example)
    for side in (8, 5, 7, 8, 5):
        x0 = torch.randn(1, 2, side, side, dtype=D)
        lin = reader(x0)
        assert torch.equal(lin.y0, model(x0)) and lin.error < 1e-12
    with caplog.at_level(logging.INFO, "fxscope"):
        reader(torch.randn(1, 2, 4, 4, dtype=D))
    assert len(reader._kinds) <= 4


def test_another_size_of_a_graph_of_torch_export_is_made_again():
    class Branch(nn.Module):
        def forward(self, x):
            return x.relu() * (2 if x.sum(1).shape[-1] % 2 else 3)

    model, example = made(Branch, 1, 2, 6, 6)
    reader = fxscope.prepare(model, example, frontend="export")
    for side in (6, 7, 8, 6):
        x0 = torch.randn(1, 2, side, side, dtype=D)
        assert torch.equal(reader(x0).y0, model(x0))


def test_another_dtype_is_made_again():
    model, example = made()
    reader = fxscope.prepare(model, example)
    model.float()
    x0 = torch.randn(1, 2, 12, 12)
    lin = reader(x0)
    assert lin.F.dtype == torch.float32 and torch.equal(lin.y0, model(x0))
    model.double()
    assert torch.equal(reader(x0.double()).y0, model(x0.double()))


def test_a_training_step_counts_in_the_next_call_and_ends_the_former_interpreter():
    model, example = made()
    reader = fxscope.prepare(model, example)
    before = reader(example)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        model(example).square().sum().backward()
        optimizer.step()
        with pytest.raises(StaleInterpreter, match="was changed"):
            before.F.row((1,))
        before = reader(example)
        same(before, fxscope.interpret(model, example))


def test_statistics_of_batch_norm_are_read_anew():
    model, example = made()
    reader = fxscope.prepare(model, example)
    reader(example)
    model.train()
    model(torch.randn(8, 2, 12, 12, dtype=D) * 3)
    model.eval()
    same(reader(example), fxscope.interpret(model, example))


def test_a_buffer_that_was_replaced_is_read():
    model, example = made()
    reader = fxscope.prepare(model, example)
    reader(example)
    model.norm.running_mean = torch.full((6,), 0.3, dtype=D)
    same(reader(example), fxscope.interpret(model, example))


def test_train_and_eval_are_kinds_of_their_own():
    model, example = made(Net, 4, 2, 12, 12)
    reader = fxscope.prepare(model, example)
    reader(example)
    model.train()
    lin = reader(example)
    assert lin.error < 1e-12 and (lin.y0 - fxscope.interpret(model, example).y0).abs().max() == 0
    model.eval()
    same(reader(example), fxscope.interpret(model, example))


def test_the_model_and_the_random_state_stay_as_they_were():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(4, 3), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x).relu() + torch.randn_like(x[:, :3]) * 0.1

    model, example = made(Draws, 2, 4)
    calls = model.calls
    reader = fxscope.prepare(model, example)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    lin = reader(example)
    expected = model(example)
    assert torch.equal(lin.y0, expected)
    torch.set_rng_state(state)
    reader(example)
    assert torch.equal(torch.get_rng_state(), state) and model.calls == calls + 1


def test_an_earlier_interpreter_becomes_the_next():
    model, example = made()
    reader = fxscope.prepare(model, example)
    lin = reader(example)
    _ = lin.residual, lin.error, lin.contributions((1,))
    x0 = torch.randn(1, 2, 16, 12, dtype=D)
    assert reader(x0, out=lin) is lin
    same(lin, fxscope.interpret(model, x0))


def test_out_of_another_reader_is_refused():
    model, example = made()
    reader = fxscope.prepare(model, example)
    for other in (fxscope.interpret(model, example), fxscope.prepare(made()[0], example)(example)):
        with pytest.raises(FxscopeError, match="that this reader made"):
            reader(example, out=other)
    same(reader(example), fxscope.interpret(model, example))


def test_what_does_not_run_is_an_error_and_the_reader_goes_on():
    model, example = made()
    reader = fxscope.prepare(model, example)
    with pytest.raises(Exception, match="channels"):
        reader(torch.randn(1, 3, 12, 12, dtype=D))
    with pytest.raises(NonFinite, match="one"):
        reader(torch.full_like(example, float("nan")))
    same(reader(example), fxscope.interpret(model, example))


def test_rows_and_contributions_of_a_batch():
    model, example = made()
    reader = fxscope.prepare(model, example)
    images, indices = torch.randn(3, 2, 12, 12, dtype=D), [(1,), (4,), (0,)]
    rows, found = reader.rows(images, indices), reader.contributions(images, indices)
    for b, index in enumerate(indices):
        lin = fxscope.interpret(model, images[b : b + 1])
        torch.testing.assert_close(rows[b], lin.F.row(index), rtol=0, atol=1e-13)
        assert abs(float(found.total[b]) - float(lin.y0[0][index])) < 1e-13


def test_every_reader_keeps_its_own_graph_of_contributions():
    readers = [fxscope.prepare(*made()) for _ in range(3)]
    first = [reader(torch.randn(1, 2, 12, 12, dtype=D)).prepared.shares() for reader in readers]
    again = [reader(torch.randn(1, 2, 12, 12, dtype=D)).prepared.shares() for reader in readers]
    assert all(a is b for pairs in zip(first, again) for a, b in zip(*pairs))


def test_several_inputs_and_named_ones():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x, scale, *, shift=None):
            y = self.layer(x).relu() * scale
            return y if shift is None else y + shift

    model, x0 = made(nn.Identity, 2, 4)[0], torch.randn(2, 4, dtype=D)
    model = Two().double()
    scale = torch.rand(2, 1, dtype=D)
    reader = fxscope.prepare(model, x0, scale)
    assert torch.equal(reader(x0 * 2, scale).y0, model(x0 * 2, scale))
    shift = torch.randn(2, 4, dtype=D)
    lin = reader(x0, scale, shift=shift)
    assert torch.equal(lin.y0, model(x0, scale, shift=shift)) and lin.error < 1e-12


def test_autocast_leaves_no_weights_behind():
    model, example = made()
    model, example = model.float(), example.float()
    reader = fxscope.prepare(model, example)
    with torch.autocast("cpu", torch.bfloat16):
        reader(example)
        model(example).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.full
@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vgg11", "densenet121", "squeezenet1_1"])
def test_networks_of_torchvision(name):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).double().eval()
    example = torch.randn(1, 3, 64, 64, dtype=D)
    randomize(model, example)
    reader = fxscope.prepare(model, example)
    for shape in ((1, 3, 64, 64), (2, 3, 96, 64)):
        x0 = torch.randn(*shape, dtype=D)
        same(reader(x0), fxscope.interpret(model, x0), (7,))


@pytest.mark.parametrize("unit", [nn.ReLU(), nn.Hardtanh(), nn.ReLU6(), nn.Sigmoid(), nn.Tanh()], ids=repr)
def test_an_image_that_is_infinite_is_refused_although_a_unit_hides_it(unit):
    x0 = torch.randn(1, 4)
    reader = fxscope.prepare(unit, x0)
    x0[0, 1] = -math.inf
    with pytest.raises(NonFinite):
        reader(x0)


def test_contributions_follow_the_weights():
    """What the graph of contributions computes of weights alone is computed again when they change."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
    model, x0 = model.double().eval(), torch.randn(1, 1, 8, 8, dtype=D)
    reader = fxscope.prepare(model, x0)
    for factor in (1.0, 1.5, 0.5):
        with torch.no_grad():
            model[1].bias.add_(0.3).mul_(factor)
            model[1].running_mean.add_(0.2)
        found, expected = (lin.contributions((1,)) for lin in (reader(x0), fxscope.interpret(model, x0)))
        assert [t.value for t in found.terms] == [t.value for t in expected.terms]
        assert abs(found.total - model(x0)[0, 1].item()) < 1e-12
    kept = reader(x0)
    with torch.no_grad():
        model[1].bias.add_(1.0)
    with pytest.raises(StaleInterpreter):
        kept.contributions((1,))
