"""Bicubic upscaling as a network: the reference of which every column is known."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

A = -0.5


def keys(t: torch.Tensor) -> torch.Tensor:
    """Keys' cubic kernel with a = -1/2: support (-2, 2), exact on quadratics."""
    t = t.abs()
    inner = ((A + 2) * t - (A + 3)) * t * t + 1
    outer = ((A * t - 5 * A) * t + 8 * A) * t - 4 * A
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, torch.zeros_like(t)))


class Bicubic(nn.Module):
    """(B, C, H, W) -> (B, C, s*H, s*W): the same fixed filter for every channel.

    Output pixel i lies at (i + 1/2)/s - 1/2 in input pixels. Its value is sum_j k(position - j) x_j, on both
    axes. It is one convolution with s^2 phases, then a pixel shuffle. Borders are ``padding`` "zero" or
    "circular".
    """

    kernel: torch.Tensor

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
        """Enlarge x, (B, C, H, W)."""
        b, c, h, w = x.shape
        x = x.reshape(b * c, 1, h, w)
        x = F.pad(x, (2, 2, 2, 2), mode="circular" if self.padding == "circular" else "constant")
        y = F.pixel_shuffle(F.conv2d(x, self.kernel), self.scale)
        return y.reshape(b, c, h * self.scale, w * self.scale)


def bicubic4x(padding: str = "zero") -> Bicubic:
    """Bicubic upscaling by 4."""
    return Bicubic(4, padding)
