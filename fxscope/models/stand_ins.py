"""Small trained networks that stand in for those of the paper; their weights are part of the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from ..graph.arguments import checked
from .cyclegan import ResnetGenerator
from .digits import DigitsResNet, DigitsVGG
from .edsr import EDSR
from .llama import CharacterLlama
from .pixelshuffle import PixelShuffleNet
from .weights import DATA, load_weights

_Module = TypeVar("_Module", bound=nn.Module)


def pixelshuffle4x() -> PixelShuffleNet:
    """The 4-layer PixelShuffle network x4, trained, (B, 1, H, W) luminance in [0, 1]."""
    return _trained(PixelShuffleNet(4), "pixelshuffle4x")


@checked
def edsr_small(trained: bool = True) -> EDSR:
    """EDSR x4 with 8 blocks of 32 channels, (B, 3, H, W) in 0..255.

    Its receptive field is 41 low-resolution pixels. ``trained=False`` leaves the initial weights.
    """
    model = EDSR(8, 32, 1.0, 4)
    return _trained(model, "edsr_small4x") if trained else model


def digits_vgg() -> DigitsVGG:
    """A small VGG without batch norm, trained on digits, (B, 1, 32, 32) to (B, 10).

    ``fxscope.paper.datasets.normalised`` gives its input.
    """
    return _trained(DigitsVGG(False), "digits_vgg")


def digits_vgg_bn() -> DigitsVGG:
    """A small VGG with batch norm, trained on digits as ``digits_vgg``."""
    return _trained(DigitsVGG(True), "digits_vgg_bn")


def digits_resnet() -> DigitsResNet:
    """A small ResNet, trained on digits as ``digits_vgg``."""
    return _trained(DigitsResNet(), "digits_resnet")


def generator_small() -> ResnetGenerator:
    """CycleGAN's generator with 12 features and 9 blocks, untrained; receptive field 169 pixels."""
    return ResnetGenerator(9, 12)


def facades_resnet() -> ResnetGenerator:
    """A small CycleGAN generator, trained to map drawn facades to label maps, (B, 3, H, W) in [-1, 1]."""
    return _trained(generator_small(), "facades_resnet")


def painter_resnet() -> ResnetGenerator:
    """A small CycleGAN generator, trained to imitate a painterly filter, (B, 3, H, W) in [-1, 1]."""
    return _trained(generator_small(), "painter_resnet")


def kjv_llama() -> CharacterLlama:
    """A Llama of 3 layers over characters, trained on the King James Bible, (B, T) to (B, T, 64) logits.

    Its own ``encode`` gives the numbers of a text, of up to 160 characters as in training.
    """
    return _trained(CharacterLlama(), "kjv_llama")


STAND_INS: dict[str, Callable[[], nn.Module]] = {
    "pixelshuffle4x": pixelshuffle4x,
    "edsr_small4x": edsr_small,
    "digits_vgg": digits_vgg,
    "digits_vgg_bn": digits_vgg_bn,
    "digits_resnet": digits_resnet,
    "facades_resnet": facades_resnet,
    "painter_resnet": painter_resnet,
    "kjv_llama": kjv_llama,
}


def _trained(model: _Module, name: str) -> _Module:
    load_weights(model, DATA / f"{name}.safetensors")
    return model.eval()
