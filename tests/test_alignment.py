"""Scale and offset of networks of images are what the support of F says, with and without padding."""

from __future__ import annotations

import json
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope import models
from fxscope.analysis import energy_against_distance
from fxscope.analysis.sampled import sampled, zoom
from fxscope.cli.main import cli
from fxscope.errors import NotLocal, PlaceIndexError
from fxscope.images import photos
from fxscope.paper.tour.networks import network
from fxscope.paper.tour.super_resolution import _seen

D = torch.float64
UNPADDED = """
from torch import nn
import torch.nn.functional as F

class Cut(nn.Module):  # as waifu2x ends: a transposed convolution, whose border is cut
    def forward(self, x): return F.pad(x, (-1, -1, -1, -1))

def once(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.Conv2d(4, 1, 5))
def twice(): return nn.Sequential(
    nn.Conv2d(3, 6, 3), nn.LeakyReLU(0.1), nn.Conv2d(6, 4, 3), nn.PixelShuffle(2))
def transposed(): return nn.Sequential(
    nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.Conv2d(4, 4, 3), nn.ConvTranspose2d(4, 1, 4, 2, 3), Cut())
def down(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.LeakyReLU(0.1), nn.Conv2d(4, 1, 4, 2))
"""
# step and start of (y, x), and the sizes of the output of 32 x 38
KNOWN = {
    "once": ("1", "3", (26, 32)),
    "twice": ("1/2", "7/4", (56, 68)),
    "transposed": ("1/2", "13/4", (50, 62)),
    "down": ("2", "5/2", (14, 17)),
}


def _built(name):
    space: dict = {}
    exec(UNPADDED, space)
    torch.manual_seed(0)
    return space[name]().double().eval()


def _image(*shape):
    return torch.rand(1, *shape, generator=torch.Generator().manual_seed(0), dtype=D)


def _lin(model, *shape):
    return fxscope.interpret(model.double().eval(), _image(*shape))


def _line(found):
    return [(str(a), str(b)) for a, b in zip(found.step, found.start)]


@pytest.mark.parametrize("name", KNOWN)
def test_networks_without_padding(name):
    step, start, outputs = KNOWN[name]
    lin = _lin(_built(name), 3, 32, 38)
    found = lin.F.alignment()
    assert _line(found) == [(step, start)] * 2 and found.source == "graph"
    assert found.outputs == outputs and found.inputs == (32, 38)
    assert found.scale == (1 / Fraction(step),) * 2


@pytest.mark.parametrize("name", KNOWN)
def test_the_line_is_that_of_the_middles_of_the_measured_rows(name):
    """The supports of rows of several outputs, over whole periods of the phases, have the middles it says."""
    lin = _lin(_built(name), 3, 32, 38)
    found, middles = lin.F.alignment(), []
    places = [(10 + p, 8 + q) for p in range(2) for q in range(2)]
    for row in lin.F.rows([(0, *p) for p in places], progress=False):
        where = row.abs().sum(0).nonzero()
        middles.append((where.amin(0) + where.amax(0)).double() / 2)
    said = torch.tensor([[float(c) for c in found.centre(p)] for p in places], dtype=D)
    assert torch.allclose(torch.stack(middles).mean(0), said.mean(0), atol=1e-12)
    assert (torch.stack(middles) - said).abs().max() <= 0.5


class Chain(nn.Module):
    """A function of two convolutions, without padding and with."""

    def __init__(self, how):
        super().__init__()
        self.how, self.cut, self.own = how, nn.Conv2d(1, 4, 3), nn.Conv2d(1, 1, 3, padding=1)
        self.norm = nn.InstanceNorm2d(1)

    def forward(self, x):
        return self.how(self, x)


