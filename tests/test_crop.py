"""Rows from the crop inside their receptive field equal those of the whole image, borders included."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fxscope
from fxscope import models
from fxscope.errors import NotLocal, PlaceIndexError
from fxscope.linop import Reader
from fxscope.testing import randomize

D = torch.float64


class Strided(nn.Module):
    """A grid of 4.

    Stride 2, an overlapping pool of stride 2, and back up by a transposed convolution and interpolation.
    """

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.down = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 4, 3, stride=2, padding=1),
        )
        self.up, self.out = (
            nn.ConvTranspose2d(4, 4, 4, stride=2, padding=1),
            nn.Conv2d(8, 2, 3, padding=1, padding_mode="reflect"),
        )

    def forward(self, x):
        a = torch.relu(self.norm(self.a(x)))
        b = nn.functional.max_pool2d(nn.functional.silu(self.down(a)), 3, 2, 1)
        return self.out(
            torch.cat(
                [a, nn.functional.interpolate(torch.relu(self.up(b)), scale_factor=2.0, mode="bilinear")], 1
            )
        )


NETWORKS = {
    "pixelshuffle": (models.PixelShuffleNet, (1, 24, 30)),
    "strided": (Strided, (2, 64, 80)),
    "dncnn": (models.dncnn, (1, 50, 44)),
    "edsr": (models.edsr_baseline, (3, 40, 44)),
}


@pytest.mark.turns(2)
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.full] if n in ("dncnn", "edsr") else []) for n in NETWORKS]
)
def test_rows_of_crops(name):
    torch.manual_seed(0)
    make, shape = NETWORKS[name]
    x0 = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0), dtype=D)
    model = randomize(make().double().eval(), x0)
    lin = fxscope.interpret(model, x0)
    _, h, w = lin.F.outputs.shape
    for place in ((0, 0, 0), (0, h - 1, w - 1), (0, h // 2, w // 2), (0, h // 3 + 1, w - 2), (0, -3, 5)):
        row, got = lin.F.row(place), fxscope.local_row(model, x0, place)
        inside = row[got.box]
        assert (inside - got.values).abs().max() < 1e-12 and inside.count_nonzero() == row.count_nonzero()
        assert (
            abs(got.y0 - lin.y0[0][place].item()) < 1e-12
            and abs(got.r - lin.residual[0][place].item()) < 1e-12
        )
    assert got.values.numel() < x0.numel()
    _, h, w = lin.F.inputs.shape
    for place in ((0, h - 1, w - 1), (0, h // 2, w // 3)):
        column, part = lin.F.column(place), fxscope.local_column(model, x0, place)
        inside = column[part.box]
        assert (inside - part.values).abs().max() < 1e-12
        assert inside.count_nonzero() == column.count_nonzero()


PLACES = [(0, 20, 20), (0, 60, 70), (0, 21, 20), (0, 20, 20), (0, 0, 0), (0, 61, 68)]


def _counted(monkeypatch):
    runs, own = [], Reader.__call__
    monkeypatch.setattr(
        Reader, "__call__", lambda self, x, **kw: (runs.append(x.shape), own(self, x, **kw))[1]
    )
    return runs


@pytest.mark.turns(2)
@pytest.mark.parametrize("kind", ["row", "column"])
@pytest.mark.parametrize("name", ["pixelshuffle", "strided"])
def test_places_that_share_a_window_share_a_pass(name, kind, monkeypatch):
    """Several at once are what each is by itself, with fewer runs of the model."""
    make, (channels, *_) = NETWORKS[name]
    torch.manual_seed(0)
    x0 = torch.randn(1, channels, 64, 72, generator=torch.Generator().manual_seed(0), dtype=D)
    model = randomize(make().double().eval(), x0)
    places = [(c, y % 64, x % 72) for c, y, x in PLACES]
    alone, together = (
        (fxscope.local_row, fxscope.local_rows),
        (fxscope.local_column, fxscope.local_columns),
    )[kind == "column"]
    each = [alone(model, x0, p) for p in places]
    runs = _counted(monkeypatch)
    found = together(model, x0, places)
    assert len(runs) <= 5 and len(found) == len(places)
    for a, b in zip(each, found):
        assert a.box == b.box and (a.values - b.values).abs().max() < 1e-12
        if kind == "row":
            assert abs(a.y0 - b.y0) < 1e-12 and abs(a.r - b.r) < 1e-12
    assert together(model, x0, []) == []


def test_a_pixel_that_nothing_reads_has_a_column_of_zeros():
    model, x0 = nn.Conv2d(1, 3, 1, stride=2).double(), torch.rand(1, 1, 9, 9, dtype=D)
    found = fxscope.local_column(model, x0, (0, 3, 4))
    assert found.values.shape == (3, 0, 0) and not fxscope.interpret(model, x0).F.column((0, 3, 4)).any()
    both = fxscope.local_columns(model, x0, [(0, 3, 4), (0, 4, 4)])
    assert both[0].values.numel() == 0 and torch.equal(both[1].values[:, 0, 0], model.weight[:, 0, 0, 0])


def test_records_are_saved_and_drawn(tmp_path):
    x0 = torch.rand(1, 1, 24, 24, generator=torch.Generator().manual_seed(0))
    for found in (
        fxscope.local_row(models.pixelshuffle4x(), x0, (0, 40, 41)),
        fxscope.local_column(models.pixelshuffle4x(), x0, (0, 10, 11)),
    ):
        back = type(found).load(found.save(tmp_path / "part.safetensors"))
        assert torch.equal(back.values, found.values) and back.box == found.box
        assert back.numbers() == found.numbers() and str(found.box[1].start) in found.to_json()
        first, end = found.box[1].start, found.box[1].stop
        assert f"rows {first} to {end - 1}" in "".join(t.get_text() for t in found.plot().texts)


def test_a_photograph_of_twenty_million_pixels():
    x0 = torch.rand(1, 1, 4000, 5000, generator=torch.Generator().manual_seed(0))
    got = fxscope.local_row(models.pixelshuffle4x(), x0, (0, 8000, 9000))
    assert (
        got.values.shape == (1, 11, 11) and abs((got.values * x0[0][got.box]).sum() + got.r - got.y0) < 1e-5
    )


class Halved(nn.Module):
    """Every second place of a convolution's: a grid that the strides do not tell."""

    def __init__(self, how):
        super().__init__()
        self.a, self.b, self.how = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 1, 3, padding=1), how

    def forward(self, x):
        return self.b(self.how(torch.relu(self.a(x))))


