"""The figure of a ``Comparison``: its rows on one scale, and their energy against distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..graph.arguments import checked
from .channels import signed_panels
from .marks import mark
from .style import caption, current, drawn, lines, new_figure, panels_in_lines, wrapped

if TYPE_CHECKING:
    from ..analysis.compare import Comparison

CURVES = 1.7  # inches below the rows


@checked
@drawn
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
        The rows have one symmetric scale where none would look blank on it, else each its own, which is
        printed. The curves show the share of each row's energy within a distance.
    """
    entries = comparison.readings
    deep, across = lines(len(entries))
    width = current().page / across
    above = deep * (0.55 + min(0.85 * width, 2.0))
    figure = new_figure(current().page, above + CURVES)
    upper, lower = figure.subfigures(2, 1, height_ratios=(above, CURVES))
    axes = panels_in_lines(upper, len(entries))
    rows = {
        wrapped(e.name, width) + "\n" + wrapped(f"|r|/|y| {e.residual_share:.2f}, gap {e.gap:.1e}", width): e
        for e in entries
    }
    note = signed_panels(
        upper, axes, {t: e.row if e.row.dim() > 1 else e.row[None] for t, e in rows.items()}, rule="norm"
    )
    for axis, entry in zip(axes, entries):
        if entry.row.dim() == 3 and len(entry.place) == 2:
            mark(axis, *entry.place, max(entry.row.shape[1:]), width * 0.8)
    curve = lower.subplots()
    styles = ("-", "--", "-.", ":")
    for i, entry in enumerate(entries):
        curve.plot(entry.distance, entry.energy, styles[i % len(styles)], label=entry.name)
    curve.set_xlabel("distance from the place")
    curve.set_ylabel("share of\nthe row's energy")
    curve.legend()
    names = ", ".join(f"{e.name} (|r|/|y| {e.residual_share:.2f})" for e in entries)
    alt = f"The rows of the output {comparison.at} side by side, and their energy against distance: {names}"
    caption(lower, text, "; ".join(filter(None, ("|r|/|y| about x = 0", note))), alt)
    return figure
