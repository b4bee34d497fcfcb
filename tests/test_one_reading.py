"""The same network and photograph have one x0 in every verb, which every answer states."""

from __future__ import annotations

import dataclasses
import importlib
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import fxscope
from fxscope import Preprocess
from fxscope.cli.main import cli
from fxscope.images.photos import read
from fxscope.linop.filters import Filters
from fxscope.models.spec import load
from fxscope.paper.tour import Chapter
from fxscope.results.provenance import digest

NETWORKS = """
import torch
from torch import nn
from fxscope import Preprocess

def images(norm=False):
    torch.manual_seed(0)
    middle = [nn.InstanceNorm2d(4)] if norm else []
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *middle, nn.ReLU(), nn.Conv2d(4, 3, 3, padding=1))

def scores(labels=5):
    torch.manual_seed(0)
    pooled = [nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(nn.Conv2d(3, 4, 3), *pooled, nn.Linear(64, labels))

def caffe():
    given = dict(size=(24, 48), resize="cover", crop="center", channels="BGR", multiple=16)
    return scores(), Preprocess(**given, range=(0, 255), mean=(104, 117, 123)), ["a", "b", "c", "d", "e"]
"""
ANY = ("row", "column", "svd", "contributions", "verify", "report", "transform", "inspect", "page", "map")
SCORES = ("votes", "discussion", "layers", "fgsm", "residual-share", "votes-study", "faithfulness")
IMAGES = ("locality", "reach", "video")
SERVED = ("view",)  # it ends with Ctrl-C, and reads photographs as "page" does

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reading")
    (folder / "net.py").write_text(NETWORKS)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "photo.png")
    (folder / "boxes.json").write_text(json.dumps({"photo": [20, 10, 70, 50]}))
    return folder


def run(*arguments):
    done = CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


def answer(verb, model, files, *options):
    """What the verb prints about the photograph; of the graph's verbs, about the one that they read."""
    photo = files / "photo.png"
    image = {"transform": [], "inspect": [], "residual-share": ["--images", photo]}.get(verb, [photo])
    more = {
        "transform": ["-o", files / "x.ts"],
        "inspect": ["--outputs", "2"],
        "report": ["--no-live", "--out", files / "page"],
        "page": ["-o", files / "page.html"],
        "video": ["-o", files / "film.gif", "--seconds", 0.4, "--fps", 5, "--width", 160],
        "column": ["--at", "0,5,5"],
        "locality": ["--places", 2],
        "svd": ["-k", 1],
        "votes-study": ["--boxes", files / "boxes.json"],
        "faithfulness": ["--depths", 1],
        "map": ["--out", files / f"map{len(list(files.iterdir()))}", "--column", "0,5,5"],
    }
    return run(verb, model, *image, *options, *more.get(verb, []), "--json")


@pytest.mark.parametrize(
    ("network", "options", "verbs"),
    [
        pytest.param("images(norm=True)", ["--size", "24x32"], ANY + IMAGES, marks=pytest.mark.full),
        (
            "images(norm=True)",
            ["--size", "24", "--crop", "top-left", "--range", "byte", "--bgr"],
            ANY + IMAGES,
        ),
        pytest.param(
            "scores", ["--size", "16x24", "--range", "imagenet"], ANY + SCORES, marks=pytest.mark.full
        ),
        pytest.param(
            "scores", ["--resize", "20", "--std", "0.5,0.6,0.7"], ANY + SCORES, marks=pytest.mark.full
        ),
        pytest.param("caffe", [], ANY + SCORES, marks=pytest.mark.full),
    ],
)
def test_one_x0_in_every_verb(network, options, verbs, files, monkeypatch):
    """The hash and the statement are the same everywhere, and those of a ``Preprocess`` made in Python."""
    picture = read(files / "photo.png")
    monkeypatch.setattr("fxscope.images.photos.shipped", lambda name: picture)  # where no photograph is named
    model, seen, values = f"{files}/net.py:{network}", {}, {}
    for verb in verbs:
        found = answer(verb, model, files, *options)
        (own,) = found["networks"]
        (x0,) = own["x0"].values()
        seen[verb] = (x0, json.dumps(own["preprocess"]))
        values[verb] = found
    assert len(set(seen.values())) == 1, seen
    x0, data = next(iter(seen.values()))
    data = json.loads(data)
    text = data.pop("text")
    given = Preprocess(**data)
    assert given.text == text and digest(given(picture)) == x0
    (chapter,) = [v for k, v in values["report"].items() if k not in ("networks", "skipped")]
    assert chapter["photo.png"]["x0"] == x0 and chapter["preprocess"] == text
    lin = fxscope.interpret(load(model).module, given(picture))
    index = values["row"]["index"]
    assert abs(values["row"]["y0"] - float(lin.y0[0][tuple(index)])) < 1e-5
    if "votes" in verbs:
        assert abs(chapter["photo.png"]["score"] - values["row"]["y0"]) < 1e-5
        assert abs(max(values["discussion"]["scores"]) - values["row"]["y0"]) < 1e-5


