"""Figures of rows and columns of F, and of images side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..graph.arguments import check_place, checked
from .channels import pictures, signed_panels
from .style import COLUMN, PAGE, TEXT, caption, check_image, new_figure, scale_bar


@checked
def row(
    values: torch.Tensor,
    place: tuple[int, int] | None = None,
    zoom: int | None = None,
    text: str = "",
    of: str = "",
):
    """Draw a row of F, the receptive filter of one output: the whole image, and a zoom (paper, eq. 7).

    Both panels have the same symmetric scale. Three channels are drawn as colours around grey, any other
    number along their strongest direction; the figure states the share of the energy that is seen.

    Parameters
    ----------
    values : torch.Tensor
        The row, (C, H, W) or (H, W), in output units per input unit.
    place : (int, int), optional
        (y, x) of the input pixel at the position of the output, marked by a cross, as
        ``lin.F.alignment().input_of`` gives it. By default the cross marks the largest coefficient, and the
        title says so.
    zoom : int, optional
        Side of the zoomed square in pixels. The default square around ``place`` holds every coefficient above
        1/100 of the largest.
    text : str
        The caption, for example model, policy, dtype and error.
    of : str
        The output that is read, for the title, such as "y0[0, 32, 32]".

    Returns
    -------
    matplotlib.figure.Figure
        Two panels and a colour bar.

    Raises
    ------
    FxscopeError
        If ``values`` is no image, or matplotlib is not installed.

    Examples
    --------
    >>> import fxscope
    >>> lin = fxscope.interpret(fxscope.models.bicubic4x(), torch.rand(1, 1, 16, 16))
    >>> figure = fxscope.plot.row(lin.F.row((0, 32, 32)), place=(8, 8))
    """
    return _filter(values, place, zoom, text, "receptive filter", of)


@checked
def column(
    values: torch.Tensor,
    place: tuple[int, int] | None = None,
    zoom: int | None = None,
    text: str = "",
    of: str = "",
):
    """Draw a column of F, the projective filter of one input: the whole image, and a zoom (paper, eq. 9).

    Parameters
    ----------
    values : torch.Tensor
        The column, (C, H, W) or (H, W), in output units per input unit.
    place : (int, int), optional
        (y, x) of the output pixel at the position of the input, as ``lin.F.alignment().output_of`` gives it.
        The default is the largest coefficient.
    zoom, text
        As in ``row``.
    of : str
        The input whose effect is drawn, for the title.

    Returns
    -------
    matplotlib.figure.Figure
        Two panels and a colour bar.

    Raises
    ------
    FxscopeError
        As ``row`` does.
    """
    return _filter(values, place, zoom, text, "projective filter", of)


def _filter(
    values: torch.Tensor,
    place: tuple[int, int] | None,
    zoom: int | None,
    text: str,
    title: str,
    of: str,
):
    from matplotlib.patches import Rectangle

    found = pictures([values])
    strength = found.strength[0]
    if place is not None:
        check_place(title, place, strength.shape)
    y, x = place if place is not None else np.unravel_index(strength.argmax(), strength.shape)
    box = _box(strength, int(y), int(x), zoom)
    figure = new_figure(COLUMN, 2.4)
    whole, near = figure.subplots(1, 2)
    for axis in (whole, near):
        shown = found.draw(axis)
        axis.plot(x, y, marker="+", color="k", markersize=7 if axis is near else 4, markeredgewidth=0.8)
        axis.tick_params(labelsize=TEXT - 2, length=2)
    top, bottom, left, right = box
    near.set_xlim(left - 0.5, right - 0.5)
    near.set_ylim(bottom - 0.5, top - 0.5)
    whole.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, linewidth=0.6))
    what = "largest" if place is None else "its place"
    whole.set_title(f"{title}\nof {of}" if of else title, fontsize=TEXT)
    near.set_title(f"zoom,\n{what} ({int(y)}, {int(x)})", fontsize=TEXT)
    scale_bar(figure, shown, [whole, near], found.limit)
    caption(figure, text, found.note)
    return figure


def _box(strength: np.ndarray, y: int, x: int, zoom: int | None) -> tuple[int, int, int, int]:
    """(top, bottom, left, right) of a square around a place, cut at the borders of the picture."""
    h, w = strength.shape
    if zoom is None:
        ys, xs = np.nonzero(strength > strength.max() / 100)
        reach = max([3, *np.abs(ys - y), *np.abs(xs - x)]) + 1
    else:
        reach = max(1, zoom // 2)
    return max(0, y - reach), min(h, y + reach + 1), max(0, x - reach), min(w, x + reach + 1)


@checked
def images(panels: dict[str, torch.Tensor], signed: bool = False, text: str = ""):
    """Draw images side by side: photographs in [0, 1], or signed data on one symmetric scale.

    Parameters
    ----------
    panels : dict
        {title: image}, each (C, H, W) or (H, W). Three channels are drawn as colours.
    signed : bool
        Use one symmetric scale for all panels, around grey for colours; channels are drawn as in ``row``. If
        False, values are clipped to [0, 1], and the mean of a number of channels other than 3 is drawn.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each image.

    Raises
    ------
    FxscopeError
        If an image has another number of dimensions, or matplotlib is not installed.
    """
    figure = new_figure(COLUMN if len(panels) <= 2 else PAGE, 2.0)
    axes = np.atleast_1d(figure.subplots(1, len(panels)))
    note = ""
    if signed:
        note = signed_panels(figure, axes, panels)
    else:
        for axis, (title, values) in zip(axes, panels.items()):
            axis.imshow(*_photograph(values), cmap="gray", clim=(0, 1))
            axis.set_title(title, fontsize=TEXT)
            axis.set_axis_off()
    caption(figure, text, note)
    return figure


def _photograph(values: torch.Tensor) -> tuple[Any]:
    check_image(values)
    data = values.detach().double().cpu().clamp(0, 1)
    if data.dim() == 3 and data.shape[0] == 3:
        return (data.permute(1, 2, 0).numpy(),)
    return ((data if data.dim() == 2 else data.mean(0)).numpy(),)
