"""The graph for people, saved files and the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree
from pathlib import Path

import networkx
import pytest
import torch
import torchvision
from click.testing import CliRunner

import fxscope
from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import FxscopeError, SavedFileDiffers, WeightsError
from fxscope.export.check import compare
from fxscope.export.convolutions import as_convolutions
from fxscope.export.flips import flips
from fxscope.images import photos
from fxscope.render import crossings
from fxscope.testing import randomize


@pytest.fixture(scope="module")
def resnet():
    return fxscope.transform(torchvision.models.resnet18(weights=None).eval())


def test_networkx_carries_branches_and_freeze_edges(resnet):
    graph = fxscope.to_networkx(resnet)
    assert crossings(graph) == [] and networkx.is_directed_acyclic_graph(graph)
    labels = [d["label"] for *_, d in graph.edges(data=True) if d["kind"] == "freeze"]
    assert labels.count("mask") == 17 and labels.count("index") >= 1


def test_summary_names_rule_and_source(resnet):
    table = fxscope.summary(resnet)
    rows = {r.node: r for r in table.rows}
    assert (
        rows["layer1_0_relu"].rule == "relu"
        and rows["layer1_0_relu"].frozen == "mask"
        and "resnet.py" in rows["layer1_0_relu"].source
    )
    assert "17 mask" in str(table) and "<table>" in table._repr_html_() and json.loads(table.to_json())


@pytest.mark.parametrize("fold", [True, False])
def test_drawing_is_valid_and_boxes_do_not_overlap(resnet, fold):
    drawing = fxscope.draw(resnet, fold)
    xml.etree.ElementTree.fromstring(drawing.svg)
    boxes = list(drawing.boxes.values())
    overlaps = [
        1
        for i, (x, y, w, h) in enumerate(boxes)
        for u, v, p, q in boxes[:i]
        if x < u + p and u < x + w and y < v + q and v < y + h
    ]
    assert not overlaps and (len(boxes) < 80) == fold
    assert all(f">{label}</text>" in drawing.svg for label in ("mask", "index"))


def net():
    model, x0 = models.pixelshuffle4x(), torch.rand(1, 1, 10, 10)
    return model, x0


@pytest.mark.turns(3)
@pytest.mark.usefixtures("cold")
@pytest.mark.parametrize("form", ["ts", "pt2", "onnx"])
def test_saved_files_run_without_fxscope(form, tmp_path):
    model, x0 = net()
    path = tmp_path / f"net.{form}"
    check = fxscope.save(fxscope.transform(model, probes="stacked"), path, (x0, x0[None]))
    assert check.ok and len(check.errors) == 2 and path.exists()
    assert fxscope.check_saved(
        path, model, torch.rand(2, 1, 9, 9) if form == "ts" else torch.rand(2, 1, 10, 10), probes="stacked"
    ).ok


CONVOLUTIONS = [  # input, module, transposed convolutions left
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 6, 3, padding=1), 0),
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 6, (3, 2), padding=(0, 1), dilation=(2, 1)), 0),
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 6, 3, groups=2), 0),
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 8, 3, groups=4, padding="same"), 0),
    ((2, 4, 9), torch.nn.Conv1d(4, 5, 4, padding=2), 0),
    ((1, 2, 5, 6, 7), torch.nn.Conv3d(2, 3, 3, padding=(1, 0, 2)), 0),
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 6, 3, stride=2, padding=1), 1),
    ((2, 4, 9, 8), torch.nn.Conv2d(4, 6, 1, padding=1), 1),
    ((2, 4, 9, 8), torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3), torch.nn.BatchNorm2d(6)), 0),
]


@pytest.mark.parametrize(("shape", "module", "left"), CONVOLUTIONS, ids=[str(m) for _, m, _ in CONVOLUTIONS])
def test_transposed_convolutions_of_stride_one_are_convolutions(shape, module, left):
    x0 = torch.randn(shape, dtype=torch.float64)
    model = randomize(torch.nn.Sequential(module, torch.nn.ReLU()).double().eval(), x0)
    adjoint = fxscope.transform(model, "adjoint")
    y2 = torch.randn(3 * shape[0], *model(x0).shape[1:], dtype=torch.float64)
    want = adjoint(x0, y2)
    as_convolutions(adjoint)
    assert torch.allclose(adjoint(x0, y2), want, atol=1e-12) and want.abs().sum() > 0
    assert sum("conv_transpose" in str(n.target) for n in adjoint.graph.nodes) == left


def test_a_file_may_differ_by_decisions_that_rounding_flips_and_by_no_others(tmp_path):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1, bias=False), torch.nn.ReLU(), torch.nn.Conv2d(4, 1, 3)
    )
    x0 = torch.rand(1, 1, 12, 12)
    model[0].weight.data[1] = 1.0
    model[0].weight.data[1, 0, 1, 1] = -8.0
    x0[0, 0, 3:6, 3:6] = 0.3  # a unit at its kink: rounding decides
    adjoint = fxscope.transform(model, "adjoint", probes="stacked")
    y2 = torch.randn(1, 1, 1, 10, 10)
    found = flips(adjoint, (x0, y2), lambda a, b: ((a - b).abs().max() / b.abs().max()).item())
    assert (
        found.changed >= 1
        and found.total == 4 * 12 * 12
        and found.moved[0] > 1e-3
        and "decisions" in str(found)
    )
    fxscope.save(adjoint, tmp_path / "net.pt2", (x0, y2))
    model[2].weight.data *= 1.5  # another network than the file's
    with pytest.raises(SavedFileDiffers):
        compare(
            fxscope.transform(model[:], "adjoint", probes="stacked"),
            tmp_path / "net.pt2",
            "pt2",
            [(x0 + 0.1 * torch.rand(x0.shape), y2)],
        )


def test_works_without_torchvision(tmp_path):
    code = """
