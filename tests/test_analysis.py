"""The analyses: sums, readings, moments, and what is refused."""

from __future__ import annotations

import importlib
import json
import math
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import fxscope
from fxscope import models
from fxscope.analysis import (
    copy_move,
    diagonal,
    energy_against_distance,
    fgsm,
    invariance,
    layer_contributions,
    pixel_votes,
    reach,
    residual_share,
)
from fxscope.errors import FxscopeError, IllConditioned
from fxscope.paper import datasets
from fxscope.testing import randomize

READINGS = ("conserving", "weighted", "per-layer", "literal")


class Sequential(nn.Module):
    """Two convolutions with batch norm, a ReLU and a pool each, then two linear layers."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(nn.Linear(24, 8), nn.ReLU(), nn.Linear(8, 5))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def small(seed=0, batch=1):
    torch.manual_seed(seed)
    x0 = torch.randn(batch, 2, 8, 8, dtype=torch.float64)
    return randomize(Sequential().double().eval(), torch.randn(4, 2, 8, 8, dtype=torch.float64)), x0


def stand_in():
    return models.build("digits_vgg_bn").double(), datasets.normalised(datasets.digits()[0][:1]).double()


def resnet18():
    x0 = torch.randn(1, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return randomize(torchvision.models.resnet18(weights=None).double().eval(), x0), x0


@pytest.mark.parametrize("make", [small, stand_in, pytest.param(resnet18, marks=pytest.mark.full)])
def test_sums(make):
    model, x0 = make()
    lin = fxscope.interpret(model, x0)
    labels = [1, 4]
    found = lin.pixel_discussion(labels, progress=False)
    assert found.images.shape == (2, *x0.shape[1:]) and found.error < 1e-9 and found.added >= 0
    assert torch.allclose(
        found.images.flatten(1).sum(1), lin.y0[0, labels], atol=1e-9 * float(lin.y0.abs().max())
    )
    for reading in ("per-layer", "literal"):
        scaled = lin.pixel_discussion(labels, reading=reading, condition=1e9, progress=False)
        assert scaled.error < 1e-7 and scaled.condition >= 1
    parts = layer_contributions(model, x0, progress=False)
    assert parts.error < 1e-9 and float(parts.values.abs().sum()) > 0
    assert (
        json.loads(parts.to_json())["layers"][0] == "F x0"
        and json.loads(found.to_json())["reading"] == "weighted"
    )


CLASSIFIERS = {
    "alexnet": 64,
    "vgg11_bn": 32,
    "squeezenet1_1": 64,
    "densenet121": 32,
    "googlenet": 64,
    "mobilenet_v3_small": 64,
    "efficientnet_b0": 64,
    "shufflenet_v2_x1_0": 64,
    "convnext_tiny": 64,
    "vit_b_16": 224,
}


@pytest.mark.full
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_sums_of_torchvision_networks(name):
    x0 = torch.randn(
        1,
        3,
        CLASSIFIERS[name],
        CLASSIFIERS[name],
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    options = {"init_weights": False} if name == "googlenet" else {}
    model = randomize(torchvision.models.get_model(name, weights=None, **options).double().eval(), x0)
    lin = fxscope.interpret(model, x0)
    found, parts = lin.pixel_discussion([3], progress=False), layer_contributions(model, x0, progress=False)
    assert (
        found.error < 1e-9
        and parts.error < 1e-9
        and residual_share({name: model}, [("x0", x0)], progress=False).models[0].error < 1e-9
    )


def test_readings_against_dense_matrices():
    """The readings from their definition, with matrices of every layer's own."""
    model, x0 = small(3)
    lin = fxscope.interpret(model, x0)
    expected = dense_discussion(model, x0, 2)
    for reading in READINGS:
        got = lin.pixel_discussion(2, reading=reading, condition=1e12, progress=False).images[0]
        assert torch.allclose(got, expected[reading], atol=1e-9 * float(expected[reading].abs().max())), (
            reading
        )


