"""Networks of the paper, key-compatible with their public checkpoints, and one trained stand-in."""

from __future__ import annotations

from functools import partial
from typing import Callable

from torch import nn

from .bicubic import Bicubic, bicubic4x
from .cyclegan import ResnetGenerator, cyclegan
from .dncnn import DnCNN, bias_free_dncnn, dncnn
from .edsr import EDSR, edsr, edsr_baseline
from .pixelshuffle import PixelShuffleNet
from .weights import DATA, load_weights, provenance

__all__ = [
    "Bicubic", "DnCNN", "EDSR", "PixelShuffleNet", "ResnetGenerator", "bias_free_dncnn", "bicubic4x", "build", "cyclegan", "dncnn", "edsr",
    "edsr_baseline", "load_weights", "names", "pixelshuffle4x", "provenance",
]


def pixelshuffle4x() -> PixelShuffleNet:
    """The bundled, trained 4-layer PixelShuffle x4 network (``provenance("pixelshuffle4x")`` says how it was trained)."""
    return load_weights(PixelShuffleNet(4), DATA / "pixelshuffle4x.safetensors").eval()


_BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "pixelshuffle4x": pixelshuffle4x,
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