import sys
sys.modules["torchvision"] = None
import torch, fxscope
x, network = torch.ones(1, 1, 5, 5), torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
y0, y1 = fxscope.transform(network)(x, x)
assert torch.equal(y0, y1)
lin = fxscope.interpret(network, x)
assert torch.equal(lin.y0, network(x)) and lin.error < 1e-5
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent.parent
    )
    assert done.returncode == 0, done.stderr


def test_compile():
    model, x0 = net()
    scope = fxscope.transform(model)
    compiled = torch.compile(scope, backend="aot_eager")
    with torch.no_grad():
        assert torch.allclose(compiled(x0, x0)[1], scope(x0, x0)[1], atol=1e-6)


def saved_networks():
    names = ["resnet18", "efficientnet_b0", "densenet121", "inception_v3", "edsr_baseline4x", "cyclegan"]
    return [pytest.param(n, f, marks=pytest.mark.full) for n in names for f in ("ts", "pt2", "onnx")]


@pytest.mark.parametrize(("name", "form"), saved_networks())
def test_saved_networks(name, form, tmp_path):
    model, x0 = saved_network(name)
    graph = fxscope.transform(model, probes="stacked")
    assert fxscope.save(graph, tmp_path / f"net.{form}", (x0, x0[None])).ok


def saved_network(name):
    from test_networks import UNet

    size = {"inception_v3": 75, "edsr_baseline4x": 12, "cyclegan": 32, "unet": 16, "pixelshuffle4x": 10}.get(
        name, 64
    )
    x0 = torch.randn(
        2, 1 if name == "pixelshuffle4x" else 3, size, size, generator=torch.Generator().manual_seed(0)
    )
    options = {"init_weights": False} if name == "inception_v3" else {}
    if name == "unet":
        torch.manual_seed(0)
        return UNet().eval(), x0
    model = (
        models.build(name)
        if name in models.names()
        else torchvision.models.get_model(name, weights=None, **options).eval()
    )
    return (model if name == "pixelshuffle4x" else randomize(model, x0)), x0


def saved_forms():
    """Every form of the small networks in every format; the two that are served, of the others."""
    every, served = ("adjoint", "row", "record", "replay", "pullback"), ("adjoint", "row")
    for name in (
        "resnet18",
        "unet",
        "pixelshuffle4x",
        "efficientnet_b0",
        "densenet121",
        "inception_v3",
        "edsr_baseline4x",
        "cyclegan",
    ):
        small = name in ("resnet18", "unet", "pixelshuffle4x")
        for form in every if small else served:
            for format in ("ts", "pt2", "onnx") if small else ("pt2", "onnx"):
                quick = name == "pixelshuffle4x" and format != "onnx"
                yield pytest.param(name, form, format, marks=[] if quick else pytest.mark.full)
        if name in ("resnet18", "edsr_baseline4x"):
            yield pytest.param(name, "row", "aoti", marks=pytest.mark.full)


@pytest.mark.turns(3)
@pytest.mark.parametrize(("name", "form", "format"), list(saved_forms()))
def test_saved_forms(name, form, format, tmp_path):
    if format == "aoti" and not shutil.which("g++"):
        pytest.skip("AOTInductor compiles with g++, and there is none")
    model, x0 = saved_network(name)
    graph = fxscope.transform(model, form, probes="stacked")
    with torch.no_grad():
        y0, state = fxscope.transform(model, "record", probes="stacked")(x0)
    index = torch.tensor([[3, 4]])
    given = {
        "adjoint": (x0, y0[None]),
        "row": (x0, index),
        "record": (x0,),
        "replay": (state, x0[None]),
        "pullback": (state, y0[None]),
    }[form]
    suffix = "pt2" if format == "aoti" else format
    assert fxscope.save(graph, tmp_path / f"net.{suffix}", given, format=format).ok


@pytest.mark.full  # test_free_sizes.py has small ones
@pytest.mark.parametrize("form", ["adjoint", "pair"])
def test_height_and_width_are_free(form, tmp_path):
    model, x0 = net()
    graph = fxscope.transform(model, form, probes="stacked")
    given = (x0, x0[None]) if form == "pair" else (x0, model(x0).detach()[None])
    check = fxscope.save(graph, tmp_path / "net.pt2", given, dynamic_shapes="spatial")
    assert check.ok and len(check.errors) == 3


