"""The command line: every verb with wrong arguments, what is printed where, and exit codes.

The walk is over the parameters that the verbs themselves have, so that a new verb or option is walked, too.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from fxscope import models
from fxscope.cli import analyses, types
from fxscope.cli.main import cli
from fxscope.errors import UnknownNetwork

FACTORIES = """
import os, signal, time, warnings
import torch
from torch import nn

def image(): return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
def scores(): return nn.Sequential(image(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 5))
class Both(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.first, self.kind = image(), kind
    def forward(self, x):
        y = self.first(x)
        return self.kind(out=y, aux=2 * y.mean((2, 3))) if self.kind is dict else (y, 2 * y.mean((2, 3)))
def double(): return image().double()
def both(): return Both(dict)
def pair(): return Both(tuple)
def loud():
    print("printed by the user's file")
    warnings.warn("a warning of the user's file")
    return scores()
def needs(depth, width=3): return image()
def raises(): raise ValueError()
def nothing(): pass
def number(): return 3
def interrupted():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
number_of_layers = 3
ready = image()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a photograph, and with everything that is wrong with one."""
    folder = tmp_path_factory.mktemp("files")
    pixels = np.random.default_rng(0).integers(0, 255, (80, 70, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "good.png")
    (folder / "text.png").write_text("no image")
    (folder / "note.txt").write_text("no image")
    (folder / "empty.txt").write_text("\n\n")
    np.save(folder / "nan.npy", np.full((3, 8, 8), np.nan))
    (folder / "garbage.safetensors").write_bytes(b"garbage")
    (folder / "garbage.pt").write_bytes(b"garbage")
    save_file(models.build("bicubic4x").state_dict() | {"x": torch.zeros(1)}, folder / "other.safetensors")
    (folder / "net.py").write_text(FACTORIES)
    (folder / "study.toml").write_text('[images]\nfolder = "none"\n')
    (folder / "broken.py").write_text("x = 1\ndef factory(:\n")
    (folder / "import.py").write_text("import no_such_package_at_all\n")
    return folder


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments], catch_exceptions=False)


def refused(done, code, said=""):
    """One paragraph on stderr, nothing on stdout, the exit code, and no error that nobody expected."""
    assert done.exit_code == code, (done.exit_code, done.stderr)
    assert not done.stdout and done.stderr.startswith("fxscope") and "\n\n" not in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and "shows where" not in done.stderr, done.stderr
    assert said in done.stderr, done.stderr


@dataclass(frozen=True)
class Wrong:
    """Values that the command line alone shows to be wrong, and a value that it takes."""

    values: tuple = ()
    right: str = ""
    said: tuple = field(default=())


# by type of the parameter; {} is the folder of files
WRONG = {
    types.Model: Wrong(
        ("resnet18", "torchvision:resnt18", "fxscope:nope", "{}/none.py:image", "{}/net.py", "", "x:y"),
        "{}/net.py:scores",
        ("torchvision:resnet18", "resnet18", "bicubic4x", "no file", "FACTORY", "MODEL is", "MODEL is"),
    ),
    types.Weights: Wrong(("{}/none.pt", "{}", "default"), "DEFAULT"),
    types.Index: Wrong(("x", "1,", "1.5", "1,2,y", ""), "0"),
    types.Tile: Wrong(("big", "-3", "0", "", "8x8", "1.5"), "auto"),
    types.Sides: Wrong(("big", "-3", "0", "", "0x4", "4x-1", "1x2x3"), "8x8"),
    types.Resize: Wrong(("big", "-3", "0", "", "4x-1", "1x2x3"), "8"),
    types.Range: Wrong(("big", "1,1", "1", "", "0,1,2", "0,inf"), "0,255"),
    types.Numbers: Wrong(("big", "1,2", "", "1,,2", "nan", "1,2,3,4"), "0.5"),
    types.Names: Wrong(("{}/none.txt", "{}", "{}/garbage.pt/x", "{}/empty.txt", ""), "{}/note.txt"),
    types.Above: Wrong(("x", "0", "-1", "nan", "inf"), "0.5"),
    types.Device: Wrong(("nonsense", "cuda:99", "meta", "", "cpu:0:0"), "cpu", ("it has cpu",) * 5),
    types.Place: Wrong(("", " "), "out"),
    types.NewFile: Wrong(("{}/none/x{suffix}", "{}", "/proc/x{suffix}", "{}/x.xyz"), "{}/x{suffix}"),
    types.Study: Wrong(
        ("{}/none.toml", "{}/good.png", "{}", "reports"), "{}/study.toml", ("no study", "no TOML")
    ),
    types.Folder: Wrong(("{}/good.png", "{}/good.png/x", "/proc/x"), "{}/page"),
    click.Choice: Wrong(("nonsense", "")),
    click.IntRange: Wrong(("-1", "x", "1.5", "")),
    click.types.IntParamType: Wrong(("x", "1.5", "")),
    click.types.BoolParamType: Wrong(),
    click.Path: Wrong(("{}/none.png", ""), "{}/good.png", ("does not exist",)),
}

VERBS = sorted(cli.commands)


def wrong(parameter):
    assert type(parameter.type) in WRONG, f"{parameter.name} takes any text: give it a type that checks it"
    return WRONG[type(parameter.type)]


def filled(text, parameter, files):
    suffixes = getattr(parameter.type, "suffixes", ()) or (".json",)
    return text.replace("{suffix}", suffixes[0]).replace("{}", str(files))


def given(verb, files, but=None, instead=None):
    """Arguments that the verb takes, one of them replaced."""
    arguments = []
    for p in cli.commands[verb].params:
        if p is not but and not p.required:
            continue
        value = instead if p is but else filled(wrong(p).right, p, files)
        arguments += [value] if isinstance(p, click.Argument) else [p.opts[0], value]
    return arguments


CASES = [
    pytest.param(verb, p, i, id=f"{verb}-{p.name}-{i}")
    for verb in VERBS
    for p in cli.commands[verb].params
    for i in range(len(wrong(p).values))
]


def written(files):
    """What lies there, without the bytecode that python keeps of a network's file."""
    return sorted(file for file in files.iterdir() if file.name != "__pycache__")


@pytest.mark.parametrize(("verb", "parameter", "number"), CASES)
def test_what_is_wrong_in_the_command_line_is_told_before_anything_is_computed(
    verb, parameter, number, files, monkeypatch
):
    value, said = wrong(parameter).values[number], wrong(parameter).said
    if value.endswith(".xyz") and not parameter.type.suffixes:
        return
    monkeypatch.setattr("fxscope.cli.options.load", lambda *_: pytest.fail("a network was built"))
    before = written(files)
    done = run(verb, *given(verb, files, parameter, filled(value, parameter, files)))
    refused(done, 2, said[number] if number < len(said) else "")
    assert written(files) == before


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_required_and_no_option_is_unknown(verb, files):
    for p in cli.commands[verb].params:
        if p.required:
            short = given(verb, files)
            at = short.index(filled(wrong(p).right, p, files))
            done = run(verb, *short[: at - isinstance(p, click.Option)], *short[at + 1 :])
            refused(done, 2, "Missing" if p.name != "model" else "MODEL")
    refused(run(verb, *given(verb, files), "--no-such-option"), 2, "--no-such-option")


def having(name):
    """The verbs that have an option and an end: ``view`` serves until Ctrl-C (test_view.py)."""
    return [v for v in VERBS if v != "view" and any(p.name == name for p in cli.commands[v].params)]


def suited(verb, files):
    """A network of the output that the verb is about."""
    return f"{files}/net.py:{'image' if verb in ('locality', 'reach', 'video') else 'scores'}"


def called(verb, files, *more, image="good.png"):
    model = suited(verb, files)
    required = {p.name for p in cli.commands[verb].params if p.required}
    arguments = ["--model", model] if verb == "tour" else [model]
    if verb == "residual-share":
        arguments += ["--images", files / image]
    elif {"image", "images"} & {p.name for p in cli.commands[verb].params}:
        arguments += [files / image]
    if "boxes" in required:
        arguments += ["--boxes", Path(__file__).parents[1] / "examples" / "boxes.json"]
    if "file" in required:
        arguments += ["-o", files / "x.ts"]
    if "film" in required:
        arguments += ["-o", files / "x.gif", "--seconds", 0.2]
    if "out" in {p.name for p in cli.commands[verb].params}:
        arguments += ["--out", files / "page"]
    return run(verb, *arguments, *more)


@pytest.mark.parametrize("verb", sorted({*having("image"), *having("images")}))
@pytest.mark.parametrize("image", ["text.png", "note.txt", "nan.npy"])
def test_an_image_that_cannot_be_read(verb, image, files):
    before = written(files)
    refused(called(verb, files, image=image), 1, "not an image that can be read")
    assert written(files) == before


@pytest.mark.parametrize("verb", having("weights"))
@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ("garbage.safetensors", "not a weights file"),
        ("garbage.pt", "not a weights file"),
        ("other.safetensors", "does not fit"),
    ],
)
def test_weights_of_another_network_or_of_none(verb, weights, said, files):
    refused(called(verb, files, "--weights", files / weights), 1, said)
    refused(called(verb, files, "--weights", "DEFAULT"), 1, "DEFAULT needs torchvision")


