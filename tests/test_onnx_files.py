"""Networks in files of ONNX: the same network, exact laws, and a clear word where a file is not read."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional

import fxscope
from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import UnknownNetwork
from fxscope.models.spec import load

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx2torch")


class Residual(nn.Module):
    """As EDSR: a normalisation, residual blocks with a scale, a pixel shuffle."""

    def __init__(self):
        super().__init__()
        self.head, self.body = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.up, self.tail = nn.Conv2d(6, 24, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        h = self.head(x - torch.tensor([0.25, 0.5, 0.625]).reshape(1, 3, 1, 1))
        h = h + 0.125 * self.body(functional.relu(h))
        return self.tail(functional.pixel_shuffle(self.up(h), 2)) * 2 + 0.5


class Pyramid(nn.Module):
    """As a U-Net: sizes that follow the image's, by bilinear and nearest resizing."""

    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(3, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 2, 1)
        self.last = nn.Conv2d(12, 2, 3, padding=1)

    def forward(self, x):
        h = functional.leaky_relu(self.down(x), 0.25)
        g = functional.relu(self.mid(h))
        g = functional.interpolate(g, size=h.shape[2:], mode="bilinear", align_corners=False)
        return self.last(functional.interpolate(torch.cat([h, g], 1), scale_factor=2.0, mode="nearest"))


class Shuffled(nn.Module):
    """Split, slices, a channel shuffle by reshape, a gate, a reduction, a linear layer."""

    def __init__(self):
        super().__init__()
        self.first, self.gate, self.last = nn.Conv2d(3, 8, 3), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x):
        h = self.first(x[:, :, 1:-1, ::2])
        a, b = h.split([3, 5], 1)
        h = torch.cat([b, functional.hardswish(a)], 1)
        n, c, height, width = h.shape
        h = h.reshape(n, 2, c // 2, height, width).transpose(1, 2).reshape(n, c, height, width)
        h = functional.pad(h, [1, 0, 2, 1], value=0.25).clamp(-0.5, 0.5)
        pooled = h.mean((2, 3))
        h = h * torch.sigmoid(self.gate(pooled)).unsqueeze(-1).unsqueeze(-1)
        return self.last(h.amax((2, 3)).view(n, -1))


class Residential(nn.Module):
    """As a ResNet: batch norm, max-pool, a shortcut, an average, flattened."""

    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, 2, 1, bias=False), nn.BatchNorm2d(6)
        self.conv, self.head = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 10)
        self.norm.running_mean.normal_()
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        h = functional.max_pool2d(functional.relu(self.norm(self.stem(x))), 3, 2, 1)
        h = functional.relu(h + self.conv(h))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(h, 1), 1))


class Attention(nn.Module):
    """Tokens of an image: a class token that is expanded, layer norms, softmax, SiLU, matrix products."""

    def __init__(self):
        super().__init__()
        self.patch, self.norm, self.qkv = nn.Conv2d(3, 8, 4, 4), nn.LayerNorm(8, eps=2**-16), nn.Linear(8, 24)
        self.head, self.token = nn.Linear(8, 4), nn.Parameter(torch.randn(1, 1, 8))

    def forward(self, x):
        h = self.patch(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.token.expand(h.shape[0], -1, -1), h], 1)
        q, k, v = self.qkv(self.norm(h)).reshape(h.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4)
        h = h + (torch.softmax(q @ k.transpose(-2, -1) * 0.5, -1) @ v).transpose(1, 2).flatten(2)
        return self.head(functional.silu(h)[:, 0])


FREE = {0: "batch", 2: "height", 3: "width"}
NETWORKS = {
    "residual": (Residual, FREE),
    "pyramid": (Pyramid, FREE),
    "shuffled": (Shuffled, FREE),
    "resnet": (Residential, FREE),
    "attention": (Attention, {0: "batch"}),
    "fixed": (Shuffled, {}),
    "attention at one size": (Attention, {}),
}


def written(model, path, free, side=16, **options):
    """The file of a network, by torch's exporter."""
    options = {"dynamo": False, "opset_version": 17, "training": torch.onnx.TrainingMode.PRESERVE} | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.rand(1, 3, side, side),),
            str(path),
            input_names=["x"],
            dynamic_axes={"x": free},
            **options,
        )
    return f"onnx:{path}"


def near(a, b):
    return torch.allclose(a, b, rtol=0, atol=1e-9 * b.abs().max().item())


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """(network of the file, network that was written), in double precision, by name; each is made once."""
    folder, made = tmp_path_factory.mktemp("onnx"), {}

    def of(name):
        if name not in made:
            torch.manual_seed(0)
            kind, free = NETWORKS[name]
            model = kind().eval()
            spec = written(model, folder / f"{name.replace(' ', '_')}.onnx", free)
            made[name] = (models.load_model(spec).double(), model.double(), spec)
        return made[name]

    return of


