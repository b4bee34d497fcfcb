"""The figure of a ``Comparison``: its rows on one scale, and their energy against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ..graph.arguments import checked
from .channels import signed_panels
from .marks import mark
from .photo import photo, rescaled
from .style import about, caption, current, drawn, lines, new_figure, panels_in_lines, wrapped

if TYPE_CHECKING:
    from ..analysis.compare import Comparison, ComparisonEntry

CURVES = 1.7  # inches below the rows


@checked
@drawn
def compared(comparison: Comparison, text: str = "", photograph: torch.Tensor | None = None):
    """Draw the rows of a comparison beside their image, and below them their energy against distance.

    Parameters
    ----------
    comparison : Comparison
        The result of ``fxscope.compare``. Its rows are (C, H, W), (H, W) or (n,).
    text : str
        The caption.
    photograph : torch.Tensor, optional
        The image (3, H, W) or (H, W) to draw instead of x0.

    Returns
    -------
    matplotlib.figure.Figure
        The rows have one symmetric scale where none would look blank on it, else each its own, which is
        printed. The curves show the share of each row's energy within a distance.
    """
    entries = comparison.readings
    photograph = comparison._photograph if photograph is None else photograph
    count = len(entries) + (photograph is not None)
    deep, across = lines(count)
    width = current().page / across
    above = deep * (0.55 + min(0.85 * width, 2.0))
    figure = new_figure(current().page, above + CURVES)
    upper, lower = figure.subfigures(2, 1, height_ratios=(above, CURVES))
    axes = panels_in_lines(upper, count)
    if photograph is not None:
        photo(axes[0], photograph, "input")
        _marked(axes[0], entries[0], photograph.shape, width)
        axes = axes[1:]
    rows = {
        wrapped(e.name, width) + "\n" + wrapped(f"|r|/|y| {e.residual_share:.2f}, gap {e.gap:.1e}", width): e
        for e in entries
    }
    note = signed_panels(
        upper, axes, {t: e.row if e.row.dim() > 1 else e.row[None] for t, e in rows.items()}, rule="norm"
    )
    for axis, entry in zip(axes, entries):
        _marked(axis, entry, entry.row.shape, width)
    curve = lower.subplots()
    styles = ("-", "--", "-.", ":")
    for i, entry in enumerate(entries):
        curve.plot(entry.distance, entry.energy, styles[i % len(styles)], label=entry.name)
    curve.set_xlabel(
        "distance from the place, pixels" if photograph is not None else "distance from the place"
    )
    curve.set_ylabel("share of\nthe row's energy")
    curve.legend()
    names = ", ".join(f"{e.name} (|r|/|y| {e.residual_share:.2f})" for e in entries)
    alt = f"The rows of the output {comparison.at} side by side, and their energy against distance: {names}"
    seen = rescaled(photograph)
    gap = f"|r|/|y| about x = 0; gap: error of F x + r at |x - x0| = {comparison.near:g} |x0|"
    index = str(comparison.at).strip("()").rstrip(",")
    title = f"receptive filter of y0[{index}], read in {len(entries)} ways"
    caption(lower, about(comparison, text), "; ".join(filter(None, (gap, note, seen))), alt, title)
    return figure


def _marked(axis: Any, entry: ComparisonEntry, shape: tuple[int, ...], width: float) -> None:
    if entry.row.dim() == 3 and len(entry.place) == 2:
        y, x = entry.place
        mark(axis, y, x, max(shape[-2:]), width * 0.8)