def dense_discussion(model, x0, label):
    """{reading: (C, H, W)} by Jacobians of the sub-networks (the network is piecewise linear)."""
    conv1, relu1, pool1, conv2, norm, relu2, pool2 = model.features
    dense1, relu3, dense2 = model.classifier
    steps = [conv1, relu1, pool1, conv2, norm, relu2, pool2, nn.Flatten(), dense1, relu3, dense2]
    values = [x0]
    with torch.no_grad():
        for step in steps:
            values.append(step(values[-1]))

    def to_input(end, value):
        """F_end^T value: from the output of step ``end`` to the input."""
        run = nn.Sequential(*steps[: end + 1])
        return torch.autograd.functional.vjp(run, x0, value)[1][0]

    def cotangent(end):
        run = nn.Sequential(*steps[end + 1 :]) if end + 1 < len(steps) else nn.Identity()
        seed = torch.zeros(1, 5, dtype=torch.float64)
        seed[0, label] = 1
        return torch.autograd.functional.vjp(run, values[end + 1], seed)[1]

    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    constants = {
        "conv1": [(0, 1, conv1.bias)],
        "conv2": [(3, 5, conv2.bias), (4, 5, norm.bias - norm.running_mean * scale)],
        "dense1": [(8, 9, dense1.bias)],
        "dense2": [(10, 10, dense2.bias)],
    }
    units = {1: values[1] > 0, 5: values[5] > 0, 9: values[9] > 0}
    base = (to_input(10, cotangent(10)) * x0[0]).detach()
    images, free, wanted, joint = {}, {}, {}, base
    for name, each in constants.items():
        images[name] = free[name] = wanted[name] = 0
        for at, unit, bias in each:
            full = torch.zeros_like(values[at + 1]) + bias.detach().reshape(
                1, -1, *[1] * (values[at + 1].dim() - 2)
            )
            share = full * cotangent(at)
            images[name] = images[name] + to_input(at, share)
            joint = joint + to_input(at, share)
            wanted[name] = wanted[name] + share.sum()
            masked = (
                full
                if unit == at
                else (full * (scale.detach().reshape(1, -1, 1, 1) if at == 3 else 1)) * units[unit]
            )
            free[name] = free[name] + to_input(unit, masked)
    score = values[-1][0, label]
    weighted = base + sum(p + p.abs() * (wanted[n] - p.sum()) / p.abs().sum() for n, p in images.items())
    layered = base + sum(p * wanted[n] / p.sum() for n, p in free.items())
    literal = base + sum(free.values())
    even = joint + (score - joint.sum()) / joint.numel()
    return {
        "conserving": even,
        "weighted": weighted,
        "per-layer": layered,
        "literal": literal * score / literal.sum(),
    }


def test_ill_conditioned_scaling_is_refused_with_the_number():
    model, x0 = small()
    with pytest.raises(IllConditioned, match=r"1/\d"):
        fxscope.interpret(model, x0).pixel_discussion(
            0, reading="per-layer", condition=1.0001, progress=False
        )
    with pytest.raises(ValueError, match="weighted"):
        fxscope.interpret(model, x0).pixel_discussion(0, reading="mean")


def test_batches_of_images_and_chunks_of_labels():
    model, x0 = small(batch=3)
    lin = fxscope.interpret(model, x0, chunk=2)
    labels = [0, 1, 2, 3, 4]
    together, votes = (
        lin.pixel_discussion(labels, reading="conserving", progress=False),
        lin.pixel_votes(progress=False),
    )
    assert together.images.shape == (5, 3, 2, 8, 8) and votes.winners.shape == (3, 8, 8)
    for b in range(3):
        alone = fxscope.interpret(model, x0[b : b + 1])
        one = alone.pixel_discussion(labels, reading="conserving", progress=False)
        assert torch.allclose(one.images, together.images[:, b], atol=1e-10)
        assert torch.equal(votes.winners[b], one.images.sum(1).argmax(0))
        assert (
            torch.equal(votes.of(b).winners, votes.winners[b])
            and votes.of(b).popularity == alone.pixel_votes(progress=False).popularity
        )