HALF = [("1/2", "-1/4")] * 2
OTHERS = {
    "with padding": (lambda m, x: m.own(x), [("1", "0")] * 2, "graph"),
    "of a deep network": (lambda m, x: [x := m.own(x) for _ in range(20)][-1], [("1", "0")] * 2, "graph"),
    "a skip connection": (lambda m, x: m.cut(m.own(x)) + x[..., 1:-1, 1:-1], [("1", "1")] * 2, "graph"),
    "the whole image": (lambda m, x: m.cut(x) + x.mean((2, 3), keepdim=True), [("1", "1")] * 2, "graph"),
    "a norm": (lambda m, x: m.cut(m.norm(x)), [("1", "1")] * 2, "graph"),
    "reflected": (lambda m, x: m.cut(F.pad(x, (1, 1, 1, 1), "reflect")), [("1", "0")] * 2, "graph"),
    "one side": (lambda m, x: F.pad(m.cut(x), (-3, 1, -2, 0)), [("1", "3"), ("1", "4")], "graph"),
    "flipped": (lambda m, x: m.cut(x.flip(3))[..., 2:], [("1", "1"), ("-1", "16")], "graph"),
    "interpolated": (lambda m, x: F.interpolate(m.own(x), scale_factor=2, mode="bicubic"), HALF, "graph"),
    "by hand": (
        lambda m, x: m.cut(x).reshape(1, 2, 2, 18, 18).permute(0, 3, 1, 4, 2).reshape(1, 1, 36, 36),
        [("1/2", "3/4")] * 2,
        "filters",
    ),
    "by an unfold": (lambda m, x: F.unfold(m.own(x), 3).view(1, 9, 18, 18), [("1", "1")] * 2, "filters"),
    "by a product": (
        lambda m, x: (x @ x.transpose(2, 3).tanh())[..., ::2],
        [("1", "0"), ("2", "1/2")],
        "sizes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_other_operators(name):
    how, line, source = OTHERS[name]
    found = _lin(Chain(how), 1, 20, 20).F.alignment()
    assert _line(found) == line and found.source == source


@pytest.mark.parametrize("variant", ["stats", "scale", "taylor"])
def test_every_variant_of_a_norm(variant):
    model = Chain(OTHERS["a norm"][0]).double().eval()
    found = fxscope.interpret(model, _image(1, 20, 20), policy={"instance_norm": variant}).F.alignment()
    assert _line(found) == [("1", "1")] * 2 and found.source == "graph"


@pytest.mark.parametrize("size", [9, 16, 40])
def test_it_is_the_same_at_every_size(size):
    found = _lin(models.PixelShuffleNet(), 1, size, size + 3).F.alignment()
    assert _line(found) == [("1/4", "-3/8")] * 2 and found.source == "graph"


@pytest.mark.parametrize("name", KNOWN)
def test_places_go_there_and_back(name):
    found = _lin(_built(name), 3, 32, 38).F.alignment()
    box = found.inside()
    for o in [(0, 0), (3, 5), (-1, -1)]:
        near, centre = found.input_of(o), found.centre(o)
        assert all(abs(i - c) <= 0.5 for i, c in zip(near, centre))
        assert all(s.start <= i < s.stop for i, s in zip(near, box))
        back = found.output_of(near)
        assert all(abs(i - c) <= max(abs(a), 1) for i, c, a in zip(near, found.centre(back), found.step))
    with pytest.raises(PlaceIndexError, match="no place of the output"):
        found.centre((0, found.outputs[1]))
    with pytest.raises(PlaceIndexError, match="no place of the input"):
        found.output_of((0, 0, 1))
    with pytest.raises(PlaceIndexError):
        found.input_of((0.5, 1))


def test_what_is_no_network_of_images_is_refused():
    lin = _lin(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)), 1, 8, 8)
    with pytest.raises(NotLocal, match="from images to images"):
        lin.F.alignment()
    with pytest.raises(NotLocal, match="transposes"):
        lin.F.T.alignment()


