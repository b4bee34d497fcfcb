"""Faithfulness: planted networks whose curves are known, and what is refused."""

import copy
import json
from itertools import chain

import pytest
import torch
from torch import nn

import fxscope
from fxscope.analysis import Faithfulness, faithfulness
from fxscope.analysis.agreement import cosine, rank_correlation, votes
from fxscope.analysis.cascade import Cascade
from fxscope.errors import FxscopeError, ShapeError, WrongArgument

D = torch.float64


def linear(weight, bias):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)).to(D)
    with torch.no_grad():
        model[1].weight.copy_(torch.stack([weight, -weight]))
        model[1].bias.copy_(torch.tensor([bias, -bias]))
    return model


def deep(seed=0):
    torch.manual_seed(seed)
    layers = [nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 64), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(64, 10)).to(D).eval()


def images(count, side=16):
    return torch.randn(count, 1, side, side, dtype=D, generator=torch.Generator().manual_seed(1))


def test_curves_of_a_linear_network():
    """The score less the bias is a sum over the pixels: with the largest gone, the sum of the others."""
    x = torch.arange(16, 0, -1, dtype=D).roll(5).reshape(1, 1, 4, 4)
    weight = torch.ones(16, dtype=D)
    found = faithfulness(linear(weight, 3.0), x, fractions=4, noise=[0.1], progress=False)
    total, taken = 136, [0, 16 + 15 + 14 + 13, 136 - 36, 136 - 10, 136]
    for name in ("|row * x0|", "|discussion|", "|x0|"):
        at = found.maps.index(name)
        deleted, inserted = found.deletion[0, at, :, 0], found.insertion[0, at, :, 0]
        assert deleted.tolist() == pytest.approx([1 - t / total for t in taken], abs=1e-12)
        assert inserted.tolist() == pytest.approx([t / total for t in taken], abs=1e-12)
        assert found.areas["deletion"][0, at, 0] == pytest.approx(1 - found.areas["insertion"][0, at, 0])
    in_order = x.flatten().cumsum(0)  # all gradients are equal: pixels go in their order
    gradient = found.deletion[0, found.maps.index("|gradient|"), :, 0]
    assert gradient.tolist() == pytest.approx(
        [1, *(1 - in_order[[3, 7, 11, 15]] / total).tolist()], abs=1e-12
    )
    random = found.deletion[0, found.maps.index("random"), 1:-1, 0]
    assert (random > found.deletion[0, 0, 1:-1, 0]).all()


def test_deletion_puts_the_baseline():
    x = images(1, 4)
    found = faithfulness(linear(torch.randn(16, dtype=D), 0.0), x, baseline=2.0, noise=[0.1], progress=False)
    assert found.deletion[0, :, 0, 0].tolist() == pytest.approx([1] * 5)
    assert found.deletion[0, :, -1, 0].tolist() == pytest.approx([0] * 5, abs=1e-12)
    assert found.insertion[0, :, -1, 0].tolist() == pytest.approx([1] * 5)


def test_random_weights_leave_no_correlation():
    found = faithfulness(deep(), images(3), noise=[0.1], fractions=2, progress=False)
    assert found.depths == ("none", "9", "7", "4", "1", "0")
    alike = [m != "votes by chance" for m in found.measures]
    assert torch.allclose(found.cascade[0, alike, 0], torch.ones(6, 3, dtype=D), atol=1e-12)
    assert found.cascade[0, :4, -1].mean(-1).abs().max() < 0.2
    assert found.cascade[0, 0, 1].abs().max() < 0.9  # the last layer alone moves the row


def test_rows_of_a_linear_network_do_not_move_and_of_a_deep_one_do():
    flat = faithfulness(linear(torch.randn(16, dtype=D), 1.0), images(2, 4), fractions=2, progress=False)
    assert (
        torch.allclose(flat.stability[0, 0], torch.ones(4, 2, dtype=D)) and flat.stability[0, 1].max() < 1e-12
    )
    model, x0 = deep(), images(2)
    found = faithfulness(model, x0, depths=1, noise=[0.01, 0.5], fractions=2, progress=False)
    near, far = found.stability[0].unbind(1)
    assert (near[0] > far[0]).all() and (near[1] < far[1]).all() and (far[2] > 0).all()


def test_policies_are_those_of_interpret():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 3)).to(D).eval()
    x0 = images(1, 8)
    found = faithfulness(model, x0, policies=["freeze", "taylor"], noise=[0.05], fractions=3, progress=False)
    assert found.policies == ("freeze", "taylor")
    label = int(model(x0).argmax())
    near = x0 + 0.05 * x0.std() * torch.randn(1, 8, 8, dtype=D, generator=drawn_after(64))
    for p, policy in enumerate(found.policies):
        lin = fxscope.interpret(model, x0, policy=policy)
        assert found.stability[p, 1, 0, 0] == pytest.approx(lin.gap(near)["error"])
        row = fxscope.interpret(model, near, policy=policy).F.row(label)
        assert found.stability[p, 0, 0, 0] == pytest.approx(cosine(lin.F.row(label), row))
    assert found.stability[0, 1] != found.stability[1, 1]


def test_every_step_of_the_cascade_explains_the_network_with_those_weights():
    """One reader reads all networks of the cascade: the same as interpreters made anew, votes included."""
    model, x0 = deep(), images(2, 8)
    model[7], model[9] = nn.Linear(16 * 16, 64, dtype=D), nn.Linear(64, 10, dtype=D)
    found = faithfulness(model, x0, depths=2, top=4, noise=[0.1], fractions=2, progress=False)
    network = copy.deepcopy(model)
    randomised = Cascade(model, x0[:1], 2, 0).through(network)
    labels, before = model(x0).topk(4).indices.tolist(), []
    for step, _ in enumerate(chain([None], randomised)):
        now = [explained(fxscope.interpret(network, x[None]), k) for x, k in zip(x0, labels)]
        before = before or now
        for n, (a, b) in enumerate(zip(before, now)):
            expected = [f(p, q) for p, q in zip(a[:2], b[:2]) for f in (cosine, rank_correlation)]
            expected += votes(a[2], b[2], 4)
            assert found.cascade[0, :, step, n].tolist() == pytest.approx(expected, abs=1e-10)
    assert found.elected == 4