SIZED = {
    "fixed size": lambda x: nn.functional.interpolate(x, size=(16, 16), mode="bilinear"),
    "align_corners": lambda x: nn.functional.interpolate(
        x, scale_factor=2.0, mode="bilinear", align_corners=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, D])
@pytest.mark.parametrize("how", SIZED)
def test_what_depends_on_the_size_of_the_image_is_refused(how, dtype):
    torch.manual_seed(0)
    x0 = torch.rand(1, 1, 32, 32, dtype=dtype)
    model = randomize(Halved(SIZED[how]).to(dtype).eval(), x0)
    with pytest.raises(
        NotLocal, match=r"interpolate at interpolate \(test_crop.py.*it depends on the image's size"
    ):
        fxscope.local_row(model, x0, (0, 7, 8))


GRIDS = {
    "step": lambda x: x[..., ::2, ::2],
    "cut": lambda x: x[..., 1::2, :-3],
    "three": lambda x: x[:, :, 2::3, 1:-1:3],
    "one": lambda x: x[..., 4:, :9],
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("how", GRIDS)
def test_grids_of_slices(how):
    x0 = torch.rand(1, 1, 48, 60, generator=torch.Generator().manual_seed(0), dtype=D)
    torch.manual_seed(0)
    model = randomize(Halved(GRIDS[how]).double().eval(), x0)
    lin = fxscope.interpret(model, x0)
    for place in ((0, 0, 0), (0, 7, 8), (0, -1, -1), (0, 2, 5)):
        got, row = fxscope.local_row(model, x0, place), lin.F.row(place)
        assert (
            row[got.box] - got.values
        ).abs().max() < 1e-12 and got.values.count_nonzero() == row.count_nonzero()


def test_the_model_runs_under_autocast_after_its_shapes_were_read():
    model, x = models.pixelshuffle4x(), torch.rand(1, 1, 32, 32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = model(x)
        fxscope.storage(model, (1, 1, 32, 32))
        fxscope.local_row(model, x, (0, 5, 5))
        assert torch.equal(model(x), expected)


def test_what_depends_on_the_whole_image_is_refused():
    with pytest.raises(NotLocal, match="instance_norm at model.2"):
        fxscope.local_row(models.cyclegan(6), torch.rand(1, 3, 32, 32), (0, 1, 1))
    with pytest.raises(NotLocal, match="instance_norm at model.2"):
        fxscope.local_column(models.cyclegan(6), torch.rand(1, 3, 32, 32), (0, 1, 1))
    model, x0 = models.pixelshuffle4x(), torch.rand(1, 1, 8, 8)
    with pytest.raises(PlaceIndexError, match="of the output"):
        fxscope.local_row(model, x0, (0, 32, 0))
    with pytest.raises(PlaceIndexError, match="of the input"):
        fxscope.local_column(model, x0, (0, 8, 0))
    for several in (fxscope.local_rows, fxscope.local_columns):
        with pytest.raises(PlaceIndexError, match="several are a list"):
            several(model, x0, (0, 1, 1))