@pytest.mark.parametrize("verb", ["row", "svd", "verify", "locality", "report"])
def test_a_crop_larger_than_the_photograph(verb, files):
    image = f"{files}/net.py:image"
    more = ["--no-live", "--out", files / "page"] if verb == "report" else []
    done = run(verb, image, files / "good.png", "--size", 400, *more)
    refused(done, 1, "70 x 80 pixels, smaller than the crop of 400 x 400")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--bgr", "--luminance"], "exclude each other"),
        (["--crop", "center"], "needs --size"),
        (["--resize", "cover"], "needs --size"),
        (["--luminance", "--mean", "1,2,3"], "mean is a finite number"),
    ],
)
@pytest.mark.parametrize("verb", ["row", "locality"])
def test_options_of_the_input_that_do_not_fit(verb, options, said, files):
    done = run(verb, f"{files}/net.py:image", files / "good.png", *options)
    assert done.exit_code == 2 and said in done.stderr and not done.stdout


@pytest.mark.parametrize("verb", having("at"))
@pytest.mark.parametrize("at", ["0,1", "9999,0,0", "0,-4000,0", "9999", "1,2,3,4"])
def test_an_index_outside_the_tensor(verb, at, files):
    refused(called(verb, files, f"--at={at}"), 2, "at most")


