"""F on disk: the operator that reads it obeys the laws of F, and its files are the same however they came."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, MapError, OtherInterpretation, PlaceIndexError, ShapeError
from fxscope.linop.store import fill, layout

D = torch.float64
NET = """
from torch import nn
def image():
    return nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, padding=1),
                         nn.PixelShuffle(2))
def colours(): return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))
"""


def image_net(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1),
        nn.InstanceNorm2d(3) if norm else nn.Identity(),
        nn.ReLU(),
        nn.Conv2d(3, 8, 3, padding=1),
        nn.PixelShuffle(2),
    )


def scores_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5))


# bytes of a shard: many rows, so that inputs share passes, and few, so that each row takes one
CASES = {
    "crops, by columns": (image_net, (16, 14), 1 << 15),
    "crops, by rows": (image_net, (8, 10), 1 << 12),
    "whole, by columns": (lambda: image_net(norm=True), (9, 12), 1 << 15),
    "whole, by rows": (lambda: image_net(norm=True), (9, 7), 1 << 12),
    "not local": (scores_net, (8, 8), 1 << 11),
}


def interpreted(make=image_net, size=(12, 9), dtype=D, seed=1):
    x0 = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed), dtype=D)
    return fxscope.interpret(make().to(dtype).eval(), x0.to(dtype))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small chunks and shards, so that a small F has many of them."""
    monkeypatch.setattr(layout, "CHUNK", 1 << 11)
    monkeypatch.setattr(layout, "SHARD", 1 << 14)


def contents(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


def shards(path: Path) -> list[Path]:
    return sorted(f for f in (path / "values" / "c").rglob("*") if f.is_file())


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(7), dtype=D)


@pytest.mark.turns(3)
@pytest.mark.parametrize("case", CASES)
def test_laws_of_all_of_f(case, tmp_path, monkeypatch):
    make, size, bytes_of_a_shard = CASES[case]
    monkeypatch.setattr(layout, "SHARD", bytes_of_a_shard)
    lin = interpreted(make, size)
    found = lin.F.to_zarr(tmp_path / "map", progress=False)
    assert (fill.Filler(lin, found.layout).crops is not None) == case.startswith("crops")
    assert found.finished == (len(shards(found.path)), found.layout.count) and found.layout.count > 1
    assert found.shape == lin.F.shape and torch.equal(found.x0, lin.x0[0])
    scale = float(found.y0.abs().max())
    assert (found @ found.x0 + found.residual - found.y0).abs().max() < 1e-12 * scale
    v, u = drawn(3, *lin.F.inputs.shape), drawn(3, *lin.F.outputs.shape)
    assert torch.allclose(found @ v, lin.F @ v, rtol=0, atol=1e-12)
    assert torch.allclose(found.T @ u, lin.F.T @ u, rtol=0, atol=1e-12)
    assert abs(float(((found @ v) * u).sum() - (v * (found.T @ u)).sum())) < 1e-11
    F = lin.F.to_dense(progress=False)
    N, n = F.shape
    for k in random.Random(0).sample(range(N), min(N, 40)):
        at = tuple(int(i) for i in np.unravel_index(k, lin.F.outputs.shape))
        assert (found.row(at).flatten() - F[k]).abs().max() < 1e-12
    for k in random.Random(0).sample(range(n), 12):
        at = tuple(int(i) for i in np.unravel_index(k, lin.F.inputs.shape))
        assert (found.column(at).flatten() - F[:, k]).abs().max() < 1e-12
    w = drawn(n).numpy()
    assert np.allclose(found.to_scipy() @ w, F.numpy() @ w, rtol=0, atol=1e-11)