@pytest.mark.turns(3)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_of_a_file_is_the_network(name, files):
    """Outputs, rows and residuals of both, at other sizes and for several images, in double precision."""
    (read, model, _), (_, free) = files(name), NETWORKS[name]
    count = 1 if name == "attention at one size" else 3  # its class token is a constant for one image
    x = torch.rand(count, 3, 20 if 2 in free else 16, 24 if 3 in free else 16, dtype=torch.float64)
    with torch.no_grad():
        assert near(read(x), model(x))
    one, other = fxscope.interpret(read, x[:1]), fxscope.interpret(model, x[:1])
    index = tuple(n // 2 for n in other.F.outputs.shape)
    assert near(one.F.row(index), other.F.row(index)) and near(one.residual, other.residual)


@pytest.mark.parametrize(
    "name", ["pyramid", *(pytest.param(n, marks=pytest.mark.full) for n in NETWORKS if n != "pyramid")]
)
def test_laws(name, files):
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    report = fxscope.verify(files(name)[0], x, thorough=False)
    assert report.ok, report


@pytest.mark.full
@pytest.mark.parametrize("name", ["shuffled", "attention"])
def test_the_newer_exporter(name, tmp_path):
    torch.manual_seed(0)
    model = NETWORKS[name][0]().eval()
    spec = written(model, tmp_path / "net.onnx", None, dynamo=True, opset_version=20)
    read, x = models.load_model(spec).double(), torch.rand(1, 3, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        assert near(read(x), model.double()(x))
    assert fxscope.verify(read, x, thorough=False).ok


def test_on_the_command_line(files, tmp_path):
    """verify, row and models take the form; the guess of the input is said, and the size that is fixed."""
    spec, free = files("fixed")[2], files("pyramid")[2]
    for asked in (["verify", free, "--size", "16"], ["row", spec, "--at", "2"]):
        done = CliRunner().invoke(cli, asked)
        assert done.exit_code == 0, done.output
        assert "guessed" in done.stderr and "--range" in done.stderr
    assert "16 x 16 as the file fixes it" in done.stderr and "own weights" in done.stdout + done.stderr
    assert "onnx:FILE" in CliRunner().invoke(cli, ["models"]).stdout


def node(kind, inputs, outputs, **options):
    return onnx.helper.make_node(kind, inputs, outputs, name=f"own_{outputs[0]}", **options)


def file_of(nodes, path, shape=("n", 3, "h", "w"), constants=(), outputs=("y",), opset=17, domains=()):
    """A file of these nodes, from x to the outputs."""
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        nodes,
        "net",
        [value("x", 1, list(shape))],
        [value(name, 1, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(constants).items()],
    )
    opsets = [onnx.helper.make_opsetid(d, v) for d, v in [("", opset), *domains]]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return f"onnx:{path}"


def test_images_with_their_channels_last(tmp_path):
    """They are moved, and so is what the network gives."""
    weight = np.random.default_rng(0).normal(size=(3, 3)).astype("f4")
    shape = ("n", 16, 20, 3)
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["y"])]
    path = tmp_path / "last.onnx"
    spec = file_of(nodes, path, shape, {"w": weight})
    model = onnx.load(path)
    model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("y", 1, list(shape)))
    onnx.save(model, path)
    found = load(spec)
    x = torch.rand(2, 3, 16, 20)
    expected = functional.relu(torch.einsum("nchw,cd->ndhw", x, torch.from_numpy(weight)))
    assert torch.allclose(found.module(x), expected, atol=1e-6)
    assert found.preprocess.size == (16, 20) and found.preprocess.guessed


def test_several_outputs_are_named(tmp_path):
    nodes = [node("Relu", ["x"], ["y"]), node("Neg", ["y"], ["z"])]
    found = models.load_model(file_of(nodes, tmp_path / "two.onnx", outputs=("y", "z")))(
        torch.ones(1, 3, 4, 4)
    )
    assert [*found] == ["y", "z"] and torch.equal(found["z"], -found["y"])


