"""What all figures share: widths, text size, the colour map of signed data, captions."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
import torch

from ..errors import FxscopeError

COLUMN, PAGE = 3.5, 7.16  # widths of one and of two columns, in inches
TEXT = 8  # points
CAPTION = 2  # lines below a figure for which its height is made
SIGNED = "RdBu_r"  # zero is white


def new_figure(width: float, height: float):
    """An empty figure of this size in inches, with constrained layout."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise FxscopeError("figures need matplotlib: pip install 'fxscope[plot]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def check_image(values: torch.Tensor) -> None:
    """Raise ``FxscopeError`` if this is no image, (C, H, W) or (H, W)."""
    if values.dim() not in (2, 3) or not values.numel():
        raise FxscopeError(f"expected an image (H, W) or (C, H, W), got shape {tuple(values.shape)}")


def limit_of(pictures: list[np.ndarray]) -> float:
    """The largest absolute value of all pictures, or 1 if they are all zero."""
    return max((float(np.abs(p).max()) for p in pictures if p.size), default=0.0) or 1.0


def scale_bar(figure: Any, shown: Any, axes: Any, limit: float) -> None:
    """Add a colour bar with ticks at -limit, 0 and limit."""
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, ticks=[-limit, 0, limit])
    bar.ax.set_yticklabels([f"{-limit:.2g}", "0", f"{limit:.2g}"], fontsize=TEXT - 1)


def caption(figure: Any, text: str, note: str = "") -> None:
    """Write the caption below the figure, and below it a note on how its filters are drawn."""
    whole = figure.get_figure(root=True)
    width, height = whole.get_size_inches()
    letters = int(width * 72 / (0.5 * (TEXT - 1)))
    given = [line for part in (text, note) for line in part.splitlines() if line]
    lines = [short for line in given for short in wrap(line, letters, break_on_hyphens=False)]
    if lines:
        more = len(lines) - CAPTION  # the figure grows, so that its panels keep their size
        whole.set_size_inches(width, height + max(0, more) * 1.3 * (TEXT - 1) / 72)
        figure.supxlabel("\n".join(lines), fontsize=TEXT - 1, color="0.35")
