"""Small trained networks that are shipped, as stand-ins for the paper's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn

from .cyclegan import ResnetGenerator
from .digits import DigitsResNet, DigitsVGG
from .edsr import EDSR
from .pixelshuffle import PixelShuffleNet
from .weights import DATA, load_weights

_Module = TypeVar("_Module", bound=nn.Module)


def pixelshuffle4x() -> PixelShuffleNet:
    """The 4-layer PixelShuffle x4 network, on luminance in [0, 1]."""
    return _trained(PixelShuffleNet(4), "pixelshuffle4x")


def edsr_small(trained: bool = True) -> EDSR:
    """EDSR x4 with 8 blocks of 32 channels, on colour in 0..255; receptive field 41 low-resolution pixels."""
    model = EDSR(8, 32, 1.0, 4)
    return _trained(model, "edsr_small4x") if trained else model


def digits_vgg() -> DigitsVGG:
    """A VGG-like classifier of digits without batch norm, on ``datasets.normalised`` ink."""
    return _trained(DigitsVGG(False), "digits_vgg")


def digits_vgg_bn() -> DigitsVGG:
    """A VGG-like classifier of digits with batch norm."""
    return _trained(DigitsVGG(True), "digits_vgg_bn")


def digits_resnet() -> DigitsResNet:
    """A small ResNet for digits."""
    return _trained(DigitsResNet(), "digits_resnet")


def generator_small() -> ResnetGenerator:
    """CycleGAN's generator with 12 features and 9 blocks (reach 169 pixels), untrained."""
    return ResnetGenerator(9, 12)


def facades_resnet() -> ResnetGenerator:
    """Photo to label: drawn facades to their label maps, in [-1, 1]."""
    return _trained(generator_small(), "facades_resnet")


def painter_resnet() -> ResnetGenerator:
    """Style: photographs to a painterly filter's output, in [-1, 1]."""
    return _trained(generator_small(), "painter_resnet")


STAND_INS: dict[str, Callable[[], nn.Module]] = {
    "pixelshuffle4x": pixelshuffle4x,
    "edsr_small4x": edsr_small,
    "digits_vgg": digits_vgg,
    "digits_vgg_bn": digits_vgg_bn,
    "digits_resnet": digits_resnet,
    "facades_resnet": facades_resnet,
    "painter_resnet": painter_resnet,
}


def _trained(model: _Module, name: str) -> _Module:
    load_weights(model, DATA / f"{name}.safetensors")
    return model.eval()