def test_votes():
    model, x0 = small()
    votes = pixel_votes(fxscope.interpret(model, x0), progress=False)
    assert votes.error < 1e-9 and math.isclose(sum(votes.popularity.values()), 1.0)
    top = next(iter(votes.popularity))
    assert torch.equal(votes.masked(x0[0], top), x0[0] * votes.mask(top)) and 0 < votes.entropy <= math.log2(
        5
    )
    with pytest.raises(FxscopeError, match="election"):
        votes.mask(9)
    with pytest.raises(FxscopeError, match="labels="):
        pixel_votes(fxscope.interpret(models.bicubic4x(), torch.rand(1, 3, 4, 4)))


def test_batch_norm_with_its_layer_and_apart():
    model, x0 = small(batch=2)
    together, apart = (
        layer_contributions(model, x0, batch_norm=b, progress=False) for b in ("with", "apart")
    )
    assert together.names == ("features.0", "features.3", "classifier.0", "classifier.2")
    assert apart.names == ("features.0", "features.3", "features.4", "classifier.0", "classifier.2")
    assert (
        torch.allclose(apart.values[:, 1] + apart.values[:, 2], together.values[:, 1]) and apart.error < 1e-9
    )


def test_residual_share_is_resumable_and_exact(tmp_path):
    model, _ = small()
    images = [
        (str(i), torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(i)))
        for i in range(5)
    ]
    state = tmp_path / "state.json"
    first = residual_share({"net": model}, images[:3], state, batch=2, progress=False)
    read = []

    def rest():
        for name, x0 in images:
            read.append(name)
            yield name, x0

    whole, fresh = (
        residual_share({"net": model}, rest(), state, batch=2, progress=False).models[0],
        residual_share({"net": model}, images, batch=3, progress=False).models[0],
    )
    assert len(first.models[0].shares) == 3 and len(whole.shares) == 5
    assert (
        math.isclose(whole.mean, fresh.mean, rel_tol=1e-12)
        and math.isclose(whole.std, fresh.std, rel_tol=1e-12)
        and whole.error < 1e-9
    )
    x0 = images[4][1]
    lin = fxscope.interpret(model, x0)
    k = int(lin.y0[0].argmax())
    assert math.isclose(whole.shares["4"], float(lin.residual[0, k] / lin.y0[0, k]), rel_tol=1e-9)
    with pytest.raises(FxscopeError, match="no image"):
        residual_share(model, [], progress=False)
    state.write_text("{")
    with pytest.raises(FxscopeError, match="state"):
        residual_share(model, images, state, progress=False)


def test_a_state_grows_by_a_line_a_batch_and_is_never_written_again(tmp_path):
    """Half a line, as a kill leaves it, is done again; a file of one line without an end is gone on from."""
    model, _ = small()
    rng = torch.Generator().manual_seed(0)
    images = [(str(i), torch.randn(1, 2, 8, 8, dtype=torch.float64, generator=rng)) for i in range(12)]
    state = tmp_path / "state.json"
    whole = residual_share(model, images, state, batch=2, progress=False)
    lines = state.read_text().splitlines(keepends=True)
    sizes = {len(line) for line in lines[1:]}
    assert len(lines) == 6 and max(sizes) - min(sizes) < 0.2 * max(sizes), "a line is of its batch alone"
    for start in ("".join(lines[:3]) + lines[3][:-9], "".join(lines[:4])[:-1], lines[0][:-1]):
        state.write_text(start)
        assert residual_share(model, images, state, batch=2, progress=False) == whole
        assert state.read_text() == "".join(lines)
    state.write_text("".join([*lines[:2], "{ no line\n", *lines[3:]]))
    with pytest.raises(FxscopeError, match="no state"):
        residual_share(model, images, state, progress=False)