def test_chosen_rows_and_columns(tmp_path):
    lin = interpreted()
    outputs = [(0, 0, 0), (1, 17, 5), (0, 9, -1)]
    found = lin.F.to_zarr(tmp_path / "rows", rows=outputs, progress=False)
    assert found.shape == (3, 108) and found.places == ((0, 0, 0), (1, 17, 5), (0, 9, 17))
    for place in outputs:
        assert torch.allclose(found.row(place), lin.F.row(place), rtol=0, atol=1e-14)
    assert torch.allclose(found @ found.x0 + found.residual, found.y0, rtol=0, atol=1e-13)
    assert torch.equal(found.y0, torch.stack([lin.y0[0][place] for place in outputs]))
    whole = lin.F.rows(outputs, progress=False)
    assert torch.allclose(found.column((0, 3, 2)), whole[:, 0, 3, 2], rtol=0, atol=1e-14)
    u = drawn(2, 3)
    assert torch.allclose(found.T @ u, torch.tensordot(u, whole, 1), rtol=0, atol=1e-13)
    assert torch.allclose(found.rows([outputs[1]]), whole[1:2], rtol=0, atol=1e-14)
    assert [place for place, _ in found.iter_rows(outputs)] == outputs
    with pytest.raises(PlaceIndexError, match="none of the 3 rows"):
        found.row((0, 1, 1))
    inputs = [(0, 0, 3), (0, 11, 8)]
    found = lin.F.to_zarr(tmp_path / "columns", columns=inputs, progress=False)
    whole = lin.F.columns(inputs, progress=False)
    assert found.shape == (864, 2) and torch.allclose(found.column(inputs[1]), whole[1], rtol=0, atol=1e-14)
    assert torch.allclose(found @ u[:, :2], torch.tensordot(u[:, :2], whole, 1), rtol=0, atol=1e-13)
    v = drawn(2, 2, 24, 18)[:, :, :, :18]
    assert torch.allclose(found.T @ v, (v[:, None] * whole).sum((2, 3, 4)), rtol=0, atol=1e-12)
    assert torch.allclose(found.row((1, 20, 15)), whole[:, 1, 20, 15], rtol=0, atol=1e-14)


@pytest.mark.turns(2)
@pytest.mark.parametrize(
    ("own", "stored", "bound"),
    [
        (D, torch.float32, 1e-7),
        (D, torch.float16, 1e-3),
        (torch.float32, None, 1e-6),
        (torch.bfloat16, None, 3e-2),
    ],
)
def test_dtypes(own, stored, bound, tmp_path):
    lin = interpreted(dtype=own)
    found = lin.F.to_zarr(tmp_path / "map", dtype=stored, progress=False)
    assert found.dtype == own and found.layout.dtype == str(stored or torch.float32)[6:]
    error = (found @ found.x0 + found.residual - found.y0).abs().max() / found.y0.abs().max()
    assert error < bound and (stored is None or error > bound / 1e4)


def test_numbers_that_a_dtype_cannot_hold(tmp_path):
    lin = interpreted(lambda: nn.Conv2d(1, 1, 1).requires_grad_(False))
    lin.model.weight.fill_(1e6)
    lin = fxscope.interpret(lin.model, lin.x0)
    with pytest.raises(MapError, match=r"up to 1e\+06, which float16 cannot hold"):
        lin.F.to_zarr(tmp_path / "map", dtype=torch.float16, progress=False)


def test_another_map_is_not_continued(tmp_path):
    lin = interpreted()
    path = tmp_path / "map"
    lin.F.to_zarr(path, rows=[(0, 1, 1), (0, 2, 2)], progress=False)
    before = contents(path)
    other = image_net().double().eval()
    with torch.no_grad():
        other[0].bias += 1
    rows = [(0, 1, 1), (0, 2, 2)]
    changed = {
        "weights is": (fxscope.interpret(other, lin.x0), {"rows": rows}),
        "image is": (interpreted(seed=2), {"rows": rows}),
        "policy is": (
            fxscope.interpret(image_net().double().eval(), lin.x0, policy="taylor"),
            {"rows": rows},
        ),
        "places is": (lin, {"rows": rows[:1]}),
        "kind is": (lin, {"columns": rows}),
        "stored is": (lin, {"rows": rows, "dtype": torch.float32}),
    }
    for said, (own, options) in changed.items():
        with pytest.raises(MapError, match=said):
            own.F.to_zarr(path, progress=False, **options)
    net = image_net(norm=True).double().eval()
    tapped = fxscope.interpret(net, lin.x0, inputs="1", outputs="2")
    first = tapped.F.to_zarr(tmp_path / "tapped", rows=rows, progress=False)
    assert torch.allclose(first @ first.x0 + first.residual, first.y0, rtol=0, atol=1e-13)
    again = fxscope.interpret(net, lin.x0, inputs="0", outputs="1")
    with pytest.raises(MapError, match="another place"):  # of the same shape, weights and image
        again.F.to_zarr(tmp_path / "tapped", rows=rows, progress=False)
    assert contents(path) == before
    header = json.loads((path / "zarr.json").read_text())
    header["attributes"]["fxscope"]["origin"]["interpretation"] = 1
    (path / "zarr.json").write_text(json.dumps(header), encoding="utf-8")
    with pytest.raises(OtherInterpretation, match="version 1"):
        lin.F.to_zarr(path, rows=rows, progress=False)
    assert fxscope.open_map(path).row((0, 1, 1)).shape == (1, 12, 9)


