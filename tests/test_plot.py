"""Figures and the commands that draw them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fxscope
from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, NonFinite, ShapeError, WrongArgument
from fxscope.plot import analysis as draw
from fxscope.plot.channels import pictures
from fxscope.plot.filters import zoom_box


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


def place_of(axis):
    """(y, x) of the corners that mark a place: the mean of their line."""
    (line,) = (line for line in axis.lines if line.get_gid() == "place")
    x, y = (np.nanmean(v) for v in line.get_data())
    return float(y), float(x)


@pytest.mark.parametrize("draw", [fxscope.plot.row, fxscope.plot.column])
def test_filters_share_a_symmetric_scale_and_mark_the_place(draw, tmp_path):
    figure = draw(data(), text="a caption", channels="colour", clip=100)
    whole, near = figure.axes[:2]
    shown = [a.images[0] for a in (whole, near)]
    assert all(i.get_clim() == (-5.0, 5.0) for i in shown)
    assert [place_of(a) for a in (whole, near)] == [pytest.approx((8, 12))] * 2
    left, right = near.get_xlim()
    bottom, top = near.get_ylim()
    assert left < 11 and right > 14 and top < 7 < 9 < bottom
    assert [t.get_text() for t in figure.axes[2].get_yticklabels()] == ["-5", "0", "5"]
    for suffix in ("pdf", "svg", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").stat().st_size > 1000


def test_corners_mark_the_place_that_is_named_and_not_the_largest_coefficient():
    figure = fxscope.plot.row(data(), place=(9, 14), of="y0[1, 2, 3]")
    assert [place_of(a) for a in figure.axes[:2]] == [pytest.approx((9, 14))] * 2
    assert "y0[1, 2, 3]" in figure.get_suptitle() and figure.axes[0].get_xlabel() == "its place (9, 14)"
    assert fxscope.plot.column(data()).axes[0].get_xlabel() == "largest (8, 12)"


def test_a_marker_hides_no_pixel_of_the_filter():
    """The corners of the zoom lie outside of the pixel that they mark."""
    near = fxscope.plot.row(data()).axes[1]
    (line,) = (line for line in near.lines if line.get_gid() == "place")
    x, y = line.get_data()
    inside = (np.abs(x - 12) < 0.5) & (np.abs(y - 8) < 0.5)
    assert not inside.any() and np.nanmax(np.abs(x - 12)) < 2


def panels_with_images(figure):
    return [a for a in figure.axes if a.images and a.get_label() != "<colorbar>"]


def test_a_zoom_never_shows_the_picture_again():
    """A box on more than half of the picture gives no zoom; the share of the energy in a zoom is said."""
    wide = torch.randn(3, 20, 20, generator=torch.Generator().manual_seed(0))
    assert len(panels_with_images(fxscope.plot.row(wide, (10, 10)))) == 1
    assert len(panels_with_images(fxscope.plot.row(wide, (10, 10), zoom=19))) == 1
    assert len(panels_with_images(fxscope.plot.row(wide, (10, 10), zoom=9))) == 2
    peak = 0.05 * wide
    peak[:, 10, 10] = 9
    figure = fxscope.plot.row(peak)
    top, bottom, left, right = zoom_box(peak.abs().amax(0).numpy(), 10, 10, None)
    energy = peak.abs().amax(0).square()
    held = float(energy[top:bottom, left:right].sum() / energy.sum())
    assert (bottom - top) * (right - left) <= 200 and f"holds {100 * held:.3g}% of the energy" in note(figure)
    assert len(panels_with_images(figure)) == 2 and held > 0.9


def test_a_row_lies_over_its_photograph_with_its_support():
    photograph = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
    figure = fxscope.plot.row(data(), photograph=photograph)
    shown, over = figure.axes[:2]
    assert np.allclose(shown.images[0].get_array(), photograph.permute(1, 2, 0).double())
    alpha = over.images[1].get_array()[..., 3]
    assert (alpha > 0).sum() == (data().abs().sum(0) > 0).sum() and alpha.max() == 1
    for axis in figure.axes[:3]:
        box = axis.patches[0]
        assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (10.5, 6.5, 4, 3)
    with pytest.raises(ShapeError, match="31 x 20 pixels and the filter 30 x 20"):
        fxscope.plot.row(data(), photograph=torch.rand(3, 20, 31))
    assert "the photograph from -1 (black) to 1 (white)" in note(
        fxscope.plot.row(data(), photograph=torch.linspace(-1, 1, 600).reshape(1, 20, 30))
    )


def test_the_norm_has_the_sign_of_the_sum_and_nothing_cancels():
    values = torch.randn(3, 15, 17, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    found = pictures([values], rule="norm")
    shown = torch.from_numpy(found.arrays[0])
    assert torch.allclose(shown.abs(), values.norm(dim=0), atol=1e-12)
    sums = values.sum(0)
    assert ((shown < 0) == (sums < 0)).all() and found.shares == [pytest.approx(1, abs=1e-12)]
    assert (pictures([opponent()], rule="norm").arrays[0] >= 0).all()  # the sign of rounding errors is none


@pytest.mark.parametrize("clip", [50, 90, 98, 100])
def test_colours_end_where_smaller_values_hold_a_share_of_the_sum(clip):
    values = torch.randn(1, 9, 9, generator=torch.Generator().manual_seed(4), dtype=torch.float64) ** 3
    found = pictures([values], clip=clip)
    sizes = values.abs().flatten()
    assert sizes[sizes <= found.limit].sum() >= clip / 100 * sizes.sum() * (1 - 1e-12)
    assert sizes[sizes < found.limit].sum() < clip / 100 * sizes.sum()
    lost = (sizes - found.limit).clamp_min(0).square().sum() / sizes.square().sum()
    assert found.shares[0] == pytest.approx(1 - float(lost), abs=1e-12)
    assert ("colours end at" in found.note) == (found.limit < float(sizes.max()))


@pytest.mark.parametrize("scale", ["linear", "root", "log"])
def test_scales_are_symmetric_and_order_values(scale):
    values = torch.linspace(-3, 3, 81, dtype=torch.float64).reshape(1, 9, 9)
    norm = pictures([values], scale=scale).norm
    at = np.asarray(norm(values[0].numpy().ravel()))
    assert np.allclose(at + at[::-1], 1, atol=1e-12) and (np.diff(at) > 0).all()
    assert at[40] == pytest.approx(0.5) and (at[0], at[-1]) == (pytest.approx(0), pytest.approx(1))
    shown = float(norm(0.03))
    expected = {"linear": 0.505, "root": 0.55, "log": 0.5 + 0.5 * (1 + 1 / 0.9) / (3 + 1 / 0.9)}
    assert shown == pytest.approx(expected[scale], abs=1e-9)


def test_wrong_rules_scales_and_percentages_are_refused():
    for options in ({"channels": "mean"}, {"scale": "cubic"}, {"clip": 0.0}, {"clip": 101.0}):
        with pytest.raises(WrongArgument, match="it is|above 0"):
            fxscope.plot.row(data(), **options)
    with pytest.raises(WrongArgument, match="at most 4 channels"):
        fxscope.plot.row(torch.rand(5, 9, 9), channels="panels")


def test_panels_of_channels_show_every_channel():
    values = data()
    figure = fxscope.plot.row(values, channels="panels", clip=100)
    shown = panels_with_images(figure)
    assert [a.get_title() for a in shown[:3]] == ["red", "green", "blue"] and "zoom of" in shown[
        3
    ].get_title()
    for axis, channel in zip(shown, values):
        assert torch.equal(torch.from_numpy(np.array(axis.images[0].get_array())), channel.double())


@pytest.mark.full
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


def test_signed_images_share_their_scale_unless_one_would_look_blank():
    figure = fxscope.plot.images({"a": data(), "b": 3 * data()}, signed=True)
    assert [a.images[0].get_clim() for a in figure.axes[:2]] == [(-15.0, 15.0)] * 2
    figure = fxscope.plot.images({"a": data(), "b": 30 * data(), "0": 0 * data()}, signed=True)
    assert [a.images[0].get_clim()[1] for a in figure.axes[:2]] == [5, 150]
    titles = [a.get_title() for a in figure.axes[:2]]
    assert titles == ["a\n\u00b15", "b\n\u00b11.5e+02"] and "its own scale" in note(figure)


def test_photographs_are_drawn_as_they_are():
    """A dict has titles, a list none; what is cut is said."""
    picture = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    for given in ({"photograph": picture}, [picture], (picture,)):
        shown = fxscope.plot.images(given).axes[0].images[0].get_array()
        assert np.array_equal(shown, picture.permute(1, 2, 0).double())
    beyond = picture.clone()
    beyond[0, :2] = 1.5
    assert "a: 8.3% of the values are outside of 0 to 1 and cut" in note(fxscope.plot.images({"a": beyond}))
    assert len(fxscope.plot.images([picture] * 3).axes) == 3
    with pytest.raises(FxscopeError, match="expected an image"):
        fxscope.plot.row(torch.zeros(5))
    for wrong in ({}, [], {"a": [1.0]}, [picture.numpy()]):
        with pytest.raises(WrongArgument, match="images: panel"):
            fxscope.plot.images(wrong)


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
    return " ".join("".join(o.get_supxlabel() for o in owners).split())


def test_three_channels_are_colours_that_show_all_of_the_energy():
    values = opponent()
    figure = fxscope.plot.row(values, zoom=7, channels="colour", clip=100)
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
    figure = fxscope.plot.row(values, channels="strongest", clip=100)
    shown = torch.from_numpy(figure.axes[0].images[0].get_array().data).flatten()
    expected = s[0] * vh[0]
    assert min((shown - expected).abs().max(), (shown + expected).abs().max()) < 1e-12
    share = f"{100 * float(s[0] ** 2 / s.square().sum()):.0f}% of the energy"
    assert f"{C} channels; the colours hold {share}" in note(figure)


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
    assert "hold 100% of the energy" in note(figure)
    panels = [a for a in panels_with_images(figure) if a.get_title() != "input"]
    assert panels and all(
        a.images[0].get_array().ndim == (3 if name in ("images", "eigen") else 2) for a in panels
    )


def test_contributions_are_drawn_up_to_the_output():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Conv2d(3, 1, 3)).double()
    c = fxscope.interpret(model, torch.randn(1, 1, 9, 9, dtype=torch.float64)).contributions((0, 2, 2))
    axis = c.plot().axes[0]
    running = axis.lines[1].get_xdata()
    assert abs(running[-1] - c.output) < 1e-6 and [t.get_text() for t in axis.get_yticklabels()] == [
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