def _of_a_network(value):
    return isinstance(value, dict) and "shares" in value


def test_shares_about_another_zero(files):
    """The share about black of a network is that of ``residual_share`` with the pixels' own normalisation."""
    found = {}
    for zero in ("own", "mean", "black", "grey"):
        for verb in ("residual-share", "layers"):
            done = called(verb, files, "--range", "symmetric", "--zero", zero, "--json")
            assert done.exit_code == 0, done.stderr
            numbers = json.loads(done.stdout)
            found[verb, zero] = numbers if verb == "layers" else next(filter(_of_a_network, numbers.values()))
    for (verb, zero), numbers in found.items():
        key = "residual" if verb == "layers" else "mean"
        assert numbers[key] == pytest.approx(found["residual-share", zero]["mean"], abs=1e-5)
        assert numbers["zero"].startswith(
            {"own": "x = 0", "mean": "the mean colour"}.get(zero, f"{zero} pix")
        )
    # pixels of 0.5 are x = 0 of a network that takes -1 to 1
    assert found["layers", "grey"]["residual"] == pytest.approx(found["layers", "own"]["residual"], abs=1e-6)
    assert found["layers", "black"]["residual"] != pytest.approx(found["layers", "own"]["residual"], abs=1e-3)
    assert (
        "shares about grey pixels, x = 0"
        in called("layers", files, "--range", "symmetric", "--zero", "grey").stdout
    )


def test_options_that_exclude_each_other(files):
    for verb in ("row", "contributions"):
        refused(called(verb, files, "--at", 0, "--top"), 2, "exclude each other")
    refused(called("votes", files, "--top", 3, "--all"), 2, "exclude each other")
    for verb in ("report", "tour"):
        refused(called(verb, files, *["--weights", files / "other.safetensors"] * 3), 2, "one for each")
    refused(called("discussion", files, "--label", 77), 2, "0 to 4")


@pytest.mark.parametrize("verb", [v.name for v in analyses.VERBS])
def test_a_verb_about_another_kind_of_output(verb, files):
    other = "scores" if verb in ("locality", "reach") else "image"
    image = ["--images", files / "good.png"] if verb == "residual-share" else [files / "good.png"]
    if verb == "votes-study":
        image += ["--boxes", Path(__file__).parents[1] / "examples" / "boxes.json"]
    refused(run(verb, f"{files}/net.py:{other}", *image), 2, "verbs about any output: row, column")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("net.py:raises", "failed at line"),
        ("net.py:nothing", "returned None"),
        ("net.py:number", "an object of type int"),
        ("net.py:needs", "missing a required argument: 'depth'"),
        ("net.py:imag", "did you mean 'image'"),
        ("net.py:number_of_layers", "no factory 'number_of_layers'"),
        ("broken.py:factory", "does not run at line 2: SyntaxError"),
        ("import.py:factory", "does not run at line 1: ModuleNotFoundError"),
    ],
)
def test_factories_that_make_no_network(spec, said, files):
    refused(run("inspect", f"{files}/{spec}"), 1, said)
    with pytest.raises(UnknownNetwork, match=said):
        models.load_model(f"{files}/{spec}")


