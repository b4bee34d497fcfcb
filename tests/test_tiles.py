"""The interpreter in tiles equals that of the whole image: borders, odd sizes, every phase of a grid."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from chosen import chosen
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import (
    FxscopeError,
    NotLocal,
    PlaceIndexError,
    ShapeError,
    StaleInterpreter,
    WrongArgument,
)
from fxscope.linop.tiles import TiledInterpreter, memory, sheet
from fxscope.paper.tour import large
from fxscope.testing import randomize

D = torch.float64


class Around(nn.Module):
    """A convolution and a ReLU, something, a convolution."""

    def __init__(self, middle, padding=1, mode="zeros", channels=4):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=padding, padding_mode=mode)
        self.b = nn.Conv2d(channels, 2, 3, padding=padding, padding_mode=mode)
        self.middle = middle

    def forward(self, x):
        return self.b(self.middle(torch.relu(self.a(x))))


class Padded(nn.Module):
    """Padded to a multiple of 4 at the bottom and the right, down and up again, and cut."""

    def __init__(self, mode):
        super().__init__()
        self.down, self.up, self.mode = nn.Conv2d(4, 8, 4, 4), nn.ConvTranspose2d(8, 4, 4, 4), mode

    def forward(self, h):
        height, width = h.shape[2], h.shape[3]
        padded = F.pad(h, (0, -width % 4, 0, -height % 4), self.mode)
        return self.up(F.silu(self.down(padded)))[:, :, :height, :width] + h


class UNet(nn.Module):
    """Two levels, with average and overlapping max-pools, upsampling and skip connections."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(8, 4, 1)

    def forward(self, h):
        one = F.gelu(self.a(F.avg_pool2d(h, 2)))
        two = F.relu(self.b(F.max_pool2d(one, 3, 2, 1)))
        up = F.interpolate(two, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.c(torch.cat([h, F.interpolate(torch.relu(up + one), scale_factor=2, mode="nearest")], 1))


class Back(nn.Module):
    """As far down as the middle, and back by a transposed convolution."""

    def __init__(self, down, stride=2):
        super().__init__()
        self.down, self.up = down, nn.ConvTranspose2d(4, 4, stride + 2, stride, 1)

    def forward(self, h):
        return self.up(torch.tanh(self.down(h)))


# (what is between two convolutions, options, sizes): the second size of each is not a multiple of the tile
NETWORKS = {
    "zero padding": (lambda: nn.Identity(), {}, (37, 45)),
    "no padding": (lambda: nn.LeakyReLU(0.1), {"padding": 0}, (37, 45)),
    "reflect padding": (lambda: nn.Tanh(), {"mode": "reflect"}, (37, 45)),
    "replicate padding": (lambda: nn.BatchNorm2d(4), {"mode": "replicate"}, (35, 46)),
    "stride": (lambda: nn.Conv2d(4, 4, 3, 2, 1), {}, (37, 45)),
    "stride 3, even kernel": (lambda: nn.Conv2d(4, 4, 4, 3), {"padding": 0}, (42, 51)),
    "dilation": (lambda: nn.Conv2d(4, 4, 3, padding=4, dilation=4), {}, (37, 45)),
    "pool, ceil_mode": (lambda: nn.MaxPool2d(3, 2, ceil_mode=True), {}, (37, 46)),
    "average pool, ceil_mode": (
        lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        {},
        (38, 45),
    ),
    "pool and back": (lambda: Back(nn.MaxPool2d(2)), {}, (40, 46)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 4, 5, 3, 2, output_padding=1), {}, (21, 26)),
    "pixel shuffle": (lambda: nn.Sequential(nn.Conv2d(4, 16, 3, 1, 1), nn.PixelShuffle(2)), {}, (21, 26)),
    "pixel unshuffle": (lambda: nn.PixelUnshuffle(2), {"channels": 16}, (38, 46)),
    "bicubic": (lambda: nn.Upsample(scale_factor=2.0, mode="bicubic"), {}, (21, 26)),
    "padded to a multiple": (lambda: Padded("reflect"), {}, (37, 46)),
    "u-net": (lambda: UNet(), {}, (40, 48)),
}


