"""Contributions to one output, in the order of the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..graph.arguments import checked
from ..results.provenance import picture
from . import depth
from .photo import photo, rescaled
from .style import COLUMN, OTHERS, PALETTE, about, caption, current, drawn, legend_above, new_figure

if TYPE_CHECKING:
    from ..analysis.contributions import Contributions

MEANINGS = {
    "bias": "biases of layers",
    "shift": "what norms add",
    "intercept": "what nonlinear units add",
    "constant": "constant tensors",
    "frozen": "values of x0 that do not depend on x1",
    "padding": "borders that are not 0",
}
KINDS = tuple(MEANINGS)
ABOVE = 1.4  # inches of a photograph above its bars
NAMED = depth.MANY  # with more terms than this, the largest have names, and the rest of a block is one bar


@checked
@drawn
def contributions(
    c: Contributions,
    image: int = 0,
    text: str = "",
    top: int = depth.TOP,
    photograph: torch.Tensor | None = None,
    of: str = "",
):
    """Draw F x0 and every additive constant as bars in graph order, with the running sum (paper, Theorem 1).

    Parameters
    ----------
    c : Contributions
        The result of ``lin.contributions(index)``.
    image : int
        Position of the image in the batch.
    text : str
        The caption.
    top : int
        With more than 28 terms, so many of the largest have bars of their own, and those of a block that have
        none are one bar.
    photograph : torch.Tensor, optional
        The image (3, H, W) or (H, W) that the contributions are about, drawn beside them.
    of : str
        The output, for the title, such as "Egyptian cat, y0[285]"; the default is its index.

    Returns
    -------
    matplotlib.figure.Figure
        The bars are in units of the output, the first terms at the top. The running sum ends at y0[index],
        the dotted line.

    Examples
    --------
    >>> import fxscope
    >>> lin = fxscope.interpret(torch.nn.Conv2d(1, 2, 3), torch.randn(1, 1, 8, 8))
    >>> figure = fxscope.plot.contributions(lin.contributions((0, 2, 2)))
    """
    photograph = photograph_of(c, image) if photograph is None else photograph
    values = np.array([_of(c.linear, image), *(_of(t.value, image) for t in c.terms)])
    names = ["F x0", *(t.module or t.place for t in c.terms)]
    places = ["F x0", *(t.place for t in c.terms)]
    bars = depth.condensed(names if len(set(names)) == len(names) else places, values, 1, top)
    kinds = ["F x0", *(t.kind for t in c.terms)]
    colours = {"F x0": current().base} | dict(zip(KINDS, PALETTE))
    of_bars = [OTHERS if bar.is_rest else colours[kinds[bar.parts[0]]] for bar in bars]
    shown = dict.fromkeys(kinds[bar.parts[0]] for bar in bars if not bar.is_rest)
    legend = {k: colours[k] for k in shown}
    figure = _running(bars, values, of_bars, legend, _of(c.output, image), photograph)
    largest = max(zip(np.abs(values), places))[1]
    alt = (
        f"{len(values)} contributions that sum to the output {_of(c.output, image):.4g}: F x0 adds"
        f" {values[0]:.4g}, and {largest} is the largest"
    )
    named = of or f"y0[{str(c.index).strip('()').rstrip(',')}]"
    title = f"what adds up to {named} = {_of(c.output, image):.4g}"
    seen = rescaled(photograph)
    note = "; ".join(filter(None, (kinds_in_words(shown), _rest(bars), seen)))
    caption(figure, about(c, text), note, alt, title)
    return figure


def photograph_of(c: Contributions, image: int) -> torch.Tensor | None:
    """The image that the contributions are about, where it is one and is still at hand."""
    x0 = None if c._source is None else c._source[0].x0
    one = x0[image : image + 1] if isinstance(x0, torch.Tensor) and x0.dim() == 4 else None
    return picture(one)


def kinds_in_words(kinds: Iterable[str]) -> str:
    """What the kinds of terms are, for those that a figure has."""
    return "; ".join(f"{kind}: {MEANINGS[kind]}" for kind in kinds if kind in MEANINGS)


@drawn
def by_layer(values: dict[str, float], output: float, text: str = "", of: str = "an output"):
    """Draw F x0 and the constants of every layer, {name: value} in graph order, with their running sum."""
    heights = np.array([float(v) for v in values.values()])
    bars = depth.condensed(list(values), heights)
    colours = [OTHERS if b.is_rest else current().base if b.parts == (0,) else PALETTE[0] for b in bars]
    legend = {next(iter(values)): current().base, "the constants of a layer": PALETTE[0]}
    figure = _running(bars, heights, colours, legend, output)
    alt = f"The contributions of {len(values)} parts of a network, which sum to {output:.4g}"
    caption(figure, text, _rest(bars), alt, f"what adds up to {of} = {output:.4g}")
    return figure


def _running(
    bars: list, values: np.ndarray, colours: list, legend: dict, output: float, photograph: Any = None
) -> Any:
    """Bars with their running sum, a legend of their colours, and the photograph that they are about."""
    sums = np.array([values[list(bar.parts)].sum() for bar in bars])
    width = current().page if len(bars) > 8 or photograph is not None else COLUMN
    tall = depth.height(len(bars)) + 0.35
    if photograph is None:
        figure = new_figure(width, tall)
        axis = figure.subplots()
    elif width == COLUMN:
        figure = new_figure(width, tall + ABOVE)
        above, axis = figure.subplots(2, 1, height_ratios=(ABOVE, tall))
        photo(above, photograph, "input")
    else:
        figure = new_figure(width, max(tall, 2.0))
        axis, beside = figure.subplots(1, 2, width_ratios=(4, 1))
        photo(beside, photograph, "input")
        beside.set_anchor("N")
    axis.set_xlabel("contribution, in units of the output")
    depth.draw(axis, bars, sums, colours)
    ink = current().ink
    axis.plot(
        sums.cumsum(), range(len(bars)), color=ink, linewidth=0.8, marker=".", label="running sum", zorder=3
    )
    axis.axvline(output, color=ink, linewidth=0.7, linestyle=":", label=f"y0 = {output:.3g}")
    for kind, colour in legend.items():
        axis.barh([0], [0], color=colour, label=kind)
    if any(bar.is_rest for bar in bars):
        axis.barh([0], [0], color=OTHERS, hatch="//////", edgecolor=current().paper, label="rest of a block")
    legend_above(figure, axis.get_legend_handles_labels()[0])
    return figure


def _rest(bars: list) -> str:
    """What the figure says of the bars that it sums."""
    rest = sum(len(bar.parts) for bar in bars if bar.is_rest)
    return f"the {rest} smaller terms are summed block by block; shading parts the blocks" if rest else ""


def _of(value: Any, image: int) -> float:
    return float(value[image]) if isinstance(value, torch.Tensor) and value.dim() else float(value)
