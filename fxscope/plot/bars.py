"""Contributions to one output, in the order of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ..graph.arguments import checked
from .style import PAGE, TEXT, caption, new_figure

if TYPE_CHECKING:
    from ..analysis.contributions import Contributions

COLOURS = {
    "F x0": "#444444",
    "bias": "#1f77b4",
    "shift": "#2ca02c",
    "intercept": "#ff7f0e",
    "constant": "#9467bd",
    "frozen": "#e377c2",
    "padding": "#8c564b",
}
NAMED = 40  # with more bars than this, the axis shows no names


@checked
def contributions(c: Contributions, image: int = 0, text: str = ""):
    """Draw F x0 and every additive constant as bars in graph order, with the running sum (paper, Theorem 1).

    Parameters
    ----------
    c : Contributions
        The result of ``lin.contributions(index)``.
    image : int
        Position of the image in the batch.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        The bars are in units of the output. The running sum ends at y0[index], the dotted line.

    Examples
    --------
    >>> import fxscope
    >>> lin = fxscope.interpret(torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 8, 8))
    >>> figure = fxscope.plot.contributions(lin.contributions((0, 2, 2)))
    """
    terms = [("F x0", "F x0", _of(c.linear, image))] + [
        (t.place, t.kind, _of(t.value, image)) for t in c.terms
    ]
    figure = new_figure(PAGE, 2.6 if len(terms) <= NAMED else 2.2)
    axis = figure.subplots()
    places, values = range(len(terms)), [v for _, _, v in terms]
    axis.bar(places, values, color=[COLOURS[k] for _, k, _ in terms], width=0.8)
    axis.plot(
        places,
        torch.tensor(values).cumsum(0),
        color="k",
        linewidth=0.8,
        marker=".",
        markersize=3,
        label="running sum",
    )
    axis.axhline(0, color="0.6", linewidth=0.5)
    axis.axhline(
        _of(c.output, image),
        color="k",
        linewidth=0.6,
        linestyle=":",
        label=f"y0 = {_of(c.output, image):.3g}",
    )
    for kind in dict.fromkeys(k for _, k, _ in terms):
        axis.bar([0], [0], color=COLOURS[kind], label=kind)
    axis.legend(fontsize=TEXT - 2, ncols=3, frameon=False)
    axis.set_ylabel("contribution", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT - 2)
    if len(terms) <= NAMED:
        axis.set_xticks(list(places), [p for p, _, _ in terms], rotation=90, fontsize=TEXT - 2)
    else:
        axis.set_xlabel("depth (order of the graph)", fontsize=TEXT)
    caption(figure, text)
    return figure


def _of(value, image: int) -> float:
    return float(value[image]) if isinstance(value, torch.Tensor) and value.dim() else float(value)
