"""Rows and columns of F as pictures, whole and zoomed; photographs beside one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from .style import (
    COLUMN,
    PAGE,
    SIGNED,
    TEXT,
    as_picture,
    caption,
    limit_of,
    new_figure,
    scale_bar,
    signed_panels,
)


def row(values: torch.Tensor, place: tuple[int, int] | None = None, zoom: int | None = None, text: str = ""):
    """A row of F, the receptive filter of one output, whole and zoomed to its support.

    Both panels show the mean over channels on one symmetric scale.

    Parameters
    ----------
    values : torch.Tensor
        (C, H, W) or (H, W).
    place : (int, int), optional
        (y, x) of the input under the output, marked by a cross. The default is the largest coefficient.
    zoom : int, optional
        Side of the zoomed square in pixels. The default holds every coefficient above 1/100 of the largest.
    text : str
        The caption: model, policy, dtype, error.

    Returns
    -------
    matplotlib.figure.Figure
        The figure.
    """
    return _filter(values, place, zoom, text, "receptive filter")


def column(
    values: torch.Tensor, place: tuple[int, int] | None = None, zoom: int | None = None, text: str = ""
):
    """A column of F, the projective filter of one input, drawn as ``row``; ``place`` counts output pixels."""
    return _filter(values, place, zoom, text, "projective filter")


def _filter(values: torch.Tensor, place: tuple[int, int] | None, zoom: int | None, text: str, title: str):
    from matplotlib.patches import Rectangle

    picture = as_picture(values)
    limit = limit_of([picture])
    y, x = place if place is not None else np.unravel_index(np.abs(picture).argmax(), picture.shape)
    box = _box(picture, int(y), int(x), limit, zoom)
    figure = new_figure(COLUMN, 2.1)
    whole, near = figure.subplots(1, 2)
    for axis in (whole, near):
        shown = axis.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.plot(x, y, marker="+", color="k", markersize=7 if axis is near else 4, markeredgewidth=0.8)
        axis.tick_params(labelsize=TEXT - 2, length=2)
    top, bottom, left, right = box
    near.set_xlim(left - 0.5, right - 0.5)
    near.set_ylim(bottom - 0.5, top - 0.5)
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, linewidth=0.6))
    whole.set_title(title, fontsize=TEXT)
    near.set_title(f"zoom, ({int(y)}, {int(x)})", fontsize=TEXT)
    scale_bar(figure, shown, [whole, near], limit)
    caption(figure, text)
    return figure


def _box(picture: np.ndarray, y: int, x: int, limit: float, zoom: int | None) -> tuple[int, int, int, int]:
    """top, bottom, left, right of a square around the place, inside the picture."""
    h, w = picture.shape
    if zoom is None:
        ys, xs = np.nonzero(np.abs(picture) > limit / 100)
        reach = max([3, *np.abs(ys - y), *np.abs(xs - x)]) + 1
    else:
        reach = max(1, zoom // 2)
    return max(0, y - reach), min(h, y + reach + 1), max(0, x - reach), min(w, x + reach + 1)


def images(panels: dict[str, torch.Tensor], signed: bool = False, text: str = ""):
    """Images side by side: photographs in [0, 1], or signed data on one shared symmetric scale.

    Parameters
    ----------
    panels : dict
        {title: (C, H, W) or (H, W)}.
    """
    figure = new_figure(COLUMN if len(panels) <= 2 else PAGE, 2.0)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    if signed:
        signed_panels(figure, axes, panels)
    else:
        for axis, (title, values) in zip(axes, panels.items()):
            axis.imshow(*_photograph(values), cmap="gray", clim=(0, 1))
            axis.set_title(title, fontsize=TEXT)
            axis.set_axis_off()
    caption(figure, text)
    return figure


def _photograph(values: torch.Tensor) -> tuple[Any]:
    data = values.detach().double().cpu().clamp(0, 1)
    return (data.permute(1, 2, 0).numpy(),) if data.dim() == 3 and data.shape[0] == 3 else (as_picture(data),)
