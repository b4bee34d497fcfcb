"""The figure of a ``Comparison``: its rows on one scale, and their energy against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph.arguments import checked
from .channels import pictures
from .style import PAGE, TEXT, caption, new_figure, scale_bar

if TYPE_CHECKING:
    from ..analysis.compare import Comparison


@checked
def compared(comparison: Comparison, text: str = ""):
    """Draw the rows of a comparison side by side, and below them their energy against distance.

    Parameters
    ----------
    comparison : Comparison
        The result of ``fxscope.compare``. Its rows are (C, H, W), (H, W) or (n,).
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        The rows have one symmetric scale. The curves show the share of each row's energy within a distance.
    """
    entries = comparison.readings
    figure = new_figure(PAGE, 4.2)
    upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2))
    axes = upper.subplots(1, len(entries), squeeze=False)[0]
    found = pictures([r.row if r.row.dim() > 1 else r.row[None] for r in entries])
    for number, (axis, entry) in enumerate(zip(axes, entries)):
        shown = found.draw(axis, number)
        axis.set_title(
            f"{entry.name}\n|r|/|y| {entry.residual_share:.2f}, gap {entry.gap:.1e}", fontsize=TEXT
        )
        axis.tick_params(labelsize=TEXT - 2, length=2)
    scale_bar(upper, shown, list(axes), found.limit)
    curve = lower.subplots()
    for entry in entries:
        curve.plot(entry.distance, entry.energy, linewidth=1, label=entry.name)
    curve.set_xlabel("distance from the place", fontsize=TEXT)
    curve.set_ylabel("share of the row's energy", fontsize=TEXT)
    curve.tick_params(labelsize=TEXT - 2)
    curve.legend(fontsize=TEXT - 1, frameon=False)
    caption(lower, text, "; ".join(filter(None, ("|r|/|y| about x = 0", found.note))))
    return figure
