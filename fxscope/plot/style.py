"""What all figures share: widths, text size, the colour map of signed data, captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..errors import FxscopeError

COLUMN, PAGE = 3.5, 7.16  # widths of one and of two columns, in inches
TEXT = 8  # points
SIGNED = "RdBu_r"  # zero is white


def new_figure(width: float, height: float):
    """An empty figure of this size in inches, with constrained layout."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise FxscopeError("figures need matplotlib: pip install 'fxscope[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def as_picture(values: torch.Tensor) -> np.ndarray:
    """The mean over channels of an image (C, H, W) or (H, W), as an array (H, W)."""
    if values.dim() not in (2, 3):
        raise FxscopeError(f"expected an image (H, W) or (C, H, W), got shape {tuple(values.shape)}")
    data = values.detach().double().cpu()
    return (data if data.dim() == 2 else data.mean(0)).numpy()


def limit_of(pictures: list[np.ndarray]) -> float:
    """The largest absolute value of all pictures, or 1 if they are all zero."""
    return max((float(np.abs(p).max()) for p in pictures if p.size), default=0.0) or 1.0


def signed_panels(
    figure: Any, axes: Any, panels: dict[str, torch.Tensor], cross: bool = False, size: float = TEXT
) -> None:
    """Show signed images on one symmetric scale with a colour bar; ``cross`` marks the middle of each."""
    pictures = [as_picture(v) for v in panels.values()]
    limit = limit_of(pictures)
    for axis, title, picture in zip(axes, panels, pictures):
        shown = axis.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        if cross:
            axis.plot(
                picture.shape[1] // 2,
                picture.shape[0] // 2,
                "+",
                color="k",
                markersize=5,
                markeredgewidth=0.7,
            )
        axis.set_title(title, fontsize=size)
        axis.set_axis_off()
    scale_bar(figure, shown, list(axes), limit)


def scale_bar(figure: Any, shown: Any, axes: Any, limit: float) -> None:
    """Add a colour bar with ticks at -limit, 0 and limit."""
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels([f"{-limit:.2g}", "0", f"{limit:.2g}"], fontsize=TEXT - 1)


def caption(figure: Any, text: str) -> None:
    """Write the caption below the figure."""
    if text:
        figure.supxlabel(text, fontsize=TEXT - 1, color="0.35")