@pytest.mark.turns(2)
@pytest.mark.parametrize("harm", ["missing", "a bit", "cut", "empty"])
def test_a_shard_that_is_missing_or_damaged(harm, tmp_path, caplog):
    lin = interpreted()
    found = lin.F.to_zarr(tmp_path / "map", progress=False, command="fxscope map x --out {path}")
    before, file = contents(found.path), shards(found.path)[1]
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 16
    harmed = {"a bit": bytes(data), "cut": bytes(data[: len(data) // 2]), "empty": b""}
    if harm == "missing":
        file.unlink()
        assert "shards written" in repr(found) and found.finished[0] == found.finished[1] - 1
    else:
        file.write_bytes(harmed[harm])
    said = "not finished" if harm == "missing" else "is damaged"
    for read in (lambda: found @ found.x0, lambda: found.T @ found.y0):
        with pytest.raises(MapError, match=rf"{said}.*go on with: fxscope map x --out {found.path}"):
            read()
    again = lin.F.to_zarr(tmp_path / "map", progress=False)
    assert contents(found.path) == before and (again @ again.x0).isfinite().all()
    assert ("is damaged" in caplog.text) == (harm != "missing")


def test_what_is_in_the_way(tmp_path):
    lin = interpreted()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("mine")
    before = contents(tmp_path)
    for name, said in {
        "file": "is there already",
        "folder": "is there already",
        "no/map": "no folder",
    }.items():
        with pytest.raises(MapError, match=said):
            lin.F.to_zarr(tmp_path / name, progress=False)
    with pytest.raises(MapError, match="no map can be made at /proc/map"):
        lin.F.to_zarr("/proc/map", progress=False)
    with pytest.raises(MapError, match="holds no map"):
        fxscope.open_map(tmp_path / "folder")
    assert contents(tmp_path) == before
    with pytest.raises(FxscopeError, match="not transposes, sums"):
        (2 * lin.F).to_zarr(tmp_path / "map")
    with pytest.raises(FxscopeError, match="got both"):
        lin.F.to_zarr(tmp_path / "map", rows=[(0, 1, 1)], columns=[(0, 1, 1)])
    two = fxscope.interpret(lin.model, lin.x0.repeat(2, 1, 1, 1))
    with pytest.raises(ShapeError, match="one image"):
        two.F.to_zarr(tmp_path / "map")
    assert not (tmp_path / "map").exists()


def test_a_disk_that_is_full(tmp_path):
    """The system refuses files above some size; what could be written stays, and the rest is added later."""
    lin = interpreted(size=(9, 9))
    path, whole = tmp_path / "map", tmp_path / "whole"
    lin.F.to_zarr(whole, progress=False)
    sizes = {f.stat().st_size for f in shards(whole)}
    assert len(sizes) > 1
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(sizes) - 1, hard))
    try:
        with pytest.raises(MapError, match="cannot be written to .* all other shards are kept"):
            lin.F.to_zarr(path, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(path.rglob("*.partial"))
    lin.F.to_zarr(path, progress=False)
    assert contents(path) == contents(whole)


def test_a_folder_without_rights(shut):
    """Of a folder, of the locks, and of the shards alone: each is said, and what lies there is kept."""
    (folder, without), lin = shut, interpreted(size=(9, 9))
    with without(folder), pytest.raises(MapError, match="no map can be made at .*denied"):
        lin.F.to_zarr(folder / "map", progress=False)
    found = lin.F.to_zarr(folder / "map", progress=False)
    whole = contents(folder)
    shards(found.path)[1].unlink()
    before = contents(folder)
    refusals = {"values": "no lock can be had .*denied", "values/c": "written to .*all other shards are kept"}
    for part, said in refusals.items():
        with without(found.path / part), pytest.raises(MapError, match=said):
            lin.F.to_zarr(found.path, progress=False)
        assert contents(folder) == before
    with without(found.path, 0), pytest.raises(MapError, match="holds no map .*can be read.*denied"):
        fxscope.open_map(found.path)
    closed = shards(found.path)[0]
    with without(closed, 0):
        for use in (lambda: found @ found.x0, lambda: lin.F.to_zarr(found.path, progress=False)):
            with pytest.raises(MapError, match=f"{closed} cannot be read.*denied"):
                use()
    assert contents(folder) == before  # a shard that may not be read is not taken for a damaged one
    lin.F.to_zarr(found.path, progress=False)
    assert contents(folder) == whole


def test_other_libraries_read_it(tmp_path):
    dask, xarray = pytest.importorskip("dask.array"), pytest.importorskip("xarray")
    lin = interpreted()
    found = lin.F.to_zarr(tmp_path / "map", progress=False)
    values = dask.from_zarr(str(found.path / "values"))
    assert values.shape == (2, 24, 18, 1, 5, 5) and bool(dask.isfinite(values).all().compute())
    squares = float((values**2).sum().compute())
    assert squares == pytest.approx(float(lin.F.to_dense(progress=False).square().sum()), rel=1e-12)
    with xarray.open_zarr(str(found.path), consolidated=False) as data:
        row = data["values"].isel(out_c=1, out_y=10, out_x=9).values
        assert np.array_equal(row, found.row((1, 10, 9))[:, 3:8, 2:7].numpy())
        assert np.array_equal(data["y0"].values, lin.y0[0].numpy()) and data["x0"].dims == (
            "in_c",
            "in_y",
            "in_x",
        )
    shards(found.path)[0].unlink()
    assert bool(dask.isnan(dask.from_zarr(str(found.path / "values"))).any().compute())


def test_a_map_is_pickled_and_has_an_svd(tmp_path):
    import pickle

    lin = interpreted(size=(5, 4))
    found = pickle.loads(pickle.dumps(lin.F.to_zarr(tmp_path / "map", progress=False)))
    assert torch.allclose(found.svd(2, progress=False).s, lin.F.svd(2, progress=False).s, rtol=1e-9)
    assert found.origin()["weights"] == lin.F.origin()["weights"]


# A program that imports once, and forks: a process that has computed nothing yet can be copied.
PROGRAM = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
import test_on_disk as here
from fxscope.linop.store import fill, layout
layout.CHUNK, layout.SHARD = 1 << 11, 1 << 12
folder, kills = Path(sys.argv[2]), int(sys.argv[3])

def start(name, **environment):
    child = os.fork()
    if child:
        return child
    os.environ.update(environment)
    computed = fill.Filler.shard
    def noted(self, box):
        with open(folder / (name + ".log"), "a") as log:
            log.write(f"{box}\\n")
        return computed(self, box)
    fill.Filler.shard = noted
    here.interpreted(size=(12, 10)).F.to_zarr(folder / name, progress=False)
    os._exit(0)

def finish(*children):
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)

def written(name):
    return len(list((folder / name).rglob("c/*/*/*/*/*/*")))

def is_alive(child):
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

begun = time.monotonic()
finish(start("one"))
count = written("one")
each = (time.monotonic() - begun) / count
finish(*(start("ranks", RANK=str(r), WORLD_SIZE="2") for r in range(2)))
finish(*(start("apart") for r in range(2)))
draw, done = random.Random(kills), 0
while done < kills:
    child, before = start("killed"), written("killed")
    # once so many shards are there, and at any moment of the next two; all may be there already
    goal = draw.randrange(before, max(count, before + 1))
    while written("killed") < goal and is_alive(child):
        time.sleep(each / 4)
    time.sleep(draw.uniform(0, 2) * each)
    os.kill(child, signal.SIGKILL)
    died = os.waitpid(child, 0)[1] == signal.SIGKILL
    done += died
    aside = len(list((folder / "killed").rglob("*.partial")))
    state = f"after {before} to {written('killed')} shards, {aside} unfinished"
    print("killed" if died else "was done", state)
    if not died or draw.random() < 0.3:
        finish(start("killed"))
        assert here.contents(folder / "killed") == here.contents(folder / "one")
        print("went on to the end: the same bytes")
        shutil.rmtree(folder / "killed")
finish(start("killed"))
"""


def forked(tmp_path: Path, kills: int) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    arguments = [str(Path(__file__).parent), str(tmp_path), str(kills)]
    done = subprocess.run(
        [sys.executable, "program.py", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.full)])
def test_the_same_bytes_from_one_process_from_two_and_after_kills(kills, tmp_path):
    said = forked(tmp_path, kills)
    print(said)
    one = contents(tmp_path / "one")
    assert len(shards(tmp_path / "one")) > 50 and said.count("killed after") == kills
    for name in ("ranks", "apart", "killed"):
        assert contents(tmp_path / name) == one, name
    for name in ("one", "ranks", "apart"):  # every shard was computed by one process alone
        lines = (tmp_path / f"{name}.log").read_text().splitlines()
        assert len(lines) == len(set(lines)) == len(shards(tmp_path / "one")), name


@pytest.fixture
def files(tmp_path):
    (tmp_path / "net.py").write_text(NET)
    pixels = np.random.default_rng(0).integers(0, 255, (16, 14), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path


def test_the_verb(files):
    def run(*more):
        start = ["map", f"{files}/net.py:image", f"{files}/photo.png", "--out", f"{files}/m a p"]
        return CliRunner().invoke(cli, [*start, *map(str, more)], catch_exceptions=False)

    refused = run("--status")
    assert refused.exit_code == 1 and "holds no map" in refused.stderr
    done = run("--dtype", "float16", "--json")
    assert done.exit_code == 0, done.stderr
    numbers = json.loads(done.stdout)
    assert (
        numbers["finished"] and numbers["written"] == numbers["shards"] > 1 and numbers["dtype"] == "float16"
    )
    assert "= y0" in run("--dtype", "float16").stdout
    shards(files / "m a p")[0].unlink()
    status = run("--status", "--json")
    assert json.loads(status.stdout)["written"] == numbers["shards"] - 1
    command = f"fxscope map {files}/net.py:image {files}/photo.png --out {files}/m a p --dtype float16"
    with pytest.raises(MapError) as error:
        fxscope.open_map(files / "m a p") @ torch.zeros(1, 16, 14)
    assert command.replace("m a p", "'m a p'").split(" --out")[0] in str(error.value)
    assert run().exit_code == 1 and "stored is 'float16' there" in run().stderr
    assert json.loads(run("--dtype", "float16", "--json").stdout)["finished"]
    both = run("--row", "0,1,1", "--column", "0,1,1")
    assert both.exit_code == 2 and "exclude each other" in both.stderr


@pytest.mark.full
def test_the_verb_under_torchrun_and_ctrl_c(files):
    def command(name):
        verb = ["map", f"{files}/net.py:colours", "--size", "64", "--out", f"{files}/{name}"]
        return ["-m", "fxscope", *verb, "--row", "0,30,30", "--row", "1,2,3"]

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, start in {"one": [], "two": ["-m", "torch.distributed.run", "--nproc-per-node", "2"]}.items():
        more = command(name)[0:1] * bool(start) + command(name)[1:] if start else command(name)
        done = subprocess.run(
            [sys.executable, *start, *more], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert contents(files / "one") == contents(files / "two")
    whole = [part for part in command("three") if part not in ("--row", "0,30,30", "1,2,3")]
    child = subprocess.Popen([sys.executable, *whole], env=environment, stderr=subprocess.PIPE, text=True)
    while not (files / "three" / "values" / "c").is_dir():
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said = child.communicate()[1]
    assert child.returncode in (0, 130) and (child.returncode == 0 or "go on with: fxscope map" in said)
    shutil.rmtree(files / "three")