class Shifted(nn.Module):
    """The network at an input that is counted from z: its own zero is the z of the network."""

    def __init__(self, model, z):
        super().__init__()
        self.model, self.z = model, z

    def forward(self, u):
        return self.model(u + self.z)


MEAN, STD = (0.4, 0.6), (0.2, 0.5)
ABOUT = {
    "a number": (0.3, lambda x: torch.full_like(x, 0.3)),
    "a number of every channel": (torch.tensor([0.3, -0.7]), None),
    "one image": (torch.randn(2, 8, 8, generator=torch.Generator().manual_seed(5)), None),
    "mean": ("mean", lambda x: x.mean((2, 3), keepdim=True).expand_as(x)),
    "black": ("black", lambda x: torch.tensor([-2.0, -1.2], dtype=x.dtype)[:, None, None].expand_as(x)),
    "grey": ("grey", lambda x: torch.tensor([0.5, -0.2], dtype=x.dtype)[:, None, None].expand_as(x)),
}


def _about(name, x):
    zero, z = ABOUT[name]
    if z is None:
        return zero, (zero if zero.dim() > 1 else zero[:, None, None]).to(x).expand_as(x)
    return zero, z(x)


@pytest.mark.turns(4)
@pytest.mark.parametrize("name", ABOUT)
@pytest.mark.parametrize("policy", ["freeze", "taylor"])
def test_a_share_about_z_is_the_own_share_of_the_shifted_network(name, policy):
    model, _ = small()
    x0 = torch.randn(4, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    zero, z = _about(name, x0)
    images = [(str(i), x) for i, x in enumerate(x0.split(1))]
    given = {"policy": policy, "progress": False}
    about = {"zero": zero, **({"mean": MEAN, "std": STD} if name in ("black", "grey") else {})}
    found = residual_share(model, images, batch=3, **given, **about).models[0]
    layers = layer_contributions(model, x0, batch=3, **given, **about)
    own = residual_share(model, images, **given).models[0]
    assert found.error < 1e-12 and layers.error < 1e-12 and found.zero == layers.zero != own.zero == "x = 0"
    for i in range(4):
        shifted = Shifted(model, z[i : i + 1])
        u = x0[i : i + 1] - z[i : i + 1]
        share = residual_share(shifted, [("u", u)], **given).models[0].shares["u"]
        lin = fxscope.interpret(shifted, u, policy=policy)
        parts = lin.contributions(int(layers.labels[i]))
        assert math.isclose(found.shares[str(i)], share, rel_tol=1e-10, abs_tol=1e-11)
        assert math.isclose(float(layers.residual[i]), share, rel_tol=1e-10, abs_tol=1e-11)
        assert math.isclose(float(layers.linear[i]), parts.linear, rel_tol=1e-10, abs_tol=1e-11)
        assert abs(share - own.shares[str(i)]) > 1e-6
    assert torch.equal(layers.values, layer_contributions(model, x0, batch=3, **given).values)


def test_every_share_is_said_with_its_zero(tmp_path):
    model, x0 = small()
    images, about = [("a", x0[:1])], {"zero": "grey", "mean": 0.5, "std": 2, "progress": False}
    shares, layers = residual_share(model, images, **about), layer_contributions(model, x0, **about)
    zero = "grey pixels, x = 0"
    for record in (shares, layers):
        assert zero in record.to_json() and zero in record._repr_html_()
        assert zero in record.plot().get_supxlabel()
        loaded = type(record).load(record.save(tmp_path / "r.safetensors"))
        assert loaded.to_json() == record.to_json()
    assert zero in str(shares) and layers.parts[:2] == ("F (x0 - z)", "F z")
    own = residual_share(model, images, progress=False)
    assert "about x = 0" in str(own) and "about x = 0" in own.plot().get_supxlabel()
    both = type(own)((*own.models, *shares.models))
    assert zero in both.plot().get_supxlabel() and "about x = 0" in both.plot().get_supxlabel()
    assert layer_contributions(model, x0, progress=False).parts[0] == "F x0"


def test_a_state_keeps_the_shares_about_each_zero_apart(tmp_path):
    model, x0 = small()
    images, state = [("a", x0[:1])], tmp_path / "state.json"
    zeros = (None, 0.5, "mean", torch.full((1, 2, 8, 8), 0.25), torch.full((1, 2, 8, 8), 0.5))
    alone = [residual_share(model, images, zero=z, progress=False) for z in zeros]
    kept = [residual_share(model, images, state, zero=z, progress=False) for z in zeros]
    again = [residual_share(model, images, state, zero=z, progress=False) for z in zeros]
    assert alone == kept == again and len({a.models[0].zero for a in alone}) == len(zeros)
    assert math.isclose(alone[1].models[0].shares["a"], alone[4].models[0].shares["a"], rel_tol=1e-12)


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"zero": "white"}, "'mean', 'black', 'grey'"),
        ({"zero": "black"}, "mean= and std="),
        ({"zero": "grey", "mean": 0.5, "std": 0.0}, "std is not 0"),
        ({"zero": "grey", "mean": "half", "std": 1.0}, "mean and std are numbers"),
        ({"zero": "mean", "std": 1.0}, "leave them out"),
        ({"mean": 0.0}, "leave them out"),
        ({"zero": float("nan")}, "a finite number"),
        ({"zero": True}, "a finite number"),
        ({"zero": torch.tensor([float("inf")])}, "finite numbers"),
        ({"zero": torch.zeros(3, 8, 8)}, r"\(3, 8, 8\)"),
        ({"zero": torch.zeros(2, 2, 8, 8)}, r"\(2, 2, 8, 8\)"),
    ],
)
def test_a_zero_that_is_none(about, said):
    model, x0 = small()
    for measure in (
        lambda: residual_share(model, [("a", x0[:1])], progress=False, **about),
        lambda: layer_contributions(model, x0, progress=False, **about),
    ):
        with pytest.raises(FxscopeError, match=said):
            measure()