def test_no_verb_that_reads_a_photograph_is_missed():
    reads = {name for name, each in cli.commands.items() if any(p.name == "scale" for p in each.params)}
    assert reads == {*ANY, *SCORES, *IMAGES, *SERVED}


def test_preprocessing_of_a_factory_by_options(files):
    """Blue, green, red minus a mean, resized to cover, padded to 16: the same x0 as the factory's own."""
    options = [
        "--size",
        "24x48",
        "--resize",
        "cover",
        "--range",
        "byte",
        "--mean",
        "104,117,123",
        "--bgr",
        "--multiple",
        "16",
    ]
    by_options = answer("row", f"{files}/net.py:scores", files, *options)["networks"][0]
    own = answer("row", f"{files}/net.py:caffe", files)["networks"][0]
    assert by_options["x0"] == own["x0"]
    assert by_options["preprocess"]["multiple"] == 16 and "--multiple" in by_options["preprocess"]["text"]


def test_the_main_tensor_of_an_output_is_one_in_every_verb(files, tmp_path):
    """A Hugging Face model gives a structure: verbs about any output and about scores read its logits."""
    transformers = pytest.importorskip("transformers")
    sides = {"image_size": 16, "patch_size": 8, "hidden_size": 8, "intermediate_size": 8}
    config = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, num_labels=3, **sides)
    transformers.ViTForImageClassification(config).eval().save_pretrained(tmp_path / "vit")
    given = {"image_processor_type": "ViTImageProcessor", "size": {"height": 16, "width": 16}}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(given))
    spec = f"hf:{tmp_path / 'vit'}"
    row, discussed, named = (
        answer(verb, spec, files, *more)
        for verb, more in (("row", []), ("discussion", []), ("discussion", ["--outputs", "logits"]))
    )
    assert abs(max(discussed["scores"]) - row["y0"]) < 1e-5 and discussed["scores"] == named["scores"]
    assert row["networks"][0]["x0"] == discussed["networks"][0]["x0"]


def test_rows_and_columns_are_written(files, tmp_path):
    """What ``--save`` writes is what the verb says of it."""
    for verb in ("row", "column"):
        found = answer(verb, f"{files}/net.py:images", files, "--save", tmp_path / "x.safetensors")
        values = Filters.load(tmp_path / "x.safetensors")
        assert values.kind == verb and abs(float(values[0].square().sum()) - found["energy"]) < 1e-6


def test_what_a_factory_comes_with(files):
    """Its preprocessing and its names; an option changes the one, --names the other."""
    loaded = load(f"{files}/net.py:caffe")
    assert loaded.names == ("a", "b", "c", "d", "e") and loaded.preprocess.channels == "BGR"
    x0 = loaded.preprocess(read(files / "photo.png"))
    assert x0.shape == (1, 3, 32, 48)
    done = CliRunner().invoke(cli, ["votes", f"{files}/net.py:caffe", str(files / "photo.png")])
    assert "BGR 0..255, minus (104, 117, 123)" in done.stdout and "its factory" in done.stdout
    assert "guessed" not in done.stderr and "label " not in done.stdout
    names = files / "names.txt"
    names.write_text("\n".join(["one", "two", "three"]))
    model, photo = f"{files}/net.py:scores(labels=3)", str(files / "photo.png")
    done = CliRunner().invoke(cli, ["votes", model, photo, "--names", str(names)])
    assert done.exit_code == 0 and "(0): " in done.stdout + "(0): " and "label " not in done.stdout
    wrong = CliRunner().invoke(cli, ["votes", f"{files}/net.py:caffe", photo, "--names", str(names)])
    assert wrong.exit_code == 2 and "3 names" in wrong.stderr and "5 labels" in wrong.stderr


