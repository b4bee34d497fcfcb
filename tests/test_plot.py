"""Figures and the commands that draw them."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

import fxscope
from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, NonFinite
from fxscope.plot import analysis as draw
from fxscope.plot.channels import pictures


def run(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def data(h=20, w=30):
    values = torch.zeros(3, h, w)
    values[:, 7:10, 11:15] = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    values[:, 8, 12] = 5.0
    return values


@pytest.mark.parametrize("draw", [fxscope.plot.row, fxscope.plot.column])
def test_filters_share_a_symmetric_scale_and_mark_the_place(draw, tmp_path):
    figure = draw(data(), text="a caption")
    whole, near = figure.axes[:2]
    shown = [a.images[0] for a in (whole, near)]
    assert all(i.get_clim() == (-5.0, 5.0) for i in shown)
    assert [tuple(float(v[0]) for v in line.get_data()) for a in (whole, near) for line in a.lines] == [
        (12.0, 8.0)
    ] * 2
    left, right = near.get_xlim()
    bottom, top = near.get_ylim()
    assert left < 11 and right > 15 and top < 7 < 10 < bottom and len(whole.patches) == 1
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()] == ["-5", "0", "5"]
    for suffix in ("pdf", "svg", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").stat().st_size > 1000


def _titles(figure):
    return [a.get_title() for a in figure.axes[:2]]


def test_the_cross_is_at_the_place_that_is_named_and_not_at_the_largest_coefficient():
    figure = fxscope.plot.row(data(), place=(9, 20), of="y0[1, 2, 3]")
    assert [tuple(float(v[0]) for v in a.lines[0].get_data()) for a in figure.axes[:2]] == [(20.0, 9.0)] * 2
    assert "y0[1, 2, 3]" in _titles(figure)[0] and "its place (9, 20)" in _titles(figure)[1]
    assert "largest (8, 12)" in _titles(fxscope.plot.column(data()))[1]


@pytest.mark.parametrize("verb", ["row", "column"])
def test_the_commands_mark_what_was_read(verb, tmp_path):
    """The place is the middle of the filter's support, without padding and at another scale, too."""
    (tmp_path / "net.py").write_text(
        "from torch import nn\n"
        "def up(): return nn.Sequential(nn.Conv2d(3, 12, 3), nn.LeakyReLU(0.1), nn.PixelShuffle(2))\n"
        "def down(): return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.LeakyReLU(0.1), nn.Conv2d(4, 3, 3))\n"
        "def scores(): return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    for name, index in (("up", (1, 17, 22)), ("down", (1, 9, 12))):
        at = ",".join(map(str, index))
        done = run(
            verb, f"{tmp_path}/net.py:{name}", "--size", 40, "--at", at, "-o", tmp_path / "a.png", "--json"
        )
        found = json.loads(done.stdout)
        model, x0 = models.load_model(f"{tmp_path}/net.py:{name}", seed=0), torch.rand(1, 3, 40, 40)
        filter = getattr(fxscope.interpret(model, x0).F, verb)(index)
        middle = [(int(w.min()) + int(w.max())) / 2 for w in filter.abs().sum(0).nonzero().T]
        assert all(abs(p - m) <= 1 for p, m in zip(found["place"], middle)), (name, found, middle)
        assert found["place_from"] == "graph" and (tmp_path / "a.png").exists()
    if verb == "row":
        done = run(verb, f"{tmp_path}/net.py:scores", "-o", tmp_path / "b.png", "--json")
        assert json.loads(done.stdout)["place"] is None and (tmp_path / "b.png").exists()


def test_several_outputs_have_no_one_shape_and_the_keys_are_named():
    class Two(torch.nn.Module):
        def forward(self, x):
            return {"image": 2 * x, "mean": x.mean((2, 3))}

    lin = fxscope.interpret(Two(), torch.rand(1, 3, 4, 4))
    with pytest.raises(FxscopeError, match=r"'image': \(3, 4, 4\), 'mean': \(3,\).*--outputs"):
        _ = lin.F.outputs.shape
    assert lin.F.inputs.shape == (3, 4, 4)


def test_signed_images_share_their_scale_and_photographs_do_not_need_one():
    figure = fxscope.plot.images({"a": data(), "b": 3 * data()}, signed=True)
    assert [a.images[0].get_clim() for a in figure.axes[:2]] == [(-15.0, 15.0)] * 2
    assert fxscope.plot.images({"photograph": torch.rand(3, 8, 8)}).axes[0].images[0].get_array().shape == (
        8,
        8,
        3,
    )
    with pytest.raises(FxscopeError, match="expected an image"):
        fxscope.plot.row(torch.zeros(5))


def opponent(C=3, h=15, w=17):
    """A filter whose channels cancel, so that their mean is 0, and a little noise."""
    rng = torch.Generator().manual_seed(1)
    colour = torch.randn(C, generator=rng, dtype=torch.float64)
    wave = torch.randn(h, w, generator=rng, dtype=torch.float64)
    noise = 0.1 * torch.randn(C, h, w, generator=rng, dtype=torch.float64)
    values = (colour - colour.mean())[:, None, None] * wave + noise
    return values - values.mean(0)


def note(figure):
    owners = [figure, *figure.subfigs]
    return "".join(o.get_supxlabel() for o in owners)


def test_three_channels_are_colours_that_show_all_of_the_energy():
    values = opponent()
    figure = fxscope.plot.row(values)
    assert values.mean(0).abs().max() < 1e-12 < 1 < values.abs().max()
    for axis in figure.axes[:2]:
        shown, limit = axis.images[0].get_array(), axis.images[0].get_clim()[1]
        back = torch.from_numpy(2 * limit * (shown.data - 0.5)).permute(2, 0, 1)
        assert torch.allclose(back, values, rtol=0, atol=1e-12)
    assert "red, green, blue" in note(figure) and "100% of the energy" in note(figure)


@pytest.mark.parametrize("C", [2, 4, 16])
def test_other_channels_are_drawn_along_their_strongest_direction(C):
    values = opponent(C)
    _, s, vh = torch.linalg.svd(values.flatten(1), full_matrices=False)
    figure = fxscope.plot.row(values)
    shown = torch.from_numpy(figure.axes[0].images[0].get_array().data).flatten()
    expected = s[0] * vh[0]
    assert min((shown - expected).abs().max(), (shown + expected).abs().max()) < 1e-12
    assert f"{C} channels: {100 * float(s[0] ** 2 / s.square().sum()):.0f}% of the energy" in note(figure)


@pytest.mark.parametrize(("scale", "C"), [(1e-200, 2), (1e200, 5), (1.0, 7)])
def test_a_filter_that_is_the_same_in_all_channels_keeps_its_sign(scale, C):
    grey = scale * torch.randn(9, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = pictures([grey.expand(C, 9, 9)])
    assert torch.allclose(torch.from_numpy(found.arrays[0]) / scale, C**0.5 * grey / scale, atol=1e-12)
    assert found.shares == [pytest.approx(1, abs=1e-12)]


def test_what_is_cut_counts_as_not_seen():
    for C in (1, 2, 3):
        values = opponent(C) if C > 1 else opponent(2)[:1]
        found = pictures([values], saturate=4)
        limit = found.limit
        u, s, vh = torch.linalg.svd(values.flatten(1), full_matrices=False)
        seen = (u[:, :1] * (s[0] * vh[:1]).clamp(-limit, limit)) if C != 3 else values.clamp(-limit, limit)
        lost = (values.flatten(1) - seen.reshape(C, -1)).square().sum() / values.square().sum()
        assert found.shares[0] == pytest.approx(1 - float(lost), abs=1e-12) and found.shares[0] < 0.99
        assert f"{100 * found.shares[0]:.0f}% of the energy" in found.note


def test_panels_of_one_channel_and_mixed_ones():
    assert pictures([torch.zeros(3, 4, 4)]).shares == [1.0] and pictures([torch.zeros(2, 4, 4)]).shares == [
        1.0
    ]
    assert pictures([opponent()[:1], opponent()[0]]).note == ""
    mixed = pictures([opponent(), opponent()[:1]])
    assert not mixed.in_colour and "1 and 3 channels" in mixed.note
    with pytest.raises(NonFinite):
        pictures([torch.full((2, 3, 3), float("nan"))])


def _net():
    torch.manual_seed(0)
    conv = torch.nn.Conv2d
    return torch.nn.Sequential(conv(3, 4, 3, padding=1), torch.nn.ReLU(), conv(4, 3, 3, padding=1)).double()


FIGURES = {
    "row": lambda lin, x0: lin.F.filters(rows=[(0, 4, 4)]).plot(),
    "column": lambda lin, x0: fxscope.plot.column(lin.F.column((0, 4, 4))),
    "images": lambda lin, x0: fxscope.plot.images({"F x0": lin.F @ x0[0], "r": lin.residual[0]}, signed=True),
    "eigen": lambda lin, x0: lin.F.svd(2).plot(),
    "compared": lambda lin, x0: fxscope.compare(x0, ["freeze", "taylor"], at=(0, 4, 4), model=_net()).plot(),
    "grid": lambda lin, x0: draw.grid({"a": lin.F.row((0, 4, 4)), "b": lin.F.row((1, 4, 4))}, 1),
    "aligned": lambda lin, x0: draw.filter_row({"a": lin.F.row((0, 4, 4))}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_of_filters_states_the_share_that_is_seen(name):
    x0 = torch.rand(1, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    figure = FIGURES[name](fxscope.interpret(_net(), x0), x0)
    assert "100% of the energy" in " ".join(note(figure).split())
    panels = [a.images[0].get_array() for a in figure.axes if a.images]
    assert panels and all(p.shape[-1] == 3 for p in panels)


def test_contributions_are_drawn_up_to_the_output():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, 3)).double()
    c = fxscope.interpret(model, torch.randn(1, 1, 9, 9, dtype=torch.float64)).contributions((0, 2, 2))
    axis = c.plot().axes[0]
    running = axis.lines[0].get_ydata()
    assert abs(running[-1] - c.output) < 1e-6 and [t.get_text() for t in axis.get_xticklabels()] == [
        "F x0",
        "0",
        "2",
    ]


def test_commands(tmp_path):
    done = run(
        "row", "fxscope:pixelshuffle4x", "--size", 24, "--at", "0,40,41", "-o", tmp_path / "row.svg", "--json"
    )
    numbers = json.loads(done.stdout)
    assert numbers["error"] < 1e-5 and numbers["nonzero"] == 121 and (tmp_path / "row.svg").exists()
    assert (
        "energy"
        in run("column", "fxscope:pixelshuffle4x", "--size", 24, "-o", tmp_path / "column.png").stdout
    )
    done = run("contributions", "torchvision:squeezenet1_1", "--top", "--json")
    found = json.loads(done.stdout)
    assert found["error"] < 1e-5 and len(found["terms"]) == 26
    kept = json.loads(run("storage", "torchvision:vgg11", "--size", "64x64", "--json").stdout)
    assert kept["packed"] < kept["recorded"] < 4 * kept["activations"]
    for bad in (
        ("row", "fxscope:pixelshuffle4x", "--at", "x"),
        ("row", "fxscope:pixelshuffle4x", "--at", "0,9999,0"),
        ("storage", "torchvision:vgg11", "--size", "big"),
        ("column", "torchvision:squeezenet1_1", "-o", tmp_path / "c.png"),
    ):
        assert run(*bad).exit_code in (1, 2)


def test_a_long_caption_leaves_the_panels_their_size():
    """The figure grows by the lines of its caption, which are as wide as it."""

    def heights(text):
        figure = fxscope.plot.row(torch.rand(3, 16, 16), text=text)
        figure.draw_without_rendering()
        return [a.get_position().height * figure.get_figheight() for a in figure.axes[:2]], figure

    short, _ = heights("a model, freeze")
    long, figure = heights(
        "shorter side 256 (bilinear), center 224x224, RGB 0..1, minus (0.485, 0.456, 0.406), " * 5
    )
    assert all(b > 0.9 * a for a, b in zip(short, long)), (short, long)
    box = figure._supxlabel.get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.width