def test_fgsm_is_one_clipped_step_in_pixel_space():
    model, _ = small()
    pixels = torch.rand(4, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x0 = (pixels - 0.5) / 0.25
    found = fgsm(model, x0, epsilons=(0.01, 0.1), mean=0.5, std=0.25)
    moved = found.images * 0.25 + 0.5
    assert (
        float((moved[1] - pixels).abs().max()) <= 0.1 + 1e-12
        and float(moved.min()) >= 0
        and float(moved.max()) <= 1
    )
    loss = [torch.nn.functional.cross_entropy(model(x), found.before) for x in (x0, found.images[0])]
    assert loss[1] > loss[0] and found.success.shape == (2,)
    with pytest.raises(FxscopeError, match="pixels"):
        fgsm(model, x0)


def test_bicubic_is_invariant_and_local():
    lin = fxscope.interpret(models.bicubic4x(), torch.rand(1, 3, 16, 16))
    places = [(6, 7), (8, 8), (9, 5)]
    columns = lin.F.columns([(0, y, x) for y, x in places], progress=False)
    alike = invariance(columns, [(4 * y, 4 * x) for y, x in places], 10)
    assert alike.spread < 1e-12 and alike.filters.shape == (3, 3, 21, 21)
    energy = energy_against_distance(
        lin.F.rows([(0, 4 * y + 2, 4 * x + 2) for y, x in places], progress=False), places
    )
    assert (
        energy.radius(0.9) <= 1 and energy.radius(0.999) <= 2 and math.isclose(float(energy.share[-1]), 1.0)
    )


def test_the_source_of_a_row_that_is_known():
    row = torch.zeros(1, 40, 40)
    row[0, 20, 20], row[0, 5, 33] = 2.0, 1.0
    found = copy_move(row, (20, 20))
    assert math.isclose(found.share, 0.2) and max(abs(found.source[0] - 5), abs(found.source[1] - 33)) <= 4
    assert math.isclose(diagonal(row[None], [(20, 20)]).mean, 0.2)


def test_instance_norm_reaches_beyond_its_convolutions_only_where_the_mean_is_linear():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1)
    ).double()
    found = reach(model, torch.randn(1, 3, 24, 24, dtype=torch.float64), (0, 12, 12), bound=2)
    assert found.furthest["stats"] == 2 and found.furthest["scale"] > 2 and found.furthest["taylor"] > 2
    assert found.beyond["stats"] == 0 and found.beyond["scale"] > 0 and max(found.error.values()) < 1e-9


