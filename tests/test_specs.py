"""The texts that name networks: of packages, folders and files, and what is said where one is wrong."""

from __future__ import annotations

import json
import os
import time

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from fxscope import models
from fxscope.cli.main import cli
from fxscope.errors import UnknownNetwork, WeightsError
from fxscope.models import families
from fxscope.models.factory import parsed_call
from fxscope.models.spec import load, parsed, weights_note

FILE = """
import torch
from torch import nn
def net(depth, width=2, names=()):
    assert isinstance(depth, int)
    return nn.Sequential(*[nn.Conv2d(3 if not i else width, width, 1) for i in range(depth)])
def pair(): return nn.Conv2d(3, 1, 1), dict(range=(0, 255))
def three(names=("a", "b")): return nn.Conv2d(3, 1, 1), None, names
def wrong(): return nn.Conv2d(3, 1, 1), dict(rang=(0, 255))
def zero(): return nn.Conv2d(3, 1, 1), dict(std=0)
def text(): return nn.Conv2d(3, 1, 1), "byte"
def four(): return nn.Conv2d(3, 1, 1), None, None, None
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "net.py").write_text(FILE)
    return tmp_path / "net.py"


def test_factories_with_arguments(file):
    assert len(models.load_model(f"{file}:net(3)")) == 3
    assert models.load_model(f"{file}:net(1, width=5, names=[('a:b', (1, 2))])")[0].out_channels == 5
    assert load(f"{file}:pair").preprocess.range == (0, 255)
    assert load(f"{file}:three").names == ("a", "b") == load(f"{file}:three(names=['a', 'b'])").names
    for spec, said in (
        ("net(x)", "literals"),
        ("net(__import__('os').getcwd())", "literals"),
        ("net(1)(2)", "literals"),
        ("a.b(1)", "literals"),
        ("net(**{'depth': 3})", "missing a required argument|depth"),
        ("net(3", "literals"),
        ("", "literals"),
        ("net()", "missing a required argument: 'depth'"),
        ("net(1, 2, 3, 4)", "too many"),
        ("net('a')", "failed at line"),
        ("wrong", "rang"),
        ("zero", "std is not 0"),
        ("text", "as its preprocess"),
        ("three('ab')", "as names"),
        ("four", r"\(module, preprocess, names\)"),
    ):
        with pytest.raises(UnknownNetwork, match=said):
            models.load_model(f"{file}:{spec}")


def test_the_parts_of_a_text():
    assert parsed("torchvision:resnet18") == ("torchvision", "resnet18")
    assert parsed("C:/a/net.py:f(x='b:c')") == ("C:/a/net.py", "f(x='b:c')")
    assert parsed("hub:a/b:c") == ("hub", "a/b:c") and parsed("hf:a/b") == ("hf", "a/b")
    assert parsed("net.pt2") == ("pt2", "net.pt2") and parsed("x:y") == ("", "x:y")
    assert parsed_call("f(1, b=-2.5)") == ("f", [1], {"b": -2.5})


def test_a_package_that_is_missing(monkeypatch):
    """It is named, with how it is installed; the list of families says so, too."""
    find = families.importlib.util.find_spec
    monkeypatch.setattr(
        families.importlib.util, "find_spec", lambda n, *a: None if n == "timm" else find(n, *a)
    )
    with pytest.raises(UnknownNetwork, match="timm:NAME needs timm: pip install"):
        models.load_model("timm:resnet18")
    done = CliRunner().invoke(cli, ["models", "--json"])
    found = json.loads(done.stdout)["families"]
    assert "pip install" in found["timm"]["missing"] and found["fxscope"]["missing"] is None
    assert found["fxscope"]["networks"] == len(models.names())
    refused = CliRunner().invoke(cli, ["models", "timm"])
    assert refused.exit_code == 1 and "needs timm" in refused.stderr
    listed = CliRunner().invoke(cli, ["models", "fxscope"]).stdout.split()
    assert listed == [f"fxscope:{name}" for name in models.names()]


def test_timm():
    pytest.importorskip("timm")
    model = models.load_model("timm:test_vit", seed=1)
    assert torch.equal(model.head.weight, models.load_model("timm:test_vit", seed=1).head.weight)
    assert weights_note("timm:test_vit", None, 1) == "random weights, seed 1"
    assert weights_note("timm:test_vit", "DEFAULT") == "timm's weights"
    with pytest.raises(UnknownNetwork, match="did you mean test_vit"):
        models.load_model("timm:test_vitt")


def test_spandrel(tmp_path):
    pytest.importorskip("spandrel")
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(0)
    net = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2)
    torch.save(net.state_dict(), tmp_path / "span.pth")
    found = load(f"spandrel:{tmp_path / 'span.pth'}")
    assert isinstance(found.module, nn.Module) and "spandrel" in found.preprocess.source
    x = torch.rand(1, 3, 12, 12)
    assert torch.allclose(found.module(x), net.eval()(x)) and not found.module.training
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="spandrel does not know"):
        models.load_model(f"spandrel:{tmp_path / 'other.pth'}")
    with pytest.raises(UnknownNetwork, match="no file"):
        models.load_model(f"spandrel:{tmp_path / 'none.pth'}")


def test_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    sides = {"image_size": 32, "patch_size": 8, "hidden_size": 16, "intermediate_size": 16}
    config = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, num_labels=3, **sides)
    config.id2label = {0: "cat", 1: "dog", 2: "fox"}
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path)
    given = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(given))
    found = load(f"hf:{tmp_path}")
    x = torch.rand(1, 3, 32, 32)
    assert torch.equal(found.module(x).logits, net(x).logits) and found.names == ("cat", "dog", "fox")
    assert found.preprocess.size == (32, 32)
    with pytest.raises(WeightsError, match="the folder"):
        models.load_model(f"hf:{tmp_path.parent}")


def test_torch_hub_and_a_saved_program(tmp_path):
    (tmp_path / "hubconf.py").write_text("import torch\ndef tiny(): return torch.nn.Conv2d(3, 2, 3)\n")
    assert models.load_model(f"hub:{tmp_path}:tiny").out_channels == 2
    with pytest.raises(UnknownNetwork, match="does not build from the folder"):
        models.load_model(f"hub:{tmp_path}:large")
    with pytest.raises(UnknownNetwork, match="write hub:"):
        models.load_model("hub:tiny")
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU()).eval()
    x = torch.rand(1, 3, 8, 8)
    torch.export.save(torch.export.export(net, (x,)), tmp_path / "net.pt2")
    assert torch.equal(models.load_model(str(tmp_path / "net.pt2"))(x), net(x))
    (tmp_path / "bad.pt2").write_bytes(b"garbage")
    with pytest.raises(UnknownNetwork, match="no program of torch.export"):
        models.load_model(str(tmp_path / "bad.pt2"))
    with pytest.raises(UnknownNetwork, match="no file"):
        models.load_model(str(tmp_path / "none.pt2"))


@pytest.mark.parametrize(
    ("spec", "weights", "said"),
    [("hf:no/such", None, "config.json"), ("timm:test_vit", "DEFAULT", "timm/test_vit")],
)
def test_without_a_network_it_is_said_soon(spec, weights, said, monkeypatch, tmp_path):
    """What would have been downloaded, and from where, before anything is retried."""
    pytest.importorskip("timm")
    pytest.importorskip("transformers")
    constants = pytest.importorskip("huggingface_hub").constants
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # where nothing answers
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(
        WeightsError, match=rf"not in the cache, and http://127.0.0.1:9 cannot be reached.*{said}"
    ):
        models.load_model(spec, weights)
    assert time.monotonic() - began < 30


def test_the_guess_for_a_saved_program_is_said(tmp_path):
    net = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()).eval()
    torch.export.save(torch.export.export(net, (torch.rand(1, 3, 16, 16),)), tmp_path / "net.pt2")
    done = CliRunner().invoke(cli, ["row", str(tmp_path / "net.pt2"), "--size", "16"])
    assert done.exit_code == 0, done.output
    assert "guessed: RGB in 0..1" in done.stderr and "give --size, --range" in done.stderr


def test_weights_and_names_that_do_not_fit(tmp_path):
    """Weights of another architecture, names of another length, a photograph below the crop."""
    torch.save(models.load_model("torchvision:resnet34", seed=0).state_dict(), tmp_path / "other.pt")
    with pytest.raises(WeightsError, match="layer1.2|unexpected|do not fit"):
        models.load_model("torchvision:resnet18", str(tmp_path / "other.pt"))
    (tmp_path / "names.txt").write_text("a\nb\n")
    asked = ["votes", "fxscope:digits_vgg_bn", "--names", str(tmp_path / "names.txt")]
    small = tmp_path / "small.png"
    Image.new("RGB", (20, 20), "red").save(small)
    done = CliRunner().invoke(cli, [*asked, str(small)])
    assert done.exit_code == 2 and "2 names, and fxscope:digits_vgg_bn gives 10 labels" in done.stderr
    given = ["row", "fxscope:digits_vgg_bn", str(small), "--size", "32", "--resize", "none"]
    done = CliRunner().invoke(cli, given)
    assert done.exit_code == 1 and "smaller than the crop of 32 x 32" in done.stderr
    done = CliRunner().invoke(cli, ["row", "torchvison:resnet18"])
    assert done.exit_code != 0 and "did you mean torchvision:resnet18" in done.stderr