def _kernel(model, weight):
    """The same network whose every first convolution is one filter, so that the energy of rows is known."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()[:, 0] = weight(module.weight.shape[2:])
                module.bias.zero_()  # so that all values are positive, as the image is
            elif isinstance(module, nn.ConvTranspose2d):
                module.weight.zero_()[:, :, 1:3, 1:3] = 1
    return model


def _delta(shape):
    found = torch.zeros(shape, dtype=D)
    found[shape[0] // 2, shape[1] // 2] = 1
    return found


@pytest.mark.parametrize(("weight", "radius"), [(_delta, 0), (lambda s: torch.ones(s, dtype=D), 2)])
@pytest.mark.parametrize("name", ["once", "twice", "transposed"])
def test_the_radius_of_the_energy_is_that_of_the_filter(name, weight, radius):
    lin = fxscope.interpret(_kernel(_built(name), weight), _image(3, 32, 38))
    at, outs = sampled(lin, 8)
    found = energy_against_distance(lin.F.rows([(0, *o) for o in outs], progress=False), at)
    assert found.radius(0.9) == radius + (radius > 0 and name == "once")  # 3 + 3 taps, or 3 + 5
    columns = lin.F.columns([(0, *p) for p in at], progress=False)
    assert zoom(lin, 4) == 4 * lin.F.alignment().scale[0]
    spread = fxscope.analysis.invariance(columns, outs, zoom(lin, 4)).spread
    assert spread < 1e-12  # F is the same everywhere


def test_a_row_is_compared_around_its_own_place():
    compared = fxscope.compare(
        _image(3, 32, 38), ["freeze"], at=(0, 20, 21), model=_kernel(_built("twice"), _delta)
    )
    each = compared.entries[0] if hasattr(compared, "entries") else compared.readings[0]
    assert each.place == (12, 12) and each.energy[0] == 1  # 20/2 + 7/4 = 11.75, 21/2 + 7/4 = 12.25


@pytest.mark.parametrize("name", KNOWN)
def test_rows_from_crops(name):
    model, x0 = _built(name), _image(3, 40, 44)
    lin = fxscope.interpret(model, x0)
    last = lin.F.outputs.shape[1] - 1
    for index in ((0, 0, 0), (0, last, 3), (0, last // 2, last // 3)):
        row, got = lin.F.row(index), fxscope.local_row(model, x0, index)
        assert got.values.count_nonzero() == row.count_nonzero() and got.values.numel() < x0.numel() / 4
        assert (row[got.box] - got.values).abs().max() < 1e-12
        pixel = lin.F.alignment().input_of(index[1:])
        column, part = lin.F.column((0, *pixel)), fxscope.local_column(model, x0, (0, *pixel))
        assert part.values.count_nonzero() == column.count_nonzero() > 0
        assert (column[part.box] - part.values).abs().max() < 1e-12


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    pixels = np.random.default_rng(0).integers(0, 255, (64, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "net.py").write_text(UNPADDED)
    return folder


@pytest.mark.parametrize("name", KNOWN)
def test_the_command_line(files, name):
    arguments = ["locality", f"{files}/net.py:{name}", f"{files}/photo.png", "--places", "3", "--json"]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["energy"]["radius_99"] <= 4  # the furthest pixel that a row reads


@pytest.mark.full
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "transposed" else [pytest.mark.full]) for n in KNOWN]
)
def test_the_report(files, tmp_path, name):
    arguments = [
        "report",
        f"{files}/net.py:{name}",
        f"{files}/photo.png",
        "--no-live",
        "--out",
        str(tmp_path / "page"),
    ]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "page/numbers.json").read_text())["chapters"][name]["photo.png"]
    assert found["energy"]["radius_99"] <= 4 and found["sum_error"] < 1e-4


@pytest.mark.parametrize(("name", "scale"), [("once", 1), ("twice", 2), ("transposed", 2), ("down", 1)])
def test_the_scale_of_a_network_is_how_its_output_grows(name, scale):
    assert network(f"file:{name}", _built(name).float()).scale == scale


def test_the_truth_of_an_upscaler_is_the_part_that_it_shows():
    """A ramp, made smaller, cut, and enlarged again, is the part of the ramp at its place."""
    ramp = torch.linspace(0, 1, 80)[None, :, None] * torch.linspace(0.2, 1, 96)[None, None]
    low = photos.downscale(ramp, 2)
    cut = Chain(lambda m, x: F.interpolate(x[..., 3:-4, 5:-3], scale_factor=2, mode="bilinear"))
    lin = fxscope.interpret(cut, low[None])
    shown, truth = lin.y0[0], _seen(ramp, lin, 2)
    assert truth.shape == shown.shape == (1, 66, 80)
    assert (truth - shown)[:, 1:-1, 1:-1].abs().max() < 1e-3  # its neighbours are 1e-2 away


def test_filters_know_where_they_are_centred(tmp_path):
    """A record of rows or columns has the places that lin.F.alignment() tells; its figure marks them."""
    twice = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.PixelShuffle(2))
    lin = fxscope.interpret(twice, torch.rand(1, 1, 16, 16))
    lines = lin.F.alignment()
    rows, columns = lin.F.filters(rows=[(0, 5, 6), (0, -1, -1)]), lin.F.filters(columns=[(0, 4, 4)])
    assert rows.places == (lines.input_of((5, 6)), lines.input_of((27, 27))) == ((3, 4), (14, 14))
    assert columns.places == (lines.output_of((4, 4)),)
    titles = [axis.get_xlabel() for axis in rows.plot().axes]
    assert any("its place (3, 4)" in title for title in titles), titles
    assert type(rows).load(rows.save(tmp_path / "rows.safetensors")).places == rows.places
    scores = torch.nn.Sequential(twice, torch.nn.Flatten(), torch.nn.Linear(784, 3))
    assert fxscope.interpret(scores, torch.rand(1, 1, 16, 16)).F.filters(rows=[(1,)]).places == ()
