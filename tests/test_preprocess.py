"""How a photograph becomes x0: against torchvision's, timm's and transformers' own, and its inverse."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn

import fxscope
from fxscope import Preprocess
from fxscope.errors import FxscopeError, ImageError, WrongArgument
from fxscope.images import photos

D = torch.float64


def picture(height=37, width=53, seed=0):
    return torch.rand(3, height, width, dtype=D, generator=torch.Generator().manual_seed(seed))


def close(a, b, tolerance=1e-12):
    assert a.shape == b.shape and float((a - b).abs().max()) <= tolerance, float((a - b).abs().max())


@pytest.mark.parametrize("name", ["resnet18", "inception_v3", "vit_b_16", "efficientnet_b1", "fcn_resnet50"])
def test_torchvisions_transforms(name):
    """Known without a download, and the same numbers as its own transforms give."""
    own = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    found = Preprocess.of(f"torchvision:{name}")
    assert not found.guessed and "torchvision" in found.text
    for given in (picture(37, 53), picture(300, 260)):
        inner = (0.4 + 0.2 * given).float()  # bicubic does not leave [0, 1], which ours does not allow
        close(found(inner), own(inner)[None], 2e-6)


@pytest.mark.parametrize("channels", ["RGB", "BGR", "Y"])
@pytest.mark.parametrize("limits", [(0, 1), (0, 255), (-1, 1), (1, 0)])
def test_the_inverse_and_the_chain_rule(channels, limits):
    """The inverse gives the pixels back, and a row per pixel is the derivative by them."""
    count = 1 if channels == "Y" else 3
    mean, std = (0.2, 0.3, 0.4)[:count], (2.0, 3.0, 5.0)[:count]
    p = Preprocess(range=limits, mean=mean, std=std, channels=channels)
    pixels = picture(6, 7).requires_grad_()
    x0 = p(pixels)
    seen = photos.luminance(pixels) if channels == "Y" else pixels
    close(p.inverse(x0.detach()), seen.detach())
    close(p.inverse(x0.detach()[0]), seen.detach())
    row = torch.randn(count, 6, 7, dtype=D)
    (slope,) = torch.autograd.grad((x0[0] * row).sum(), pixels)
    own = p.per_pixel(row)
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=D)[:, None, None]
    close(weights * own if channels == "Y" else own, slope)
    close(p.per_pixel(row.expand(4, 2, -1, -1, -1))[1, 1], own)


def test_order_range_and_mean_of_a_network_of_caffe():
    p = Preprocess(size=(48, 192), resize="exact", range=(0, 255), mean=(104, 117, 123), channels="BGR")
    p = dataclasses.replace(p, multiple=32)
    x0 = p(torch.tensor([1.0, 0.5, 0.0], dtype=D)[:, None, None].expand(3, 20, 30))
    assert x0.shape == (1, 3, 64, 192)
    close(x0[0, :, 0, 0], torch.tensor([0 - 104, 127.5 - 117, 255 - 123], dtype=D), 1e-10)
    assert "BGR 0..255" in p.text and "48x192" in p.text and "multiple of 32" in p.text


def test_where_is_cut():
    given = picture(20, 31)
    close(Preprocess((8, 6), crop="top-left")(given)[0], given[:, :8, :6])
    close(Preprocess((8, 5), crop="center")(given)[0], given[:, 6:14, 13:18])
    close(Preprocess(limit=25)(given)[0], given[:, :, 3:28])
    close(Preprocess(limit=40)(given)[0], given)
    close(Preprocess((20, 31))(given)[0], given)
    assert Preprocess(resize=10)(given).shape[2:] == (10, 15)
    assert Preprocess((10, 40), "cover", "center")(given).shape[2:] == (10, 40)
    assert Preprocess((5, 9), (10, 40), "center")(given).shape[2:] == (5, 9)
    with pytest.raises(ImageError, match="31 x 20 pixels, smaller than the crop of 8 x 21"):
        Preprocess((21, 8), crop="center")(given)
    with pytest.raises(ImageError, match="the network takes 31 x 19"):
        Preprocess((19, 31))(given)


def test_padding():
    given = picture(5, 9)
    x0 = Preprocess(multiple=4)(given)[0]
    close(x0, torch.nn.functional.pad(given, (0, 3, 0, 3), mode="reflect"))
    close(Preprocess(multiple=4, minimum=16, padding="edge")(given)[0, :, :5, :9], given)
    assert Preprocess(multiple=4, minimum=16, padding="edge")(given).shape[2:] == (16, 16)
    with pytest.raises(ImageError, match="too few to be reflected"):
        Preprocess(minimum=16)(given)


def test_its_data_make_it_again():
    for p in (Preprocess(), Preprocess.of("torchvision:resnet18"), Preprocess((4, 5), (6, 7), "top-left")):
        again = Preprocess(**json.loads(json.dumps(p.as_data())))
        assert again == p and hash(again) == hash(p) and again.text == p.text and "\n" not in p.text
        assert p.text != dataclasses.replace(p, range=(0, 2)).text


WRONG = {
    "size": (0, -3, (3,), (3, -1), "big", 1.5, (2, 3, 4)),
    "resize": (0, -3, "big", (3, 0), "cover", "exact"),  # the last two need a size
    "crop": ("middle", 3, "center"),
    "interpolation": ("lanczos", None, 2),
    "range": (3, (0, 0), (0, float("inf")), (0, 1, 2), "unit", None),
    "mean": ("x", float("nan"), (1.0, 2.0), None),
    "std": (0, (1, 0, 1), None, "x"),
    "channels": ("BRG", None, 3),
    "multiple": (0, 1.5, None, True),
    "minimum": (0, None),
    "padding": ("zero", None),
    "limit": (0, -1, "x"),
    "source": (None, 3),
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_wrong_fields(name, value):
    with pytest.raises(WrongArgument, match="Preprocess"):
        Preprocess(**{name: value})


def test_wrong_pictures_rows_and_networks():
    p = Preprocess()
    for given in (None, picture()[0], picture()[:1], picture()[None], picture().numpy(), picture().int()):
        with pytest.raises(FxscopeError, match="Preprocess"):
            p(given)
    for given in (None, picture()[0], picture()[:1], picture().numpy()):
        for method in (p.inverse, p.per_pixel):
            with pytest.raises(FxscopeError, match="Preprocess"):
                method(given)
    for given in (3, nn.ReLU, [1]):
        with pytest.raises(WrongArgument, match="Preprocess.of"):
            Preprocess.of(given)
        with pytest.raises(WrongArgument, match="Preprocess.of"):
            Preprocess.of("x", given)


def test_what_timm_knows():
    timm = pytest.importorskip("timm")
    for name, own in (("efficientnet_lite0", {}), ("test_vit", {})):
        model = timm.create_model(name)
        config = timm.data.resolve_data_config(own, model=model)
        found = Preprocess.of(f"timm:{name}", model)
        assert found == Preprocess.of(model) and not found.guessed
        assert found.size == config["input_size"][1:] and found.interpolation == config["interpolation"]
        assert (found.mean, found.std) == (config["mean"], config["std"])
        transform = timm.data.create_transform(**config)
        pixels = photos.shipped("chelsea")
        image = Image.fromarray((pixels.permute(1, 2, 0).numpy() * 255).round().astype("uint8"))
        # theirs resizes bytes; the difference is their rounding
        assert float((found(pixels)[0] - transform(image)).abs().max()) < 3 / 255 / min(config["std"])


def test_what_spandrel_knows():
    spandrel = pytest.importorskip("spandrel")
    from spandrel.architectures.SPAN import SPAN

    state = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict()
    descriptor = spandrel.ModelLoader().load_from_state_dict(state)
    found = Preprocess.of(descriptor)
    assert "spandrel" in found.text and found.multiple == descriptor.size_requirements.multiple_of


def test_what_an_image_processor_knows(tmp_path):
    """The file of a directory, and transformers' own numbers."""
    transformers = pytest.importorskip("transformers")
    for config in (
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 40}},
        {
            "image_processor_type": "CLIPImageProcessor",
            "size": {"shortest_edge": 48},
            "crop_size": {"height": 32, "width": 32},
            "do_center_crop": True,
        },
    ):
        config |= {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "do_normalize": True}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
        found = Preprocess.of(f"hf:{tmp_path}")
        own = transformers.AutoImageProcessor.from_pretrained(str(tmp_path))
        pixels = photos.shipped("chelsea")[:, :60, :90]
        given = (pixels * 255).round().to(torch.uint8)
        taken = own(given, return_tensors="pt")["pixel_values"]
        assert taken.shape == found(given / 255).shape
        assert float((found(given / 255) - taken).abs().max()) < 3 / 255 / 0.2  # theirs rounds to bytes


def test_guesses_are_said():
    classifier = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))
    for network, part in (
        (classifier, "ImageNet's, for 1000 labels"),
        (nn.Conv2d(3, 4, 3), "RGB in 0..1"),
        (nn.Conv2d(1, 4, 3), "luminance in 0..1"),
        (None, "RGB in 0..1"),
    ):
        found = Preprocess.of("file.py:factory", network)
        assert found.guessed and part in found.text and "guessed" in found.text
    assert not Preprocess.of("fxscope:edsr4x").guessed and Preprocess.of("fxscope:edsr4x").range == (0, 255)


def test_it_is_public():
    assert "Preprocess" in fxscope.__all__