def test_bad_saves(tmp_path):
    model, x0 = net()
    graph = fxscope.transform(model)
    for path, said in ((tmp_path / "net.xyz", "suffix"), (tmp_path / "no" / "net.ts", "folder")):
        with pytest.raises(FxscopeError, match=said):
            fxscope.save(graph, path, (x0, x0))
    with pytest.raises(FxscopeError, match="stacked"):
        fxscope.save(graph, tmp_path / "net.pt2", (x0, x0), dynamic_shapes="spatial")
    with pytest.raises(FxscopeError, match="float64"):
        fxscope.save(graph.double(), tmp_path / "net.onnx", (x0.double(), x0.double()))
    assert not list(tmp_path.iterdir())


def run(*arguments):
    return CliRunner().invoke(cli, [str(a) for a in arguments])


def test_command_line(tmp_path):
    done = run("verify", "fxscope:pixelshuffle4x", "--size", 16, "--json")
    assert done.exit_code == 0 and json.loads(done.output)["ok"]
    done = run("inspect", "torchvision:squeezenet1_1", "--svg", tmp_path / "graph.svg")
    assert done.exit_code == 0 and "max_pool2d" in done.output and (tmp_path / "graph.svg").exists()
    done = run("transform", "fxscope:bicubic4x", "-o", tmp_path / "net.ts", "--size", 8)
    assert done.exit_code == 0 and "ok" in done.output
    done = run("verify", "fxscope:nothing")
    assert done.exit_code == 2 and "no network 'nothing'" in done.stderr


def test_trained_weights_beat_bicubic_as_recorded():
    record, border = models.provenance("pixelshuffle4x"), 8
    network, bicubic = models.pixelshuffle4x(), models.bicubic4x()
    gains = []
    for name, recorded in record["held_out"]["psnr"].items():
        high = photos.luminance(photos.shipped(name))
        low = photos.downscale(high, 4)
        high = high[:, : 4 * low.shape[1], : 4 * low.shape[2]]
        with torch.no_grad():
            ours, theirs = (photos.psnr(m(low[None])[0], high, border) for m in (network, bicubic))
        assert abs(ours - recorded) < 0.01
        gains.append(ours - theirs)
    assert min(gains) > 0.3 and sum(gains) / len(gains) > 0.5


def test_public_parameter_counts_and_keys():
    def count(m):
        return sum(p.numel() for p in m.parameters() if p.requires_grad)

    assert count(models.edsr_baseline()) == 1_517_571 and count(models.edsr()) == 43_089_923
    assert count(models.cyclegan()) == 11_378_179 and count(models.PixelShuffleNet()) == 61_680
    keys = set(models.edsr_baseline().state_dict())
    assert {
        "sub_mean.weight",
        "head.0.weight",
        "body.0.body.0.weight",
        "body.15.body.2.bias",
        "body.16.weight",
        "tail.0.0.weight",
        "tail.0.2.weight",
        "tail.1.weight",
        "add_mean.bias",
    } <= keys
    assert {
        "model.1.weight",
        "model.4.weight",
        "model.10.conv_block.1.weight",
        "model.18.conv_block.5.bias",
        "model.19.weight",
        "model.26.bias",
    } <= set(models.cyclegan().state_dict())


def test_checkpoints_of_the_public_layout(tmp_path):
    source = models.cyclegan(6)
    state = {f"module.{k}": v for k, v in source.state_dict().items()} | {
        "module.model.2.running_mean": torch.zeros(64)
    }
    torch.save(state, tmp_path / "old.pth")
    loaded = models.load_weights(models.cyclegan(6), tmp_path / "old.pth")
    assert torch.equal(loaded.model[1].weight, source.model[1].weight)
    with pytest.raises(WeightsError, match="missing.*unexpected"):
        models.load_weights(models.edsr_baseline(), tmp_path / "old.pth")


@pytest.mark.parametrize("name", ["text.pt", "text.safetensors", "model.pt", "cut.pth", "list.pt"])
def test_what_is_no_weights_file_is_told_in_our_words(name, tmp_path):
    """torch's own text advises to load with weights_only=False, which runs the file's code."""
    path = tmp_path / name
    if name == "model.pt":
        torch.save(models.build("dncnn"), path)  # the module itself: loading it would run code
    elif name == "list.pt":
        torch.save([1, 2], path)
    else:
        torch.save(models.build("dncnn").state_dict(), path)
        path.write_bytes(path.read_bytes()[:4000] if name == "cut.pth" else b"not weights")
    with pytest.raises(WeightsError, match=r"code in a file is never run") as failed:
        models.load_weights(models.build("dncnn"), path)
    assert (
        str(path) in str(failed.value)
        and "weights_only" not in str(failed.value)
        and failed.value.__cause__ is None
    )
