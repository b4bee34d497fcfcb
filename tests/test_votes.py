"""The conserving form of pixel discussions and votes: its laws on networks of many kinds."""

import functools
import json

import pytest
import torch
from torch import nn

import fxscope
from fxscope.analysis import pixel_discussion, pixel_votes
from fxscope.analysis.joint import Narrow, Plain, joint_of
from fxscope.testing import randomize

D = torch.float64


class Skips(nn.Module):
    """A skip connection around a gated unit, after a max-pool; no narrow place."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.pool, self.second = nn.MaxPool2d(2), nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6 * 16, 12)

    def forward(self, x):
        h = self.pool(torch.relu(self.norm(self.first(x))))
        return self.last((h + nn.functional.silu(self.second(h))).flatten(1))


class Unbiased(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 3, bias=False), nn.Linear(4 * 36, 9, bias=False)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)).flatten(1))


def narrow():
    """40 labels through 6 numbers; a batch norm and units on both sides of the place."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3),
        nn.GELU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 6),
        nn.BatchNorm1d(6),
        nn.LeakyReLU(),
        nn.Linear(6, 40),
    )


def normed():
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=True),
        nn.InstanceNorm2d(4, affine=True),
        nn.SiLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.LayerNorm(36),
        nn.Linear(36, 8),
    )


NETWORKS = {"skips": Skips, "unbiased": Unbiased, "narrow": narrow, "normed": normed}


@functools.cache
def network(name):
    torch.manual_seed(3)
    return randomize(NETWORKS[name]().to(D).eval(), torch.randn(6, 3, 8, 8, dtype=D))


def images(batch=1):
    return torch.randn(batch, 3, 8, 8, dtype=D, generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("policy", ["freeze", "detach", "taylor"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_picture_sums_to_its_score(name, policy):
    lin = fxscope.interpret(network(name), images(), policy=policy)
    labels = list(range(lin.y0.shape[1]))
    found = pixel_discussion(lin, labels, "conserving", progress=False)
    size = lin.y0.abs().max()
    assert (found.images.sum((1, 2, 3)) - lin.y0[0]).abs().max() < 1e-10 * size
    assert found.condition == 1 and found.images.std((1, 2, 3)).min() > 0
    votes = pixel_votes(lin, progress=False)
    assert votes.reading == "conserving" and votes.error < 1e-10
    assert torch.equal(votes.winners, found.images.sum(1).argmax(0))


@pytest.mark.parametrize("name", ["skips", "narrow", "normed"])
def test_nothing_but_an_even_shift_is_added(name):
    """Without it, a picture is F_c * x0 and every constant's own share, projected back from its place."""
    lin = fxscope.interpret(network(name), images())
    for label in (0, 5):
        image = pixel_discussion(lin, label, "conserving", progress=False).images[0]
        weighted = pixel_discussion(lin, label, "weighted", progress=False)
        projections = lin.prepared.once("projections", dict)
        with lin.fresh_run():
            _, state = projections.record(*lin._args)
        y2 = torch.zeros_like(lin.y0)[None]
        y2[0, 0, label] = 1
        _, shares = projections.shares(state, y2)
        own = lin.F.row(label) * lin.x0[0]
        for layer, at in projections.layers.items():
            own = own + projections.back[layer](state, *(shares[i] for i in at))[0, 0]
        rest = image - own
        assert (rest - rest.mean()).abs().max() < 1e-12 * image.abs().max()
        assert rest.mean().abs() > 1e-6 * image.abs().max() and weighted.added > 0


@pytest.mark.parametrize("name", NETWORKS)
def test_a_batch_and_a_memory_mode_change_nothing(name):
    x = images(3)
    reader = {m: fxscope.interpret(network(name), x, memory=m) for m in ("record", "packed", "recompute")}
    found = {m: pixel_votes(lin, progress=False) for m, lin in reader.items()}
    for other in ("packed", "recompute"):
        assert torch.equal(found[other].winners, found["record"].winners)
        assert torch.equal(found[other].highest, found["record"].highest)
    for b in range(3):
        alone = pixel_votes(fxscope.interpret(network(name), x[b : b + 1]), progress=False)
        assert torch.equal(found["record"].of(b).winners, alone.winners)
        assert torch.allclose(found["record"].of(b).highest, alone.highest, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("batch", [1, 3])
def test_many_labels_go_through_the_narrowest_place(batch):
    lin = fxscope.interpret(network("narrow"), images(batch))
    through, apart = joint_of(lin, 40, progress=False), joint_of(lin, 1, progress=False)
    assert isinstance(through, Narrow) and isinstance(apart, Plain)
    assert through.rows.shape[:2] == (batch, 6)
    y2 = torch.randn(7, batch, 40, dtype=D)
    with torch.no_grad():
        found, expected = through(y2), apart(y2)
    for a, b in zip(found[:2], expected[:2]):
        assert torch.allclose(a, b, rtol=0, atol=1e-12 * float(b.abs().max()))
    assert torch.allclose(found[2].abs().sum(-1), expected[2].abs().sum(-1))  # the layers in another order
    assert isinstance(joint_of(fxscope.interpret(network("skips"), images()), 40, progress=False), Plain)


def test_the_share_of_correction_is_what_was_added():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2)).to(D)
    x = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]], dtype=D)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[1.0, 0, 0, 1], [0, 0, 2, -1]]))
        model[1].bias.copy_(torch.tensor([2.0, -4.0]))
    found = pixel_votes(fxscope.interpret(model, x), progress=False)
    rows, bias = model[1].weight.detach(), model[1].bias.detach()
    own = rows * x.flatten() + bias[:, None] * rows
    missing = rows @ x.flatten() + bias - own.sum(1)
    assert found.added == pytest.approx(float(missing.abs().sum() / bias.abs().sum()))
    assert torch.equal(found.winners.flatten(), (own + missing[:, None] / 4).argmax(0))
    free = fxscope.interpret(network("unbiased"), images())
    assert pixel_votes(free, progress=False).added == 0
    assert json.loads(found.to_json())["added"] == found.added > 0


def test_figures_say_the_variant_and_its_correction():
    pytest.importorskip("matplotlib")
    lin = fxscope.interpret(network("skips"), images())
    for found in (pixel_votes(lin, progress=False), pixel_discussion(lin, [1], progress=False)):
        said = found.plot(text="here").get_supxlabel()
        assert f"{found.reading}; corrections {100 * found.added:.3g}%" in said and "here" in said


def test_a_variant_that_is_none_is_refused():
    lin = fxscope.interpret(network("skips"), images())
    with pytest.raises(ValueError, match="conserving"):
        pixel_votes(lin, reading="conserved")