def _model(name):
    make, options, size = NETWORKS[name]
    x0 = torch.randn(1, 2, *size, generator=torch.Generator().manual_seed(0), dtype=D)
    torch.manual_seed(0)
    return randomize(Around(make(), **options).double().eval(), x0), x0


ALWAYS = chosen(("reflect padding", "stride", "pool, ceil_mode", "pixel shuffle"), NETWORKS)


def _sampled(name):
    return pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.full])


def _off(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype
    return float((a - b).abs().max() / b.abs().max())


def _dense(lin):
    """Dense vectors of both spaces."""
    g = torch.Generator().manual_seed(1)
    return (torch.randn(3, *s.shape, generator=g, dtype=D) for s in (lin.F.inputs, lin.F.outputs))


@pytest.mark.parametrize("name", [_sampled(n) for n in NETWORKS])
def test_tiles_are_the_whole(name):
    """Values and products, a row and a column on the seams of tiles, gap and contributions."""
    model, x0 = _model(name)
    whole, lin = fxscope.interpret(model, x0), fxscope.interpret(model, x0, tile=16)
    assert isinstance(lin, TiledInterpreter) and len(lin.tiling.windows) >= 4
    v, u = _dense(whole)
    assert _off(lin.y0, whole.y0) < 1e-12 and _off(lin.residual, whole.residual) < 1e-12
    assert _off(lin.F @ v, whole.F @ v) < 1e-12 and _off(lin.F.T @ u, whole.F.T @ u) < 1e-12
    assert _off(lin(v[0]), whole(v[0])) < 1e-12 and lin.error < 1e-12
    found = lin.gap(x0 + 0.3 * v[:1])
    for key, value in whole.gap(x0 + 0.3 * v[:1]).items():
        assert abs(found[key] - value) < 1e-12
    (_, last), (_, right) = lin.tiling.windows[0]
    place = (1, last, right + 1)
    row, expected = lin.F.row(place), whole.F.row(place)
    assert _off(row, expected) < 1e-12
    assert row[lin.F.receptive_field(place).box].count_nonzero() == row.count_nonzero()
    column, expected = lin.F.column((1, 16, 15)), whole.F.column((1, 16, 15))
    assert (column - expected).abs().max() <= 1e-12 * expected.abs().max()
    a, b = lin.contributions(place), whole.contributions(place)
    assert a.error < 1e-12 and [t.place for t in a.terms] == [t.place for t in b.terms]
    assert max(abs(s.value - t.value) for s, t in zip(a.terms, b.terms)) < 1e-12
    assert a.index == place and a.origin["tile"] == 16


def test_what_is_not_local_is_named():
    x0 = torch.rand(1, 2, 40, 44, dtype=D)
    for middle, name in ((nn.InstanceNorm2d(4), "instance_norm"), (nn.AdaptiveAvgPool2d(8), "adaptive_avg")):
        with pytest.raises(NotLocal, match=name):
            fxscope.interpret(Around(middle).double(), x0, tile=16)
    aligned = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    with pytest.raises(NotLocal, match="interpolate.*image's size|upsample.*image's size"):
        fxscope.interpret(Around(aligned).double(), x0, tile=16)


def test_wrong_uses_say_what_is_right():
    model, x0 = _model("zero padding")
    for tile in (0, -1, True, 2.5, "small"):
        with pytest.raises(WrongArgument, match="tile is a"):
            fxscope.interpret(model, x0, tile=tile)
    with pytest.raises(FxscopeError, match="outputs= names a place"):
        fxscope.interpret(model, x0, tile=16, outputs="middle")
    with pytest.raises(ShapeError, match="one image"):
        fxscope.interpret(model, torch.cat([x0, x0]), tile=16)
    lin = fxscope.interpret(model, x0, tile=16)
    for index in ((0, 0), (0, 37, 0), (slice(None), 0, 0)):
        with pytest.raises(PlaceIndexError):
            lin.contributions(index)
    with pytest.raises(ShapeError, match="gap"):
        lin.gap(x0[..., 1:])
    with pytest.raises(NotLocal, match="each tile"):
        lin.F.to_sparse()


def test_what_changes_afterwards_is_noticed():
    model, x0 = _model("zero padding")
    lin = fxscope.interpret(model, x0, tile=16)
    x0 += 1
    with pytest.raises(StaleInterpreter, match=r"lin\.x0"):
        lin.F @ torch.zeros_like(x0[0])
    lin = fxscope.interpret(model, x0, tile=16)
    with torch.no_grad():
        model.a.weight.mul_(2)
    with pytest.raises(StaleInterpreter, match="a.weight"):
        lin.residual


def test_results_larger_than_memory_are_files(monkeypatch):
    """The same numbers from a file, and nothing is kept of the tiles."""
    model, x0 = _model("pixel shuffle")
    whole = fxscope.interpret(model, x0)
    monkeypatch.setattr(sheet, "IN_MEMORY", 0)
    lin = fxscope.interpret(model, x0, tile=16, memory="recompute")
    assert _off(lin.y0, whole.y0) < 1e-12 and lin.nbytes == 0
    assert lin.y0.untyped_storage().data_ptr() in sheet._mapped
    u = lin.F @ x0[0]
    assert _off(lin.F.T @ u, whole.F.T @ u) < 1e-12
    monkeypatch.setattr(sheet.os, "posix_fallocate", _no_room)
    with pytest.raises(FxscopeError, match=r"lin\.tiles"):
        lin.residual


def _no_room(*_):
    raise OSError(28, "No space left on device")


def test_memory_decides(monkeypatch):
    """Tiles where the whole image would not fit; a network that is not local is read whole if that fits."""
    model, x0 = _model("zero padding")
    assert not isinstance(fxscope.interpret(model, x0, tile="auto"), TiledInterpreter)
    monkeypatch.setattr(memory, "free", lambda: 0)
    assert isinstance(fxscope.interpret(model, x0, tile="auto"), TiledInterpreter)
    dense = nn.Sequential(nn.Flatten(), nn.Linear(2 * 37 * 45, 3)).double()
    with pytest.raises(NotLocal, match="flatten"):
        fxscope.interpret(dense, x0, tile="auto")
    monkeypatch.undo()
    assert fxscope.interpret(dense, x0, tile="auto").y0.shape == (1, 3)


def test_free_memory_is_a_number_of_this_machine():
    assert 1 << 20 < memory.free() < 1 << 50


def test_a_report_goes_through_all_tiles():
    """Numbers over all outputs, pictures of some of them, rows and columns on squares around their places."""
    model, x0 = _model("pixel shuffle")
    whole, lin = fxscope.interpret(model, x0), fxscope.interpret(model, x0, tile=16)
    small, share, error = large._passed(lin, False)
    assert abs(share - float(whole.residual.norm() / whole.y0.norm())) < 1e-12 and error < 1e-12
    for name, values in (("F x0", whole.F @ x0[0]), ("r", whole.residual[0]), ("y0", whole.y0[0])):
        assert _off(small.found[name], values[:, :: small.step, :: small.step]) < 1e-12
    place = (20, 31)
    square = large._square(lin.local_row((0, *place)), (10, 15))
    radius = square.shape[1] // 2
    row = F.pad(whole.F.row((0, *place)), (radius,) * 4)
    assert torch.allclose(square, row[:, 10 : 10 + 2 * radius + 1, 15 : 15 + 2 * radius + 1], atol=1e-14)


def test_the_pictures_of_a_report_are_small(monkeypatch):
    monkeypatch.setattr(large, "SHOWN", 9)
    model, x0 = _model("stride")
    lin = fxscope.interpret(model, x0, tile=16)
    small = large._passed(lin, False)[0]
    assert small.step == 3 and torch.equal(small.found["y0"], lin.y0[0][:, ::3, ::3])


def test_the_command_line_reads_in_tiles(tmp_path):
    path = tmp_path / "photo.png"
    pixels = torch.randint(256, (40, 44, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(path)
    common = ["fxscope:pixelshuffle4x", str(path), "--crop", "none", "--at", "0,81,90", "--json"]
    for what in ("row", "contributions"):
        found = []
        for tile in ("16", "none"):
            ran = CliRunner().invoke(cli, [what, *common, "--tile", tile])
            assert ran.exit_code == 0, ran.output
            found.append(json.loads(ran.stdout))
        a, b = ({k: v for k, v in each.items() if isinstance(v, float)} for each in found)
        assert a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-5 for k in a if "error" not in k)
