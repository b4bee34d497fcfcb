"""Studies: numbers against the functions that they stand for, and the same bytes however they were killed."""

from __future__ import annotations

import io
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

import fxscope
from fxscope import models, studies
from fxscope.analysis import energy_against_distance, layer_contributions, residual_share
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, NonFinite, StudyError, WrongArgument
from fxscope.studies.exact import limbs, number
from fxscope.studies.mean_map import maps_of

SIDE = 12


def classifier() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU()
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(24, 5)).eval()
    net.preprocess = fxscope.Preprocess(mean=0.4, std=0.3)
    return net


def upscaler() -> nn.Module:
    torch.manual_seed(1)
    layers = nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2)
    return nn.Sequential(*layers).eval()


def pictures(count: int = 7) -> list[tuple[str, torch.Tensor]]:
    rng = torch.Generator().manual_seed(2)
    return [(f"p{i}", torch.randint(0, 256, (3, SIDE, SIDE), generator=rng) / 255) for i in range(count)]


def of_scores(lin):
    return {"norm": lin.F.norm(progress=False).value, "two": lin.y0[0, :2]}


def files(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found, folder
    return found


# exact sums


def test_sums_are_the_same_bits_in_any_order_and_grouping():
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(100, 3, generator=rng, dtype=torch.float64) * 10.0 ** torch.randint(
        -12, 9, (100, 3), generator=rng
    )
    whole = limbs(values).sum(1)
    order = torch.randperm(100, generator=rng)
    parts = [limbs(values[order[a:b]]).sum(1) for a, b in ((0, 1), (1, 50), (50, 100))]
    assert torch.equal(sum(parts), whole)
    exact = torch.tensor([math.fsum(column) for column in values.T.tolist()], dtype=torch.float64)
    assert torch.allclose(number(whole), exact, rtol=1e-15, atol=1e-22)
    assert torch.equal(number(limbs(-values)), -number(limbs(values)))
    for wrong in (torch.inf, torch.nan, 2.0**38):
        with pytest.raises(NonFinite):
            limbs(torch.tensor([wrong]))


# mean maps


def dense_map(lin, axis_in: int, axis_out: int) -> torch.Tensor:
    """The definition, on the whole matrix."""
    to, at = lin.y0.shape[1:], lin.x.shape[1:]
    whole = lin.F.to_dense(progress=False).reshape(*to, *at)
    others = [d for d in range(len(to)) if d != axis_out]
    whole = whole.sum(others) if others else whole
    places = [1 + d for d in range(len(at)) if d != axis_in]
    return whole.mean(places) if places else whole


@pytest.mark.parametrize(
    ("inputs", "outputs", "policy"), [(None, None, "freeze"), ("0", "3", "taylor"), ("5", "7", "freeze")]
)
def test_a_mean_map_is_the_mean_over_positions_of_the_matrix(inputs, outputs, policy):
    net = classifier().double()
    images = [p[None].double() for _, p in pictures(3)]
    found = fxscope.mean_map(net, images, inputs, outputs, policy=policy, progress=False)
    each = [fxscope.interpret(net, x, inputs=inputs, outputs=outputs, policy=policy) for x in images]
    dense = torch.stack([dense_map(lin, 0, 0) for lin in each])
    assert torch.allclose(found.mean, dense.mean(0), atol=1e-12)
    assert torch.allclose(found.error, dense.std(0) / math.sqrt(3), atol=1e-9)
    batched = fxscope.mean_map(net, [torch.cat(images)], inputs, outputs, policy=policy, progress=False)
    assert torch.allclose(batched.mean, found.mean, atol=1e-12) and batched.count == 3


class Tokens(nn.Module):
    """Tokens (B, T, 4): each is mixed with those before it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last = nn.Linear(4, 4).double(), nn.Linear(4, 4).double()

    def forward(self, x):
        return self.last(torch.tanh(self.first(x).cumsum(1))) + x


def test_a_mean_map_of_tokens_skips_the_first_and_the_last():
    x = torch.randn(1, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = fxscope.mean_map(Tokens(), [x], policy="taylor", skip=(2, 1), progress=False)
    jacobian = torch.autograd.functional.jacobian(Tokens(), x)[0, :, :, 0]  # (T, 4, T, 4)
    assert torch.allclose(found.mean, jacobian[2:5, :, 2:5].sum(0).mean(1), atol=1e-12)
    with pytest.raises(FxscopeError, match="longer examples"):
        fxscope.mean_map(Tokens(), [x], skip=(4, 2), progress=False)


def test_random_probes_have_an_error_that_holds_and_are_those_of_the_image():
    net = classifier().double()
    x = torch.stack([p for _, p in pictures(40)]).double()
    lin = fxscope.interpret(net, x, inputs="2")
    exact = maps_of(lin, range(40))
    found = fxscope.mean_map(net, [x], "2", probes=2, progress=False)
    off = (found.mean - exact.mean(0)).abs() / found.error
    assert off.median() < 1 and off.max() < 5, "in standard errors"
    assert found.error.mean() > 2 * (exact.std(0) / math.sqrt(40)).mean(), "the probes' part is in it"
    drawn = maps_of(lin, range(40), 2)
    part = maps_of(fxscope.interpret(net, x[10:12], inputs="2"), [10, 11], 2)
    assert torch.allclose(drawn[10:12], part, atol=1e-12)


def test_mean_maps_merge_to_the_same_bits_and_only_where_they_fit(tmp_path):
    net = classifier()
    images = [p[None] for _, p in pictures(5)]
    one, two, three = (
        fxscope.mean_map(net, images[a:b], "2", progress=False) for a, b in ((0, 1), (1, 3), (3, 5))
    )
    whole = fxscope.mean_map(net, images, "2", progress=False)
    for merged in (one.merged(two, three), three.merged(one).merged(two), two.merged(one.merged(three))):
        assert torch.equal(merged.sums, whole.sums) and torch.equal(merged.squares, whole.squares)
        assert merged.count == 5
    kept = type(whole).load(whole.save(tmp_path / "map.safetensors"))
    assert torch.equal(kept.mean, whole.mean) and kept.origin == whole.origin
    others = [replace(one, origin={**one.origin, n: "other"}) for n in ("weights", "policy", "probes")]
    for other in (*others, replace(one, inputs="0"), replace(one, sums=one.sums[:, :2])):
        with pytest.raises(FxscopeError, match="differ"):
            whole.merged(other)


def test_a_lens_comes_back_as_it_went(tmp_path):
    x = torch.randn(3, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    maps = {
        layer: fxscope.mean_map(Tokens(), list(x[:, None]), policy="taylor", inputs=place, progress=False)
        for layer, place in enumerate(("x", "first"))
    }
    first, again = tmp_path / "lens.pt", tmp_path / "again.pt"
    studies.save_lens(maps, first)
    held = torch.load(first, weights_only=True)
    assert held.keys() == {"J", "n_prompts", "source_layers", "d_model"}
    assert (held["n_prompts"], held["source_layers"], held["d_model"]) == (3, [0, 1], 4)
    assert all(held["J"][n].dtype == torch.float16 for n in (0, 1))
    assert torch.allclose(held["J"][1].double(), maps[1].mean, rtol=1e-3, atol=1e-6)
    found = studies.load_lens(first)
    studies.save_lens(found, again)
    second = torch.load(again, weights_only=True)
    assert all(torch.equal(held["J"][n], second["J"][n]) for n in (0, 1))
    assert bool(found[0].error.isnan().all()), "a lens has no error"
    with pytest.raises(FxscopeError, match="square"):
        studies.save_lens(
            {0: fxscope.mean_map(classifier(), [pictures(1)[0][1][None]], progress=False)}, again
        )
    torch.save({"other": 1}, again)
    with pytest.raises(FxscopeError, match="holds no lens"):
        studies.load_lens(again)


# the numbers of a study


def test_the_numbers_are_those_of_the_functions(tmp_path):
    given, net = pictures(), classifier().double()
    measures = ["residual_share", "layer_contributions", {"measure": "gap", "noise": [0.1]}, of_scores]
    measures += [{"measure": "residual_share", "name": "black", "zero": "black"}]
    measures += [{"measure": "votes", "labels": 3}, {"measure": "mean_map", "inputs": "2"}]
    measures += [{"measure": "layer_contributions", "name": "after", "fgsm": 4}]
    found = fxscope.study(
        {"net": net}, given, measures, tmp_path, dtype="float64", batch=3, shard=4, progress=False
    )
    take = net.preprocess
    x = torch.cat([take(p) for _, p in given]).double()
    share = residual_share(net, [(n, x[i : i + 1]) for i, (n, _) in enumerate(given)], progress=False).models[
        0
    ]
    rows = list(found.rows("net", "residual_share"))
    assert [r["image"] for r in rows] == [n for n, _ in given] and [r["number"] for r in rows] == [*range(7)]
    assert all(math.isclose(r["share"], share.shares[r["image"]], rel_tol=1e-9) for r in rows)
    known = found.results["net"]["residual_share"]["numbers"]["share"]
    assert math.isclose(known["mean"], share.mean, rel_tol=1e-9)
    assert math.isclose(known["std"], share.std, rel_tol=1e-9)
    black = residual_share(net, [("a", x[:1])], zero="black", mean=0.4, std=0.3, progress=False).models[0]
    assert math.isclose(next(found.rows("net", "black"))["share"], black.shares["a"], rel_tol=1e-9)
    layers = layer_contributions(net, x, progress=False)
    curve = found.results["net"]["layer_contributions"]["curves"]["shares"]
    assert tuple(found.results["net"]["layer_contributions"]["parts"]) == layers.parts
    assert np.allclose(curve["mean"], layers.mean, atol=1e-9) and np.allclose(
        curve["std"], layers.std, atol=1e-9
    )
    moved = fxscope.analysis.fgsm(net, x, epsilons=[4 / 255], mean=0.4, std=0.3).images[-1]
    after = layer_contributions(net, moved, progress=False)
    assert np.allclose(found.results["net"]["after"]["curves"]["shares"]["mean"], after.mean, atol=1e-9)
    lin = fxscope.interpret(net, x[4:5])
    own = list(found.rows("net", "of_scores"))[4]
    assert math.isclose(own["norm"], lin.F.norm(progress=False).value, rel_tol=1e-9)
    assert np.allclose(own["two"], lin.y0[0, :2], atol=1e-9)
    labels = lin.y0[0].argsort(descending=True)[:3].tolist()
    popularity = lin.pixel_votes(labels, progress=False).popularity
    assert list(found.rows("net", "votes"))[4]["popularity"] == [popularity[k] for k in labels]
    assert 0 < list(found.rows("net", "gap"))[4]["gap"][0] < 1
    direct = fxscope.mean_map(net, [x[0:3], x[3:4], x[4:7]], "2", progress=False)
    assert torch.equal(found.mean_map("net").sums, direct.sums)


def test_networks_of_images(tmp_path):
    net, given = upscaler().double(), pictures(3)
    measures = [{"measure": "energy", "places": 4}, {"measure": "receptive_field", "places": 4, "radius": 2}]
    found = fxscope.study(
        [{"model": net, "name": "up"}], given, measures, tmp_path, dtype="float64", progress=False
    )
    from fxscope.paper.tour.super_resolution import sampled

    whole, fields = [], []
    for _, p in given:
        lin = fxscope.interpret(net, p[None].double())
        at, outs = sampled(lin, 4)
        rows = lin.F.rows([(0, *o) for o in outs], progress=False)
        whole.append(energy_against_distance(rows, at).share)
        padded = nn.functional.pad(rows, (2, 2, 2, 2)).abs().sum(1)
        fields.append(torch.stack([r[y : y + 5, x : x + 5] for r, (y, x) in zip(padded, at)]).mean(0))
    results = found.results["up"]
    assert np.allclose(results["energy"]["curves"]["energy"]["mean"], torch.stack(whole).mean(0), atol=1e-12)
    assert np.allclose(results["receptive_field"]["field"], torch.stack(fields).mean(0), atol=1e-12)
    written = studies.report(tmp_path, progress=False)
    assert written.page.is_file() and (tmp_path / "report" / "figures" / "energy_energy.pdf").is_file()


@pytest.mark.full
def test_a_shard_does_not_depend_on_what_a_process_did_before(tmp_path):
    """The last image has another size, and the batch before it another number: its process begins there."""
    given = [*pictures(4), ("last", torch.rand(3, 20, 14, generator=torch.Generator().manual_seed(6)))]
    measures: list = [{"measure": "energy", "places": 9}, {"measure": "mean_map", "inputs": "1"}]

    def run():
        fxscope.study(upscaler(), given, measures, tmp_path, batch=3, shard=2, progress=False)
        return files(tmp_path)

    before = run()
    for shard in (tmp_path / "shards").rglob("000002-*.parquet"):
        shard.unlink()
    assert run() == before


def test_images_of_every_kind_are_the_same(tmp_path):
    """A folder, tar files and a Dataset; what cannot be read is a row with its error."""
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    for name, p in pictures(3):
        Image.fromarray((p.permute(1, 2, 0) * 255).round().byte().numpy()).save(folder / f"{name}.png")
    (folder / "sub" / "broken.png").write_bytes(b"no image")
    with tarfile.open(tmp_path / "photos-0.tar", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            data = path.read_bytes()
            for suffix, part in (("png", data), ("cls", b"3")):
                info = tarfile.TarInfo(f"{path.stem}.{suffix}")
                info.size = len(part)
                archive.addfile(info, io.BytesIO(part))
    images = {
        "folder": folder,
        "tars": {"tars": [str(tmp_path / "photos-0.tar")]},
        "pictures": pictures(3),
        "named": {"dataset": f"{__file__}:pictures(3)"},
        "arrays": [(p.permute(1, 2, 0) * 255).round().byte().numpy() for _, p in pictures(3)],
    }
    shares = {}
    for name, source in images.items():
        out = tmp_path / name
        found = fxscope.study(classifier(), source, "residual_share", out, batch=2, progress=False)
        rows = list(found.rows("Sequential", "residual_share"))
        shares[name] = [r["share"] for r in rows if r["error"] is None]
        broken = [r["image"] for r in rows if r["error"]]
        assert (
            len(broken)
            == (name in ("folder", "tars"))
            == found.results["Sequential"]["residual_share"]["errors"]
        )
        assert not broken or ("broken.png" in broken[0] and "not an image" in str([r["error"] for r in rows]))
    assert len({tuple(s) for n, s in shares.items() if n != "tars"}) == 1 and sorted(
        shares["tars"]
    ) == sorted(shares["folder"])


def test_an_image_on_which_a_network_fails_is_a_row_with_its_error(tmp_path):
    given = pictures(5)
    given[2] = ("bad", torch.full((3, SIDE, SIDE), torch.inf))
    found = fxscope.study(classifier(), given, ["residual_share", "gap"], tmp_path, batch=4, progress=False)
    for measure in ("residual_share", "gap"):
        rows = list(found.rows("Sequential", measure))
        assert [r["image"] for r in rows if r["error"]] == ["bad"]
        assert found.results["Sequential"][measure]["images"] == 4


# what goes wrong


def asked(out, **changed):
    options = {"batch": 2, "shard": 3, "progress": False, **changed}
    return fxscope.study(
        options.pop("model", classifier()),
        options.pop("images", pictures()),
        "residual_share",
        out,
        **options,
    )


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    """A study that is done; ``done`` is a copy of it."""
    folder = tmp_path_factory.mktemp("study")
    asked(folder)
    return folder


@pytest.fixture
def done(once, tmp_path):
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)


@pytest.mark.turns(2)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "missing"])
def test_a_damaged_shard_is_named_and_done_again(done, tmp_path, damage, caplog):
    before = files(tmp_path)
    shard = sorted((tmp_path / "shards").rglob("000001-*.parquet"))[0]
    data = bytearray(shard.read_bytes())
    if damage == "missing":
        shard.unlink()
    else:
        at = data.index(b"p3") if b"p3" in data else 60
        data[at] ^= 0xFF
        shard.write_bytes({"cut": data[:-20], "flipped": data, "empty": b""}[damage])
    (shard.parent / ".000002-half.parquet").write_bytes(b"half of a file, of a process that was killed")
    with caplog.at_level("WARNING", logger="fxscope"):
        asked(tmp_path)
    assert files(tmp_path) == before
    assert (shard.name in caplog.text) == (damage != "missing")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"policy": "taylor"}, "policy"),
        ({"batch": 3}, "batch size"),
        ({"dtype": "float64"}, "dtype"),
        ({"threads": 2}, "threads"),
        ({"images": pictures(8)[1:]}, "images"),
        ({"limit": 2}, "images"),
        ({"model": {"Sequential": upscaler()}}, "weights"),
        ({"model": {"other": classifier()}}, "no such network"),
        ({"model": [{"model": classifier(), "preprocess": {"mean": 0.5}}]}, "preprocessing"),
    ],
)
def test_another_study_in_the_folder_is_refused_and_nothing_is_lost(done, tmp_path, changed, said):
    before = files(tmp_path)
    with pytest.raises(StudyError, match=f"another study.*{said}.*Nothing was changed"):
        asked(tmp_path, **changed)
    assert files(tmp_path) == before


def test_a_study_grows_by_measures_and_networks(tmp_path):
    asked(tmp_path)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "shards").rglob("*.parquet")}
    more = fxscope.study(
        {"Sequential": classifier(), "second": classifier()},
        pictures(),
        ["residual_share", "gap"],
        tmp_path,
        batch=2,
        shard=3,
        progress=False,
    )
    assert more.results.keys() == {"Sequential", "second"}
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items()), "what was there was not done again"


def test_what_is_finished_survives_a_full_disk(tmp_path):
    """A limit of the size of files is the same error of the system as a full disk, to a process."""
    limits, before = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    given = [(os.urandom(40000).hex() if name == "p4" else name, p) for name, p in pictures()]
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        with pytest.raises(StudyError, match="the disk is full.*what is finished is kept"):
            asked(tmp_path, images=given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    left = [p.name for p in (tmp_path / "shards").rglob("*") if p.is_file()]
    assert [n[:6] for n in left] == ["000000"], "the first shard, and no half of the second"


def test_a_folder_that_cannot_be_written_is_an_error_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StudyError, match="no study can be written into.*give another folder"):
        asked(tmp_path / "file" / "out")


@pytest.mark.turns(2)
@pytest.mark.parametrize("part", [".", "shards"])
def test_a_folder_without_rights_loses_nothing(shut, part):
    folder, without = shut
    asked(folder)
    whole = files(folder)
    sorted((folder / "shards").rglob("000001-*.parquet"))[0].unlink()
    before = files(folder)
    said = {".": "no study can be written into", "shards": "cannot be written.*what is finished is kept"}
    with without(folder / part), pytest.raises(StudyError, match=said[part]):
        asked(folder)
    assert files(folder) == before
    asked(folder)
    assert files(folder) == whole


def test_two_studies_are_not_at_work_in_one_folder(tmp_path):
    from fxscope.studies.run import _alone

    with _alone(tmp_path), pytest.raises(StudyError, match="another process is at work"):
        asked(tmp_path)
    assert asked(tmp_path).results


def test_images_that_change_meanwhile_end_the_study(tmp_path):
    class Restless(list):
        def __getitem__(self, i):
            name, picture = super().__getitem__(i)
            self.reads = getattr(self, "reads", 0) + 1
            return name, picture if self.reads <= 7 else picture * 0.5

    with pytest.raises(StudyError, match="has changed since the study began"):
        asked(tmp_path, images=Restless(pictures()))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"measures": "residual"}, "did you mean 'residual_share'"),
        ({"measures": {"measure": "gap", "level": 1}}, "no option 'level'"),
        ({"measures": {"measure": "gap", "noise": [-1]}}, "above 0"),
        ({"measures": {"measure": "gap", "noise": math.inf}}, "above 0"),
        ({"measures": {"measure": "layer_contributions", "fgsm": [4, 8]}}, "fgsm is one number above 0"),
        ({"measures": {"measure": "residual_share", "zero": True}}, "or a number; got bool True"),
        ({"measures": ["gap", "gap"]}, "called 'gap'"),
        ({"measures": "math:nothing"}, "no 'nothing'"),
        ({"measures": "missing_module:f"}, "missing_module"),
        ({"measures": lambda lin: "text"}, "return numbers"),
        ({"measures": "energy"}, "images to images"),
        ({"networks": []}, "networks is"),
        ({"networks": [{"modle": "x"}]}, "did you mean 'model'"),
        ({"images": {"cloud": "x"}}, "a folder, a Dataset"),
        ({"images": []}, "no image"),
        ({"images": "missing"}, "no folder"),
        ({"batch": 0}, "batch"),
        ({"dtype": "int8"}, "float32 or float64"),
        ({"hash": "none"}, "contents or names"),
    ],
)
def test_what_is_no_study_is_said(tmp_path, arguments, said):
    given = {"networks": classifier(), "images": pictures(2), "measures": "gap", "out": tmp_path / "out"}
    with pytest.raises(FxscopeError, match=said):
        fxscope.study(**{**given, "progress": False, **arguments})


# the command line, and processes


SPEC = """
batch = 2
shard = 2
[[networks]]
model = "fxscope:digits_resnet"
[images]
dataset = "fxscope.studies:digits"
limit = 60
[[measures]]
measure = "residual_share"
[[measures]]
measure = "mean_map"
inputs = "layers.2.1.relu_1"
probes = 2
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A spec, and the folder of its study, done by one process without a stop."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "spec.toml").write_text(SPEC)
    done = CliRunner().invoke(cli, ["study", str(folder / "spec.toml"), "--quiet", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["results"]["digits_resnet"]["residual_share"]["images"] == 60
    return folder


def test_the_command_line(finished, tmp_path):
    say = CliRunner().invoke
    state = say(cli, ["study", str(finished / "spec.toml"), "--status", "--json"])
    assert json.loads(state.stdout)["done"] == json.loads(state.stdout)["files"] == 60
    assert "60 of 60 files" in say(cli, ["study", str(finished / "spec"), "--status"]).stdout
    page = say(cli, ["study", "report", str(finished / "spec"), "--quiet"])
    assert page.exit_code == 0 and (finished / "spec" / "report" / "index.html").is_file()
    text = (finished / "spec" / "report" / "index.html").read_text()
    assert "Tables 3 and 4" in text and "digits_resnet" in text
    import shutil

    shutil.rmtree(finished / "spec" / "report")
    (tmp_path / "wrong.toml").write_text(SPEC.replace("limit", "limits"))
    wrong = say(cli, ["study", str(tmp_path / "wrong.toml")])
    assert wrong.exit_code == 1 and "did you mean 'limit'" in wrong.stderr
    assert say(cli, ["study", "report"]).exit_code == 2
    assert say(cli, ["study", str(tmp_path), "--status"]).exit_code == 2
    assert say(cli, ["study", str(finished / "spec")]).exit_code == 2, (
        "the folder of a study says how far it is"
    )


def started(folder: Path, out: str, processes: int) -> subprocess.Popen:
    run = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        str(processes),
        "--standalone",
    ]
    verb = ["-m", "fxscope", "study", str(folder / "spec.toml"), "--out", str(folder / out), "--quiet"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / f"{out}.log").open("ab") as log:
        return subprocess.Popen([*run, *verb], stdout=log, stderr=log, env=env, start_new_session=True)


def workers(process: subprocess.Popen) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(n) for n in text.split()]


def killed(folder: Path, out: str, rng: random.Random, more: int) -> bool:
    """Start two processes, kill one of them at a random moment after some files; whether it was in time."""
    shards = folder / out / "shards"
    before = len(list(shards.rglob("0*.parquet")))
    process = started(folder, out, 2)
    try:
        end = time.monotonic() + 600
        while len(list(shards.rglob("0*.parquet"))) < before + more and process.poll() is None:
            assert time.monotonic() < end, (folder / f"{out}.log").read_text()
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        found = workers(process) if process.poll() is None else []
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
        return process.wait(300) != 0 and bool(found)
    finally:
        if process.poll() is None:
            for number in (*workers(process), process.pid):  # those of torchrun have sessions of their own
                os.kill(number, signal.SIGKILL)
            process.wait()


def one_more(folder: Path, out: str) -> None:
    spec = str(folder / "spec.toml")
    done = CliRunner().invoke(cli, ["study", spec, "--out", str(folder / out), "--quiet"])
    assert done.exit_code == 0, done.output


@pytest.mark.full
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes of torchrun in /proc")
def test_two_processes_killed_three_times_and_one_that_goes_on_give_the_same_bytes(finished):
    rng = random.Random(os.environ.get("FXSCOPE_KILLS_SEED", "0"))
    kills = int(os.environ.get("FXSCOPE_KILLS", "3"))
    for i in range(kills):
        out = f"killed{i}" if kills > 3 else "killed"
        hit = killed(finished, out, rng, rng.randint(1, 12))
        if kills > 3:
            left = len(list((finished / out / "shards").rglob("0*.parquet")))
            one_more(finished, out)
            same = files(finished / out) == files(finished / "spec")
            print(f"kill {i + 1}: {'in time' if hit else 'too late'}, {left} of 60 files, same bytes: {same}")
            assert same
        else:
            assert hit, (finished / f"{out}.log").read_text()
    if kills <= 3:
        one_more(finished, "killed")
        assert files(finished / "killed") == files(finished / "spec")


@pytest.mark.full
def test_two_processes_without_a_stop_give_the_same_bytes(finished):
    process = started(finished, "two", 2)
    assert process.wait(600) == 0, (finished / "two.log").read_text()
    assert files(finished / "two") == files(finished / "spec")


@pytest.mark.full
def test_an_error_of_the_first_process_is_said_once(finished):
    """Both processes end with 1, and one of them says why."""
    (finished / "one").mkdir()
    one_more(finished, "one")
    (finished / "spec.toml").write_text(SPEC.replace("batch = 2", "batch = 3"))
    process = started(finished, "one", 2)
    assert process.wait(600) != 0
    (finished / "spec.toml").write_text(SPEC)
    assert (finished / "one.log").read_text().count("holds results of another study") == 1


@pytest.mark.full
def test_ctrl_c_keeps_what_is_finished(finished):
    verb = [sys.executable, "-m", "fxscope", "study", str(finished / "spec.toml"), "--quiet"]
    out = finished / "stopped"
    process = subprocess.Popen(
        [*verb, "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not list(out.rglob("0*.parquet")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode == 130 and text.strip().endswith("interrupted")
    one_more(finished, "stopped")
    assert files(out) == files(finished / "spec")


def test_a_network_of_the_package_by_name(tmp_path):
    found = fxscope.study(
        "fxscope:digits_vgg",
        {"dataset": "fxscope.studies:digits"},
        "residual_share",
        tmp_path,
        limit=3,
        progress=False,
    )
    ink = studies.digits("train")[0][1]
    x0 = fxscope.Preprocess.of("fxscope:digits_vgg")(ink.expand(3, -1, -1))
    known = residual_share(models.load_model("fxscope:digits_vgg"), [("a", x0)], progress=False).models[0]
    assert math.isclose(
        next(found.rows("digits_vgg", "residual_share"))["share"], known.shares["a"], rel_tol=1e-4
    )


def test_wrong_arguments_of_records(tmp_path):
    found = asked(tmp_path)
    for call in (lambda: next(found.rows("nobody", "residual_share")), lambda: found.mean_map("Sequential")):
        with pytest.raises(StudyError):
            call()
    with pytest.raises(WrongArgument):
        fxscope.mean_map(classifier(), "text")
