"""Networks of the paper, key-compatible with their public checkpoints, and small trained stand-ins for them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from ..images.bicubic import Bicubic, bicubic4x
from .cyclegan import ResnetGenerator, cyclegan
from .digits import DigitsResNet, DigitsVGG
from .dncnn import DnCNN, bias_free_dncnn, dncnn
from .edsr import EDSR, edsr, edsr_baseline
from .pixelshuffle import PixelShuffleNet
from .stand_ins import (
    STAND_INS,
    digits_resnet,
    digits_vgg,
    digits_vgg_bn,
    edsr_small,
    facades_resnet,
    generator_small,
    painter_resnet,
    pixelshuffle4x,
)
from .weights import DATA, load_weights, provenance

__all__ = [
    "DATA",
    "EDSR",
    "STAND_INS",
    "Bicubic",
    "DigitsResNet",
    "DigitsVGG",
    "DnCNN",
    "PixelShuffleNet",
    "ResnetGenerator",
    "bias_free_dncnn",
    "bicubic4x",
    "build",
    "cyclegan",
    "digits_resnet",
    "digits_vgg",
    "digits_vgg_bn",
    "dncnn",
    "edsr",
    "edsr_baseline",
    "edsr_small",
    "facades_resnet",
    "generator_small",
    "load_weights",
    "names",
    "painter_resnet",
    "pixelshuffle4x",
    "provenance",
]


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    **{name: make for name, make in STAND_INS.items() if (DATA / f"{name}.safetensors").exists()},
    "bicubic4x": bicubic4x,
    "edsr_baseline4x": edsr_baseline,
    "edsr4x": edsr,
    "cyclegan": cyclegan,
    "cyclegan6": partial(cyclegan, 6),
    "dncnn": dncnn,
    "bias_free_dncnn": bias_free_dncnn,
}


def names() -> list[str]:
    """Names that ``build`` and ``fxscope:NAME`` take."""
    return list(_BUILDERS)


def build(name: str) -> nn.Module:
    """The network of that name, in eval mode; raises KeyError with the names there are."""
    if name not in _BUILDERS:
        raise KeyError(f"no network {name!r}; there are {', '.join(_BUILDERS)}")
    return _BUILDERS[name]().eval()
