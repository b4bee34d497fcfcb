"""Films: made, and read back by PyAV and Pillow; what they say is computed again from the operator."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope.analysis import energy_against_distance
from fxscope.cli.main import cli
from fxscope.errors import NotLocal, PlaceIndexError, ShapeError, StaleInterpreter, WrongArgument
from fxscope.plot import video
from fxscope.plot.film.canvas import Panel
from fxscope.plot.film.colours import SCALES, TABLE, coloured
from fxscope.plot.film.walks import WALKS, walk

SIZE = (12, 16)
TICK = 1000  # microseconds by which a track may be longer than its pictures
NET = """
from torch import nn
def up(): return nn.Sequential(
    nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2))
def grey(): return nn.Sequential(nn.Conv2d(1, 4, 5, padding=2), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
"""


def upscaler():
    """Three channels, twice as large."""
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.PixelShuffle(2)
    return nn.Sequential(*layers).double().eval()


def normed():
    """One channel, and rows that reach everywhere."""
    torch.manual_seed(1)
    layers = nn.Conv2d(1, 2, 3, padding=1), nn.InstanceNorm2d(2), nn.ReLU(), nn.Conv2d(2, 1, 3, padding=1)
    return nn.Sequential(*layers).double().eval()


def at(model, channels=3, size=SIZE, policy="freeze"):
    torch.manual_seed(2)
    return fxscope.interpret(model, torch.rand(1, channels, *size, dtype=torch.float64), policy=policy)


def played(file):
    """(frames, fps, size, duration, chapters, subtitles) of a file."""
    with av.open(str(file)) as found:
        stream = found.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in found.decode(stream)]
        chapters = [(c["start"] * c["time_base"], c["end"] * c["time_base"]) for c in found.chapters()]
        kept = stream.average_rate, stream.codec_context.name, stream.codec_context.pix_fmt, found.duration
    with av.open(str(file)) as found:
        packets = [p for p in found.demux(found.streams.subtitles[0]) if p.size > 2]
        words = [(p.pts * p.time_base, p.duration * p.time_base, bytes(p)[2:].decode()) for p in packets]
    return frames, kept, chapters, words


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """A film of two networks, with its GIF, WebP and poster."""
    folder = tmp_path_factory.mktemp("film")
    lins = {"up (random weights)": at(upscaler()), "normed": at(normed(), 1, policy="taylor")}
    made = video(
        folder / "film.mp4",
        lins,
        seconds=5,
        fps=5,
        width=321,
        text="photograph.png",
        gif=folder / "film.gif",
        webp=folder / "film.webp",
        poster=folder / "film.png",
        progress=False,
    )
    return folder, lins, made


def test_an_mp4_is_read_back(film):
    folder, _, made = film
    frames, (rate, codec, pixels, duration), chapters, words = played(folder / "film.mp4")
    assert (codec, pixels, rate) == ("h264", "yuv420p", 5) and abs(duration - 5_000_000) < TICK
    assert len(frames) == made.frames == 25 and frames[0].shape == (made.size[1], made.size[0], 3)
    assert made.size[0] == 320 and all((a != b).any() for a, b in itertools.pairwise(frames))
    legs = [(Fraction(leg.first, 5), Fraction(leg.end, 5)) for leg in made.walk.legs]
    assert chapters == legs and legs[0][0] == 0 and legs[-1][1] == 5 and len(legs) == 3
    assert [(a, a + b, text) for a, b, text in words] == [
        (Fraction(c["first"], 5), Fraction(c["end"], 5), c["text"]) for c in made.cues
    ]
    data = (folder / "film.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"moof") and data.count(b"moof") >= 3
    with av.open(str(folder / "film.mp4")) as found:
        assert found.metadata["title"] == "up (random weights), normed"
        assert "photograph.png" in found.metadata["comment"] and "freeze, taylor" in found.metadata["comment"]
        assert found.streams.subtitles[0].metadata["language"] == "eng"


def test_what_the_subtitles_say_is_computed_again(film):
    _, lins, made = film
    for cue in made.cues:
        assert cue["place"] == made.walk.places[cue["first"]]
        for lin, found in zip(lins.values(), cue["networks"]):
            alignment, place = lin.F.alignment(), cue["place"]
            output = alignment.output_of(place)
            row, column = lin.F.row((slice(None), *output)), lin.F.column((slice(None), *place))
            scale = int(max(alignment.scale))
            for kind, values, centre, radius in (
                ("row", row, alignment.input_of(output), 3),
                ("column", column, output, 3 * scale),
            ):
                share = float(energy_against_distance(values[None], [centre]).share[radius])
                ys, xs = values.abs().sum(0).nonzero().T
                box = int(ys.min()), int(xs.min()), int(ys.max()) + 1, int(xs.max()) + 1
                assert found[kind]["share"] == pytest.approx(share, abs=1e-12)
                assert found[kind]["support"] == box and found[kind]["place"] == centre
                said = f"{kind} {100 * share:.1f}% of its energy within {radius} px, support"
                assert f"{said} {box[2] - box[0]} x {box[3] - box[1]} px" in cue["text"]
            y0 = lin.y0[0][(slice(None), *output)].sum()
            linear, r = (row * lin.x0[0]).sum(), lin.residual[0][(slice(None), *output)].sum()
            assert found["row"]["y0"] == pytest.approx(float(y0), abs=1e-12)
            assert found["row"]["row_x0"] + found["row"]["r"] == pytest.approx(float(linear + r), abs=1e-12)
            assert found["row"]["error"] < 1e-12 and found["column"]["sum"] == pytest.approx(
                float(column.sum()), abs=1e-12
            )
    # derivatives of instance norm reach everywhere, and those of convolutions do not
    assert all(c["networks"][1]["row"]["support"] == (0, 0, *SIZE) for c in made.cues)
    assert all(c["networks"][0]["row"]["support"] != (0, 0, *SIZE) for c in made.cues)


def test_gif_webp_and_poster(film):
    folder, _, made = film
    mp4 = played(folder / "film.mp4")[0]
    for name, near in (("film.gif", 12), ("film.webp", 12)):
        with Image.open(folder / name) as found:
            assert (found.n_frames, found.size, found.info["loop"]) == (25, made.size, 0)
            found.load()
            assert found.info["duration"] == 200
            for number in (0, 24):
                found.seek(number)
                difference = np.asarray(found.convert("RGB")).astype(int) - mp4[number].astype(int)
                assert np.abs(difference).mean() < near
    poster = np.asarray(Image.open(folder / "film.png")).astype(int)
    away = [np.abs(poster - frame.astype(int)).mean() for frame in mp4]
    assert int(np.argmin(away)) == 12 and poster.shape == mp4[0].shape


def test_scales_are_stated_and_symmetric(film):
    _, lins, made = film
    places = made.walk.distinct()
    sampled = places[:: max(1, len(places) // 9)]
    for lin, measured in zip(lins.values(), made.measured):
        alignment = lin.F.alignment()
        rows = lin.F.rows([(slice(None), *alignment.output_of(p)) for p in sampled], progress=False)
        assert measured["scale_ends"]["row"] == pytest.approx(float(rows.abs().max()), abs=1e-12)
        assert measured["error"] < 1e-12 and measured["frames_beyond"]["row"] <= made.frames
    v = np.linspace(-1, 1, 101)[None]
    for name, (levels, _) in SCALES.items():
        assert np.allclose(levels(v), -levels(-v)) and np.allclose(levels(v)[0, [0, 50, 100]], [-1, 0, 1])
        assert (np.diff(levels(v)) > 0).all(), name
    assert (coloured(v * 3, 2.0, "linear")[0, [0, -1]] == TABLE[[0, 255]]).all()


@pytest.mark.parametrize("kind", WALKS)
@pytest.mark.parametrize("frames", [2, 7, 60])
def test_walks(kind, frames):
    points = [(1, 2), (11, 15)] if kind == "points" else None
    found = walk(kind, SIZE, frames, points)
    assert len(found.places) == frames and all(0 <= y < 12 and 0 <= x < 16 for y, x in found.places)
    for legs in (found.legs, found.cues(4)):
        assert legs[0].first == 0 and legs[-1].end == frames
        assert all(a.end == b.first for a, b in itertools.pairwise(legs)) and all(
            c.first < c.end for c in legs
        )
    assert max(c.end - c.first for c in found.cues(4)) <= 4
    if kind == "points":
        assert {(1, 2), (11, 15)} <= set(found.places) and found.places[-1] == (11, 15)
    if frames == 60:
        steps = [max(abs(a - c), abs(b - d)) for (a, b), (c, d) in zip(found.places, found.places[1:])]
        assert max(steps) <= 3 and len(found.legs) == {"spiral": 3, "scan": 6, "points": 2}[kind]
        covered = len({(y // 4, x // 4) for y, x in found.places})
        assert covered >= (4 if kind == "points" else 11)


def test_what_is_shown(tmp_path):
    """Rows alone, one channel, a window: other pictures, the same numbers as those of the operator."""
    lin = at(upscaler())
    given = {"walk": "points", "points": [(3, 4)], "seconds": 1, "fps": 2, "width": 200, "progress": False}
    whole = video(tmp_path / "a.mp4", lin, **given)
    part = video(tmp_path / "b.mp4", lin, columns=False, channel=1, zoom=4, **given)
    output = lin.F.alignment().output_of((3, 4))
    assert set(part.cues[0]["networks"][0]) == {"row"} and part.size != whole.size
    columns = video(tmp_path / "c.gif", lin, rows=False, **given)
    assert set(columns.cues[0]["networks"][0]) == {"column"} and columns.measured[0]["error"] is None
    assert part.cues[0]["networks"][0]["row"]["y0"] == pytest.approx(
        float(lin.y0[0][(1, *output)]), abs=1e-12
    )
    assert len(played(tmp_path / "b.mp4")[0]) == 2
    [[row], [again]] = ([c["networks"][0]["row"] for c in each.cues] for each in (whole, part))
    assert row["place"] == again["place"] == (3, 4) and row["y0"] != again["y0"]


@pytest.mark.parametrize(("place", "seen"), [((20, 30), (10, 15, 31, 46)), ((0, 59), (0, 29, 21, 60))])
def test_a_window_is_around_the_place_and_its_pixels_are_square(place, seen):
    panel = Panel(5, 7, 300, 200)
    assert panel.window((40, 60), place, 10) == seen and panel.window((40, 60), place, None) == (0, 0, 40, 60)
    tall, wide = seen[2] - seen[0], seen[3] - seen[1]
    assert abs(wide / tall - 60 / 40) < 1 / tall
    assert panel.at(*seen[:2], seen) == (5, 7) and panel.at(*seen[2:], seen) == (305, 207)


def test_what_cannot_be_made(tmp_path, monkeypatch):
    lin = at(upscaler())
    scores = fxscope.interpret(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(1, 1, 2, 2))
    many = fxscope.interpret(upscaler(), torch.rand(2, 3, *SIZE, dtype=torch.float64))
    file = tmp_path / "film.mp4"
    for error, said, arguments in (
        (fxscope.FxscopeError, "give that suffix", {"path": tmp_path / "film.avi"}),
        (fxscope.FxscopeError, "give that suffix", {"gif": tmp_path / "film.webp"}),
        (fxscope.FxscopeError, "no folder", {"path": tmp_path / "none" / "film.mp4"}),
        (WrongArgument, "not different files", {"path": tmp_path / "a.gif", "gif": tmp_path / "a.gif"}),
        (WrongArgument, "make 1: give more seconds", {"seconds": 0.1}),
        (WrongArgument, "spiral, scan, points", {"walk": "random"}),
        (WrongArgument, "goes to the places of points", {"walk": "points"}),
        (WrongArgument, "goes to the places of points", {"points": [(1, 1)]}),
        (WrongArgument, "linear, root, log", {"scale": "sqrt"}),
        (WrongArgument, "rows or columns", {"rows": False, "columns": False}),
        (WrongArgument, "at least 160", {"width": 100}),
        (WrongArgument, "lins is what", {"lins": {"a": upscaler()}}),
        (WrongArgument, "lins is what", {"lins": {}}),
        (PlaceIndexError, "3 channels, and channel 3", {"channel": 3}),
        (PlaceIndexError, "outside", {"walk": "points", "points": [(12, 0)]}),
        (NotLocal, "from images to images", {"lins": scores}),
        (NotLocal, "one image", {"lins": many}),
        (ShapeError, "b: 8 x 8", {"lins": {"a": lin, "b": at(upscaler(), size=(8, 8))}}),
    ):
        with pytest.raises(error, match=said):
            video(**{"path": file, "lins": lin, "progress": False, **arguments})
    for library in ("av", "PIL"):
        with monkeypatch.context() as without:
            without.setitem(sys.modules, library, None)
            with pytest.raises(fxscope.FxscopeError, match=r"pip install 'fxscope\[video\]'"):
                video(file, lin, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_run_that_fails_leaves_the_file_of_before(tmp_path, monkeypatch):
    """The weights change while the film is made, which stops it."""
    model = upscaler()
    lin, file = at(model), tmp_path / "film.mp4"
    file.write_bytes(b"of before")

    class Bar:
        def update(self):
            with torch.no_grad():
                model[0].weight.mul_(2)

    monkeypatch.setattr("fxscope.plot.film.film.steps", lambda *_: contextlib.nullcontext(Bar()))
    with pytest.raises(StaleInterpreter):
        video(file, lin, "scan", seconds=4, width=200, gif=tmp_path / "film.gif", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["film.mp4"] and file.read_bytes() == b"of before"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    pixels = np.random.default_rng(0).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


@pytest.mark.full
def test_ctrl_c_keeps_what_is_done(files):
    """A real signal to a real process: the new file under its name, the other one beside the old one."""
    (files / "old.mp4").write_bytes(b"of before")
    command = [sys.executable, "-m", "fxscope.cli.main", "video", "net.py:up", "photo.png"]
    options = ["-o", "old.mp4", "--gif", "new.gif", "--width", "160", "--seconds", "3000"]
    path = os.pathsep.join(p for p in sys.path if p)
    env = {**os.environ, "PYTHONPATH": path}
    running = subprocess.Popen(
        [*command, *options], cwd=files, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    while not any(p.stat().st_size > 4000 for p in files.glob(".old-*.mp4")):
        assert running.poll() is None, running.communicate()
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=100)
    assert running.returncode == 130 and not out and err.endswith("fxscope: interrupted\n"), err
    frames, (_, _, _, duration), chapters, words = played(files / "old-part.mp4")
    assert f"the first {len(frames)} of 30000 frames are in" in err and len(frames) >= 20
    assert chapters[-1][1] == Fraction(len(frames), 10) and abs(duration - len(frames) * 100_000) < TICK
    assert words[-1][0] + words[-1][1] == Fraction(len(frames), 10)
    with Image.open(files / "new.gif") as gif:
        assert gif.n_frames == len(frames)
    assert (files / "old.mp4").read_bytes() == b"of before" and not list(files.glob(".*"))


def run(files, *arguments):
    given = [
        str(files / a) if str(a).startswith(("net.py", "photo", "text", "film")) else str(a)
        for a in arguments
    ]
    return CliRunner().invoke(cli, ["video", *given], catch_exceptions=False)


def test_the_verb(files):
    short = ["--seconds", 0.6, "--fps", 5, "--width", 200, "--path", "scan", "--json"]
    done = run(files, "net.py:up", "net.py:grey", "photo.png", "-o", "film.webp", *short)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [n["weights"] for n in found["networks"]] == ["as its factory makes it, seed 0"] * 2 and found[
        "frames"
    ] == 3
    assert [m["title"] for m in found["measured"]] == [
        f"{files}/net.py:{n} (as its factory makes it, seed 0)" for n in ("up", "grey")
    ]
    assert all(m["error"] < 1e-5 for m in found["measured"])
    with Image.open(files / "film.webp") as webp:
        assert webp.n_frames == 3 and webp.size == tuple(found["size"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["net.py:up", "text.png", "-o", "film.mp4"], 1, "not an image that can be read"),
        (["net.py:up", "photo.png", "-o", "film.mov"], 2, "the suffix is one of .mp4, .gif, .webp"),
        (["net.py:up", "photo.png", "-o", "film.mp4", "--path", "points"], 2, "each --point"),
        (
            ["net.py:up", "photo.png", "-o", "film.mp4", "--path", "points", "--point", "20,0"],
            2,
            "at most 19,23",
        ),
        (["net.py:up", "photo.png", "-o", "film.mp4", "--path", "points", "--point", "2"], 2, "give Y,X"),
        (["net.py:up", "photo.png", "-o", "film.mp4", "--rows", "--both"], 2, "exclude each other"),
        (["net.py:up", "net.py:up", "photo.png", "-o", "film.mp4"], 2, "named twice"),
        (["net.py:up", "photo.png", "-o", "film.mp4", "--seconds", 0.1], 1, "give more seconds"),
        (["net.py:up", "photo.png", "-o", "film.mp4", "--channel", 5], 2, "3 channels"),
    ],
)
def test_the_verb_with_wrong_arguments(files, arguments, code, said):
    done = run(files, *arguments)
    assert done.exit_code == code and said in done.stderr and not done.stdout, done.stderr
    assert not list(files.glob("*film*"))


def test_the_verb_without_pyav(files, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run(files, "net.py:up", "photo.png", "-o", "film.mp4")
    assert done.exit_code == 2 and "pip install 'fxscope[video]'" in done.stderr
