"""Figures of the tour: photographs in grey, signed data on a shared symmetric scale with a neutral zero."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import FxscopeError


def _new(columns: int, height: float = 3.4):
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise FxscopeError("figures need matplotlib: pip install 'fxscope[plot]'") from error
    figure = Figure(figsize=(3.6 * columns, height), layout="constrained")
    return figure, np.atleast_1d(figure.subplots(1, columns))


def _array(image: torch.Tensor) -> np.ndarray:
    return image.detach().reshape(image.shape[-2:]).cpu().numpy()


def images(panels: list[tuple[str, torch.Tensor]]):
    """Grey images in [0, 1] side by side."""
    figure, axes = _new(len(panels))
    for axis, (title, image) in zip(axes, panels):
        axis.imshow(_array(image), cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    return figure


def signed(panels: list[tuple[str, torch.Tensor]]):
    """Signed images on one symmetric scale, its limits printed by the colour bar."""
    limit = max(float(p.abs().max()) for _, p in panels)
    figure, axes = _new(len(panels))
    for axis, (title, image) in zip(axes, panels):
        shown = axis.imshow(_array(image), cmap="RdBu_r", vmin=-limit, vmax=limit)
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    figure.colorbar(shown, ax=list(axes), shrink=0.8)
    return figure


def filters(row: torch.Tensor, row_place: tuple[int, int], column: torch.Tensor, column_place: tuple[int, int]):
    """A row and a column of F, each zoomed to its support, on its own symmetric scale, its place marked by a cross."""
    figure, axes = _new(2, 3.8)
    for axis, title, data, place in zip(axes, ("receptive filter (row)", "projective filter (column)"), (row, column), (row_place, column_place)):
        top, bottom, left, right = _support(data, place)
        limit = float(data.abs().max()) or 1.0
        shown = axis.imshow(data[top:bottom, left:right].detach().numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5))
        axis.plot(place[1], place[0], "k+", markersize=9)
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
        figure.colorbar(shown, ax=axis, shrink=0.8)
    return figure


def _support(data: torch.Tensor, place: tuple[int, int]) -> tuple[int, int, int, int]:
    """The box of the coefficients that are not zero, a pixel wider, and never without the place."""
    ys, xs = torch.nonzero(data, as_tuple=True)
    ys, xs = torch.cat([ys, torch.tensor([place[0]])]), torch.cat([xs, torch.tensor([place[1]])])
    h, w = data.shape
    return max(0, int(ys.min()) - 1), min(h, int(ys.max()) + 2), max(0, int(xs.min()) - 1), min(w, int(xs.max()) + 2)