def explained(lin, labels):
    discussion = lin.pixel_discussion([labels[0]], reading="conserving", progress=False).images[0]
    return lin.F.row(labels[0]), discussion, lin.pixel_votes(labels, progress=False).winners


def test_the_explained_label_stands_for_election():
    model, x0 = deep(), images(1)
    last = int(model(x0).argmin())
    found = faithfulness(model, x0, labels=[last], depths=1, top=1, noise=[0.1], fractions=2, progress=False)
    assert found.elected == 1 and found.cascade[0, 4:, -1, 0].tolist() == [1, 1, 1]


def test_agreement_of_votes():
    """Half of the pixels vote as before; label 0 loses a vote of four to label 2."""
    a, b = torch.tensor([[0, 0], [1, 2]]), torch.tensor([[0, 2], [2, 1]])
    assert votes(a, b, 3) == pytest.approx((0.25, (2 * 1 + 1 * 1 + 1 * 2) / 16, 0.75))
    assert votes(a, a, 3) == pytest.approx((1, 6 / 16, 1))


def drawn_after(numbers):
    generator = torch.Generator().manual_seed(0)
    torch.randperm(numbers, generator=generator)
    return generator


def test_the_network_is_left_as_it_was_and_a_seed_says_all():
    model, x0 = (
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).to(D),
        images(1, 8),
    )
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    one, two, other = (
        faithfulness(model, x0, noise=[0.1], depths=1, fractions=3, seed=seed, progress=False)
        for seed in (0, 0, 1)
    )
    assert one.to_json() == two.to_json() != other.to_json()
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


def test_steps_of_the_cascade_are_grouped():
    assert faithfulness(deep(), images(1), depths=2, noise=[0.1], progress=False).depths == ("none", "7", "0")


def test_rank_correlation_shares_the_ranks_of_ties():
    a = torch.tensor([1.0, 2, 3, 4])
    assert rank_correlation(a, a.exp()) == pytest.approx(1) and rank_correlation(a, -a) == pytest.approx(-1)
    tied = torch.tensor([1.0, 1, 0, 0])
    assert rank_correlation(tied, torch.tensor([1.0, 0, 1, 0])) == pytest.approx(0, abs=1e-12)
    assert rank_correlation(tied, torch.zeros(4)) == 0


def test_records_are_saved_and_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    found = faithfulness(deep(), images(2), depths=1, noise=[0.1], fractions=3, progress=False)
    again = Faithfulness.load(found.save(tmp_path / "found.safetensors"))
    assert again.to_json() == found.to_json()
    assert json.loads(found.to_json())["freeze"]["cascade"]["row cosine"]["none"]["mean"] == pytest.approx(1)
    said = "2 images, 10 labels stand for election"
    assert said in found.plot(text="here").get_supxlabel() and said in str(found)
    assert str(found).count("area of") == 10 and "all weights random: votes agreement" in found._repr_html_()


def test_policies_are_compared_in_one_table_and_one_figure():
    """What knows no policy is the same for all; |row * x0| of a smooth network is not."""
    pytest.importorskip("matplotlib")
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(144, 3)).to(D).eval()
    found = faithfulness(
        model, images(2, 8), policies=["freeze", "taylor"], noise=[0.05], fractions=3, progress=False
    )
    assert torch.equal(found.deletion[0, 2:], found.deletion[1, 2:])
    assert not torch.equal(found.deletion[0, 0], found.deletion[1, 0])
    taylor = dict(zip(found.maps, found.deletion[1]))
    assert found.areas["deletion"].shape == (2, 5, 2) and taylor.keys() == set(found.maps)
    head, *rows = str(found).splitlines()[1:]
    assert head.split() == ["policy", "freeze", "taylor"] and all(r.count("+-") == 2 for r in rows)
    values = found.compared["area of insertion: |row * x0|"]
    assert [v["mean"] for v in values] == pytest.approx(found.areas["insertion"][:, 0].mean(-1).tolist())
    axes = found.plot().axes
    said = [axis.get_ylabel().splitlines()[0] for axis in axes[::5]]
    assert len(axes) == 10 and said == ["policy freeze", "policy taylor"]


WRONG = [
    {"policies": []},
    {"policies": "freeze"},
    {"policies": ["freeze", "freeze"]},
    {"top": 0},
    {"depths": 0},
    {"fractions": 0},
    {"noise": []},
    {"noise": [0.0]},
]


@pytest.mark.parametrize("given", WRONG, ids=str)
def test_wrong_arguments(given):
    with pytest.raises(WrongArgument, match=next(iter(given))):
        faithfulness(deep(), images(1), progress=False, **given)


def test_what_has_no_scale_or_weights_is_refused():
    with pytest.raises(FxscopeError, match="baseline"):
        faithfulness(linear(torch.zeros(16, dtype=D), 1.0), images(1, 4), progress=False)
    with pytest.raises(FxscopeError, match="no module with weights"):
        faithfulness(nn.Sequential(nn.ReLU(), nn.Flatten()), images(1, 4), progress=False)
    with pytest.raises(ShapeError, match="classifier"):
        faithfulness(nn.Conv2d(1, 1, 3).to(D), images(1, 8), progress=False)