def test_a_network_in_place_of_a_factory(files):
    assert run("inspect", f"{files}/net.py:ready").exit_code == 0


def test_a_network_in_double_takes_its_photograph_so(files):
    double, photo = f"{files}/net.py:double", files / "good.png"
    assert run("row", double, photo, "--size", 16).exit_code == 0
    found = json.loads(run("contributions", double, photo, "--size", 16, "--json").stdout)
    assert found["error"] < 1e-13


@pytest.mark.parametrize("name", ["fcn_resnet50", "fasterrcnn_resnet50_fpn"])
def test_no_backbone_is_downloaded_that_nobody_asked_for(name, monkeypatch):
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *a, **k: pytest.fail("a download"))
    assert not models.load_model(f"torchvision:{name}", seed=0).training


def test_networks_of_several_outputs(files):
    both, pair, image = (f"{files}/net.py:{name}" for name in ("both", "pair", "image"))
    refused(run("row", both, "--size", 16), 2, "out: (1, 16, 16), aux: (1,)")
    refused(run("row", pair, "--size", 16), 2, "0: (1, 16, 16), 1: (1,)")
    refused(run("votes", both, files / "good.png"), 1, "--outputs KEY: out, aux")
    refused(run("votes", both, files / "good.png", "--outputs", "none"), 2, "its keys are out, aux")
    refused(run("row", both, "--size", 16, "--outputs", "nowhere"), 2, "nearest")
    whole = json.loads(run("row", image, "--size", 16, "--json").stdout)
    for model, key in ((both, "out"), (pair, "0"), (both, "first"), (image, "2")):
        part = json.loads(run("row", model, "--size", 16, "--json", "--outputs", key).stdout)
        assert part["y0"] == whole["y0"] and part["energy"] == whole["energy"]
    assert run("votes", both, files / "good.png", "--outputs", "aux", "--json").exit_code == 0


