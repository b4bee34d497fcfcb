"""``fxscope transform``: every form to a file, with what it takes and gives."""

import json

import pytest
import torch
from click.testing import CliRunner

import fxscope
from fxscope.cli.main import cli
from fxscope.emit import FORMS

FILE = """
import torch
from torch import nn
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 2, 3), nn.Sigmoid()
    )
"""
CASES = [
    pytest.param(form, suffix, marks=[] if (form, suffix) in SHORT else pytest.mark.full)
    for SHORT in [{("pair", "ts"), ("row", "pt2"), ("argmax", "onnx"), ("pullback", "ts")}]
    for form in FORMS
    for suffix in ("pt2", "ts", "onnx")
]


@pytest.fixture
def file(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def written(file, *options):
    path = next(o for o in options if str(o).startswith(str(file.parent)))
    result = CliRunner().invoke(
        cli, ["transform", f"{file}:net", "-o", str(path), "--size", "16", "--json", *map(str, options[1:])]
    )
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.turns(2)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("form", "suffix"), CASES)
def test_every_form(file, form, suffix):
    found = written(file, file.parent / f"net.{suffix}", "--emit", form)
    assert found["ok"] and found["format"] == suffix and found["form"] == form
    shapes = {line["name"]: line["shape"] for line in found["takes"] + found["gives"]}
    K = "1" if len(found["takes"]) == 1 else "K"
    known = {
        "x0": "(B, 3, 16, 16)", "x1": "(K, B, 3, 16, 16)", "y0": "(B, 2, 5, 5)", "y1": "(K, B, 2, 5, 5)",
        "y2": "(K, B, 2, 5, 5)", "Fx1": "(K, B, 2, 5, 5)", "r": "(B, 2, 5, 5)", "x2": "(K, B, 3, 16, 16)",
        "index": f"({K}, B)", "row": f"({K}, B, 3, 16, 16)", "r_k": f"({K}, B)",
    }  # fmt: skip
    shapes = {name: shape for name, shape in shapes.items() if name != "state"}
    assert shapes == {name: known[name] for name in shapes} and shapes


@pytest.mark.filterwarnings("ignore")
def test_a_place_that_is_probed_and_doubles(file):
    path = file.parent / "net.ts"
    found = written(file, path, "--inputs", "2", "--dtype", "float64", "--probes", "flat")
    assert [line["shape"] for line in found["takes"]] == ["(1, 3, 16, 16)", "(K*B, 4, 14, 14)"]
    assert {line["dtype"] for line in found["takes"] + found["gives"]} == {"float64"}
    model = fxscope.models.load_model(f"{file}:net").double()
    x0 = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    lin = fxscope.interpret(model, x0, inputs="2")
    _, y1 = torch.jit.load(str(path))(x0, lin.x * 0.5)
    torch.testing.assert_close(y1, lin(lin.x * 0.5), rtol=1e-10, atol=1e-12)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")
def test_any_size_of_images(file):
    path = file.parent / "net.pt2"
    assert written(file, path, "--emit", "filter", "--dynamic", "spatial")["dynamic"] == "spatial"
    graph = torch.export.load(path).module()
    assert graph(torch.rand(2, 3, 20, 24), torch.rand(3, 2, 3, 20, 24)).shape == (3, 2, 2, 7, 9)


def test_a_place_that_is_none(file):
    result = CliRunner().invoke(
        cli, ["transform", f"{file}:net", "-o", str(file.parent / "a.ts"), "--inputs", "nowhere"]
    )
    assert result.exit_code and "nowhere" in result.output and not (file.parent / "a.ts").exists()
