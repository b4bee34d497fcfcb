"""Bicubic upscaling as a network, a reference with known rows and columns."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.arguments import checked

A = -0.5


def keys(t: torch.Tensor) -> torch.Tensor:
    """Keys' cubic convolution kernel with a = -1/2: its support is (-2, 2), and it reproduces quadratics."""
    t = t.abs()
    inner = ((A + 2) * t - (A + 3)) * t * t + 1
    outer = ((A * t - 5 * A) * t + 8 * A) * t - 4 * A
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, torch.zeros_like(t)))


class Bicubic(nn.Module):
    """Bicubic upscaling, (B, C, H, W) to (B, C, scale * H, scale * W), channel by channel.

    Output pixel i is at (i + 1/2)/scale - 1/2 in input pixels. Its value is sum_j k(position - j) x_j along
    each axis, computed by one convolution with scale^2 phases and a pixel shuffle.

    Parameters
    ----------
    scale : int
        The scale factor.
    padding : {"zero", "circular"}
        The values outside of the image.
    """

    kernel: torch.Tensor

    @checked
    def __init__(self, scale: int = 4, padding: str = "zero"):
        super().__init__()
        if padding not in ("zero", "circular"):
            raise ValueError(f"padding is 'zero' or 'circular', got {padding!r}")
        self.scale, self.padding = scale, padding
        offset = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
        taps = torch.arange(-2, 3, dtype=torch.float64)
        rows = keys(offset[:, None] - taps[None, :])
        kernel = torch.einsum("ay,bx->abyx", rows, rows).reshape(scale * scale, 1, 5, 5)
        self.register_buffer("kernel", kernel.to(torch.get_default_dtype()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Upscale x, (B, C, H, W)."""
        b, c, h, w = x.shape
        x = x.reshape(b * c, 1, h, w)
        x = F.pad(x, (2, 2, 2, 2), mode="circular" if self.padding == "circular" else "constant")
        y = F.pixel_shuffle(F.conv2d(x, self.kernel), self.scale)
        return y.reshape(b, c, h * self.scale, w * self.scale)


@checked
def bicubic4x(padding: str = "zero") -> Bicubic:
    """Bicubic upscaling by 4."""
    return Bicubic(4, padding)