@pytest.mark.parametrize(
    "verb", ["residual-share", "layers", "fgsm", pytest.param("report", marks=pytest.mark.full)]
)
def test_one_unreadable_image_does_not_end_a_folder(verb, files, tmp_path):
    """What is left out is named on stderr and in the JSON, and the answer is that about the others."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes((files / "good.png").read_bytes())
    images = ["--images", folder] if verb == "residual-share" else [folder]
    more = ["--no-live", "--out", tmp_path / "page"] if verb == "report" else ["-o", tmp_path / "figure.png"]
    whole = run(verb, suited(verb, files), *images, *more, "--json")
    (folder / "b.png").write_text("no image")
    part = run(verb, suited(verb, files), *images, *more, "--json")  # the page takes up its chapters again
    assert (whole.exit_code, part.exit_code) == (0, 1)
    found = json.loads(part.stdout)
    assert list(found["skipped"]) == [str(folder / "b.png")] and "left out" in part.stderr
    assert "not an image" in found["skipped"][str(folder / "b.png")]
    assert found | {"skipped": {}} == json.loads(whole.stdout)


@pytest.mark.full
def test_a_random_network_is_said_to_be_one(files, tmp_path):
    """Its labels are called by their numbers; the seed is printed, and makes the weights."""
    squeezenet = ("votes", "torchvision:squeezenet1_1", files / "good.png", "--size", 33, "--top", 2)
    done = run(*squeezenet, "-o", tmp_path / "votes.svg")
    start = (
        r"torchvision:squeezenet1_1 \(random weights, seed 0\)\nx0: shorter side 38 .*center 33x33.*\n"
        r".*\nwinner .*\nlabel "
    )
    assert re.match(start, done.stdout), done.stdout
    found = json.loads(run(*squeezenet, "--seed", 1, "--json").stdout)
    own = {"model": "torchvision:squeezenet1_1", "weights": "random weights, seed 1", "seed": 1}
    assert len(found["networks"]) == 1 and own.items() <= found["networks"][0].items()
    assert not any(f"label {label} " in done.stdout for label in found["popularity"])
    (tmp_path / "names.txt").write_text("".join(f"class {i}\n" for i in range(1000)))
    named = run(*squeezenet, "--names", tmp_path / "names.txt", "-o", tmp_path / "votes.svg").stdout
    assert len(re.findall(r"^\s*class \d+ \[random weights\] ", named, re.M)) == 2, named
    assert "[random weights]" in (tmp_path / "votes.svg").read_text()
    file = tmp_path / "weights.safetensors"
    save_file(models.load_model("torchvision:squeezenet1_1", seed=0).state_dict(), file)
    trained = run(*squeezenet, "--weights", file)
    assert "weights weights.safetensors" in trained.stdout and "label " not in trained.stdout


@pytest.mark.turns(4)
@pytest.mark.parametrize("verb", having("output"))
def test_a_figure_says_what_weights_its_network_has(verb, files, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    captions = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: captions.append(self._supxlabel.get_text()))
    models = {"locality": "fxscope:dncnn", "column": "fxscope:dncnn", "reach": "fxscope:cyclegan6"}
    (tmp_path / "boxes.json").write_text('{"good": [4, 4, 24, 24]}')
    image = ["--images", files / "good.png"] if verb == "residual-share" else [files / "good.png"]
    if verb == "votes-study":
        image += ["--boxes", tmp_path / "boxes.json"]
    model = models.get(verb, "torchvision:squeezenet1_1")
    size = 24 if verb in models else 33
    done = run(verb, model, *image, "--size", size, "-o", tmp_path / "x.png")
    assert done.exit_code == 0, (verb, done.stderr)
    caption = captions.pop()
    assert "random weights, seed 0" in caption and "\nx0: " in caption and not captions, verb


def test_reach_is_about_instance_norm(files):
    refused(run("reach", f"{files}/net.py:image", files / "good.png"), 2, "no instance norm")


def test_a_seed_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    one, two = (models.load_model("torchvision:squeezenet1_1", seed=s) for s in (3, 3))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters()))


def process(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "fxscope.cli.main", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        **options,
    )


def test_stdout_is_json_and_nothing_else(files):
    """What a user's file prints or warns of goes to stderr."""
    done = process("row", f"{files}/net.py:loud", files / "good.png", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["error"] < 1e-5
    assert "printed by the user's file" in done.stderr
    assert "fxscope: warning: a warning of the user's file\n" in done.stderr


def test_an_interrupted_command(files, tmp_path):
    done = process("transform", f"{files}/net.py:interrupted", "-o", tmp_path / "net.pt2")
    assert done.returncode == 130 and done.stderr.strip() == "fxscope: interrupted" and not done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.full
def test_the_walk_in_a_process(files):
    refused_ = process("row", "torchvision:resnt18")
    assert refused_.returncode == 2 and "did you mean resnet18" in refused_.stderr and not refused_.stdout
    assert run("row", "--help").stdout.startswith("Usage: fxscope row") and run("--version").stdout


def test_an_unexpected_error_is_a_paragraph_and_a_traceback_on_demand(files, monkeypatch):
    monkeypatch.setattr("fxscope.render.summary", lambda graph: 1 / 0)
    done = run("inspect", f"{files}/net.py:image")
    assert done.exit_code == 1 and "Traceback" not in done.stderr
    assert "unexpected ZeroDivisionError: division by zero; fxscope --traceback inspect" in done.stderr
    assert "Traceback" in run("--traceback", "inspect", f"{files}/net.py:image").stderr


@pytest.mark.turns(3, 1)
@pytest.mark.parametrize("verb", ["transform", "inspect", "verify"])
def test_one_output_of_several(verb, files):
    arguments = ["-o", files / "part.ts"] if verb == "transform" else []
    shared = [*arguments, "--size", "16", "--json"]
    for model, key in (("both", "out"), ("pair", "0"), ("pair", "1"), ("both", "first.0")):
        done = run(verb, f"{files}/net.py:{model}", "--outputs", key, *shared)
        assert done.exit_code == 0, done.stderr
    (files / "part.ts").unlink(missing_ok=True)
    refused(run(verb, f"{files}/net.py:both", "--outputs", "nowhere", *shared), 2, "nowhere")


@pytest.mark.turns(3)
@pytest.mark.parametrize("verb", having("device"))
def test_the_device_is_that_of_the_network_and_of_the_photograph(verb, files, monkeypatch):
    moved = []
    to = torch.nn.Module.to
    monkeypatch.setattr(torch.nn.Module, "to", lambda self, *a: (moved.append(a), to(self, *a))[1])
    called(verb, files, "--device", "cpu")
    assert ("cpu",) in moved


def test_ctrl_c_while_libraries_are_imported():
    """The command line's own process, interrupted at its first import of torch."""
    code = """
import sys
class Interrupting:
    def find_spec(self, name, *rest):
        if name == "torch":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
sys.argv = [sys.argv[1], "--help"]
from fxscope.cli.main import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "/bin/fxscope"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "fxscope: interrupted\n")
    library = subprocess.run([sys.executable, "-c", code, "/bin/other"], capture_output=True, text=True)
    assert "KeyboardInterrupt" in library.stderr  # a program of one's own decides itself