def test_a_guess_and_a_cut_are_said(files):
    large = files / "large.png"
    Image.new("RGB", (200, 150), (200, 120, 40)).save(large)
    done = CliRunner().invoke(cli, ["row", f"{files}/net.py:images", str(large), "--json"])
    assert "guessed: RGB in 0..1" in done.stderr and "the middle 128 x 128 of 200 x 150 pixels" in done.stderr
    whole = CliRunner().invoke(cli, ["row", f"{files}/net.py:images", str(large), "--json", "--crop", "none"])
    assert "the middle" not in whole.stderr
    texts = [json.loads(d.stdout)["networks"][0]["preprocess"]["text"] for d in (done, whole)]
    assert "at most 128x128" in texts[0] and "whole photograph" in texts[1]


def test_a_page_is_made_again_where_its_input_is_another(files, tmp_path, monkeypatch):
    """Another size, range, weights, names, or other bytes of the photograph: never the old page."""
    made, photo = [], tmp_path / "photo.png"

    def parts(network, *rest):
        def make():
            made.append(network)
            return Chapter(network.title)

        return {"photo.png": make}

    # the package's attribute of this name is the function
    monkeypatch.setattr(importlib.import_module("fxscope.paper.tour.report"), "parts_of", parts)
    photo.write_bytes((files / "photo.png").read_bytes())
    state = load(f"{files}/net.py:scores").module.state_dict()
    torch.save({k: v.flip(0) for k, v in state.items()}, tmp_path / "mine.pt")
    (tmp_path / "names.txt").write_text("\n".join("abcde"))

    def pages(*options):
        before = len(made)
        base = ["report", f"{files}/net.py:scores", photo, "--no-live", "--out", tmp_path / "page", "--json"]
        run(*base, "--size", 16, *options)
        return len(made) - before

    assert (pages(), pages()) == (1, 0)
    others = (("--size", 17), ("--range", "byte"), ("--bgr",), ("--weights", tmp_path / "mine.pt"))
    for options in (*others, ("--names", tmp_path / "names.txt"), ("--resize", "exact")):
        assert (pages(*options), pages(*options)) == (1, 0), options
    assert pages() == 1
    pixels = np.asarray(Image.open(photo)).copy()
    pixels[0, 0] += 1
    Image.fromarray(pixels).save(photo)
    assert (pages(), pages()) == (1, 0)


def test_options_change_what_is_known():
    from fxscope.cli.asked_input import with_sides, with_values
    from fxscope.cli.options import Asked

    def asked(known, gives_images=False, **options):
        given = Asked(**options)
        return with_sides(given, known, with_values(given, known), gives_images, 128)

    known = Preprocess.of("torchvision:resnet18")
    assert asked(known) == known
    found = asked(known, size=(112, 112))
    assert (found.size, found.resize, found.crop) == ((112, 112), 128, "center") and found.mean == known.mean
    assert asked(known, size=(48, 192)).resize == "cover" and "--size" in found.text
    whole = asked(known, crop="none")
    assert (whole.size, whole.resize, whole.limit) == (None, 256, None)
    assert asked(known, resize="none").resize is None
    grey = asked(known, luminance=True)
    assert grey.channels == "Y" and abs(grey.mean - 0.449) < 1e-9
    assert asked(known, bgr=True).mean == known.mean[::-1]  # of the same colours
    assert asked(Preprocess(), scale="imagenet", bgr=True).std == known.std[::-1]
    assert asked(known, bgr=True, mean=(1.0, 2.0, 3.0)).mean == (1.0, 2.0, 3.0)
    any_size = Preprocess.of("fxscope:dncnn")
    assert asked(any_size, True).limit == 128 and asked(any_size).limit is None
    cut = asked(any_size, True, size=(40, 30))
    assert (cut.size, cut.resize, cut.crop, cut.limit) == ((40, 30), None, "center", None)
    assert dataclasses.replace(asked(any_size, size=(40, 30)), resize=None).crop == "center"