OPERATORS = {
    "slice backwards": (
        [("Slice", ["x", "s", "e", "a", "t"])],
        {"s": [-1], "e": [-(2**31)], "a": [3], "t": [-1]},
    ),
    "slice at steps": (
        [("Slice", ["x", "s", "e", "a", "t"])],
        {"s": [1], "e": [2**63 - 1], "a": [2], "t": [2]},
    ),
    "gather": ([("Gather", ["x", "i"], {"axis": 1})], {"i": [[0, 2], [-1, 1]]}),
    "sizes": (
        [
            ("Shape", ["x"]),
            ("Slice", ["0", "z", "s"]),
            ("Slice", ["0", "s", "e"]),
            ("Mul", ["2", "m"]),
            ("Concat", ["1", "3"], {"axis": 0}),
            ("Resize", ["x", "", "", "4"], {"mode": "linear"}),
        ],
        {"z": [0], "s": [2], "e": [4], "m": [2]},
    ),
    "squeezed": ([("ReduceMean", ["x"], {"axes": [1]}), ("Squeeze", ["0", "a"])], {"a": [1]}),
    "depth": ([("SpaceToDepth", ["x"], {"blocksize": 2}), ("DepthToSpace", ["0"], {"blocksize": 2})], {}),
    "hard sigmoid": (
        [("HardSigmoid", ["x"], {"alpha": 0.25}), ("Sum", ["0", "x", "0"]), ("Max", ["1", "x"])],
        {},
    ),
    "prelu": ([("Sub", ["x", "c"]), ("PRelu", ["0", "p"])], {"c": 0.5, "p": [[[0.5]], [[0.25]], [[2.0]]]}),
    "softmax of rows": ([("Softmax", ["x"], {"axis": 2}), ("Mul", ["0", "x"])], {}),
    "norms": ([("ReduceL2", ["x"], {"axes": [1]}), ("Div", ["x", "0"]), ("Pow", ["1", "c"])], {"c": 2.0}),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators(name, tmp_path):
    """Each gives what ONNX Runtime gives, also at another size and for another number of images."""
    onnxruntime = pytest.importorskip("onnxruntime")
    listed, constants = OPERATORS[name]
    kinds = {True: "f4", False: "i8"}
    arrays = {k: np.asarray(v, kinds[np.asarray(v).dtype == float]) for k, v in constants.items()}
    nodes = []
    for i, (kind, inputs, *options) in enumerate(listed):
        out = "y" if i == len(listed) - 1 else str(i)
        nodes.append(node(kind, inputs, [out], **(options[0] if options else {})))
    opset = 11 if name == "softmax of rows" else 17
    spec = file_of(nodes, tmp_path / "net.onnx", constants=arrays, opset=opset)
    network, session = models.load_model(spec), onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for shape in ((2, 3, 8, 6), (1, 3, 4, 10)):
        x = torch.rand(shape)
        (wanted,) = session.run(None, {"x": x.numpy()})
        assert torch.allclose(network(x), torch.from_numpy(wanted), atol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        (
            [node("Det", ["x"], ["a"]), node("Hardmax", ["x"], ["b"]), node("Hardmax", ["b"], ["y"])],
            r"has operators that are not read: Det \(1 of them\), Hardmax \(2 of them\); export",
        ),
        ([node("Soft", ["x"], ["y"], domain="own.maker")], r"not read: own\.maker\.Soft \(1 of them\)"),
        (
            [node("Resize", ["x", "", "s"], ["y"], mode="cubic", cubic_coeff_a=-0.5)],
            r"the operator Resize 'own_y' of .* is not read: .*cubic_coeff_a",
        ),
        ([node("Relu", ["s"], ["y"])], "is a constant: no output depends on its input"),
        ([node("Add", ["x", "absent"], ["y"])], "ONNX Runtime does not read .*absent"),
    ],
)
def test_files_that_are_not_read(nodes, said, tmp_path):
    constants = {"s": np.asarray([1, 1, 2, 2], "f4")}
    spec = file_of(nodes, tmp_path / "net.onnx", constants=constants, domains=[("own.maker", 1)])
    with pytest.raises(UnknownNetwork, match=said):
        models.load_model(spec)


def test_a_network_of_other_numbers_is_refused(tmp_path):
    """Nearest neighbours that are counted in another way than torch's: ONNX Runtime tells."""
    options = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "ceil"}
    constants = {"s": np.asarray([1, 1, 2, 2], "f4")}
    spec = file_of(
        [node("Resize", ["x", "", "s"], ["y"], **options)], tmp_path / "n.onnx", constants=constants
    )
    with pytest.raises(UnknownNetwork, match=r"output y of .* from what ONNX Runtime gives"):
        models.load_model(spec)


def test_files_that_are_none(files, tmp_path):
    whole = Path(files("fixed")[2].removeprefix("onnx:")).read_bytes()
    for name, content in (
        ("text", b"hello, I am a text\n"),
        ("cut", whole[: len(whole) // 2]),
        ("empty", b""),
    ):
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(UnknownNetwork, match=f"{name}.onnx is no network in the format of ONNX"):
            models.load_model(f"onnx:{tmp_path / name}.onnx")
    with pytest.raises(UnknownNetwork, match="there is no file"):
        models.load_model(f"onnx:{tmp_path / 'none.onnx'}")
    refused = CliRunner().invoke(cli, ["row", f"onnx:{tmp_path / 'text.onnx'}"])
    assert refused.exit_code != 0 and "is no network in the format of ONNX" in refused.stderr


@pytest.mark.parametrize("package", ["onnx2torch", "onnxruntime"])
def test_a_package_that_is_missing(package, files, monkeypatch):
    find, spec = importlib.util.find_spec, files("fixed")[2]
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == package else find(n, *a))
    with pytest.raises(UnknownNetwork, match=rf"needs {package}: pip install 'fxscope\[onnx2torch\]'"):
        models.load_model(spec)