@pytest.fixture
def scripts(monkeypatch):
    """The training scripts as modules: what they measured on held-out data can be measured again."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "examples" / "training"))
    yield lambda name: importlib.import_module(name)
    for name in ("common", "train_digits", "train_edsr", "train_generators"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["digits_vgg", "digits_vgg_bn", "digits_resnet"])
def test_held_out_accuracy_of_the_shipped_files(name, scripts):
    """What the provenance says is what the shipped weights give.

    One digit of 450 is allowed, which rounding may move.
    """
    accuracy = scripts("train_digits").accuracy(models.build(name))
    assert abs(accuracy - models.provenance(name)["held_out"]["accuracy"]) < 0.0023 and accuracy > 0.97


def test_held_out_psnr_of_the_shipped_edsr(scripts):
    found, said = (
        scripts("train_edsr").gains(models.build("edsr_small4x")),
        models.provenance("edsr_small4x")["held_out"],
    )
    gains = [found["psnr"][k] - found["psnr_bicubic"][k] for k in said["psnr"]]
    assert sum(gains) / len(gains) >= 0.5 and min(gains) > 0
    assert all(abs(found[kind][k] - v) < 0.01 for kind in said for k, v in said[kind].items())


@pytest.mark.parametrize(
    ("name", "figures"), [("facades_resnet", "facade_figures"), ("painter_resnet", "painter_figures")]
)
def test_held_out_figures_of_the_shipped_generators(name, figures, scripts):
    found, said = (
        getattr(scripts("train_generators"), figures)(models.build(name)),
        models.provenance(name)["held_out"],
    )
    if name == "facades_resnet":
        assert (
            abs(found["pixel_accuracy"] - said["pixel_accuracy"]) < 1e-3
            and found["pixel_accuracy"] > 0.95 > found["commonest_class"]
        )
    else:
        assert all(abs(found[kind][k] - v) < 0.05 for kind in said for k, v in said[kind].items())
        assert all(found["psnr"][k] > found["psnr_photograph"][k] for k in said["psnr"])


def test_shipped_weights_are_small_and_say_where_they_come_from():
    files = list(models.DATA.glob("*.safetensors"))
    assert {f.stem for f in files} == set(models.STAND_INS) and sum(
        f.stat().st_size for f in files
    ) <= 4 << 20
    for name in models.STAND_INS:
        said = models.provenance(name)
        assert {"network", "script", "data", "seed", "steps"} <= set(said) and (
            Path(__file__).parents[1] / said["script"]
        ).exists()


def test_figures_of_every_record():
    model, x0 = small(batch=2)
    lin = fxscope.interpret(model, x0[:1])
    images = (x0 - x0.min()) / (x0.max() - x0.min())
    records = [
        lin.pixel_discussion([0, 1], progress=False),
        lin.pixel_votes(progress=False),
        layer_contributions(model, x0, progress=False),
        fgsm(model, images),
        residual_share(model, [("a", x0[:1]), ("b", x0[1:])], progress=False),
    ]
    for record in records:
        assert record.plot().axes and "<table" in record._repr_html_() and json.loads(record.to_json())
