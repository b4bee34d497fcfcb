"""The shares of the layers in scores, over many images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.arguments import checked
from ..graph.interpretation import together
from ..results.tables import counted
from . import depth
from .style import COLUMN, OTHERS, PALETTE, about, caption, current, drawn, legend_above, new_figure

if TYPE_CHECKING:
    from ..analysis import LayerContributions


@checked
@drawn
def layers(found: dict[str, LayerContributions], text: str = "", top: int = depth.TOP):
    """Draw the mean share of F x0 and of every layer, with a line of one standard deviation.

    Every network has a panel; all panels have the same scale. Networks of more than 28 layers show the
    ``top`` largest by name, and the rest of every block as one bar. The figure says where zero lies.
    """
    together(found.values(), "a figure")
    kept = {title: len(each.parts) - len(each.names) for title, each in found.items()}
    made = [depth.condensed(e.parts, e.mean.numpy(), kept[title], top) for title, e in found.items()]
    tall = depth.height(max(map(len, made))) + 0.35
    width = current().page if len(found) > 1 or len(made[0]) > 12 else COLUMN
    stack = (len(found), 1) if width == COLUMN else (1, len(found))
    figure = new_figure(width, tall * stack[0])
    axes = np.atleast_1d(figure.subplots(*stack, sharex=True))
    for axis, (title, each), bars in zip(axes, found.items(), made):
        of = {True: OTHERS, False: PALETTE[0]}
        colours = [of[bar.is_rest] if bar.parts[0] >= kept[title] else current().base for bar in bars]
        mean, std = _moments(each, bars)
        depth.draw(axis, bars, 100 * mean, colours, 100 * std)
        axis.set_title(title)
        axis.set_xlabel("share of the score, %")
    _legend(figure, made)
    rest = sum(len(bar.parts) for bars in made for bar in bars if bar.is_rest)
    note = f"the {rest} smaller layers are summed block by block; shading parts the blocks" if rest else ""
    zero = said_about([(title, each.zero) for title, each in found.items()])
    counts = counted_all((len(each.output) for each in found.values()), "image")
    errors = [each.error for each in found.values() if each.error is not None]
    zero += f"; means over {counts}" + (f", which sum to the scores to {max(errors):.0e}" if errors else "")
    said = (f"{title or 'the network'}, {_largest(each)}" for title, each in found.items())
    alt = f"The mean shares of F x0 and of every layer in the score, with their spread: {'; '.join(said)}"
    whole = about(next(iter(found.values())), text) if len(found) == 1 else text
    title = "what the input and every layer's constants are of a score"
    caption(figure, whole, "\n".join(filter(None, (zero, note))), alt, title)
    return figure


def _moments(each: LayerContributions, bars: list[depth.Bar]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of every bar; a study keeps those of layers, and no deviation of their sums."""
    if each.shares is not None:
        shares = np.stack([each.shares[:, list(bar.parts)].sum(1).numpy() for bar in bars], 1)
        return shares.mean(0), shares.std(0)
    mean = [float(each.mean[list(bar.parts)].sum()) for bar in bars]
    std = [np.nan if bar.is_rest else float(each.std[bar.parts[0]]) for bar in bars]
    return np.array(mean), np.array(std)


def _largest(each: LayerContributions) -> str:
    mean = each.mean.numpy()
    at = int(np.abs(mean).argmax())
    return f"the largest is {each.parts[at]} with {100 * mean[at]:.3g}% over {len(each.output)} images"


def _legend(figure: Any, made: list[list[depth.Bar]]) -> None:
    """Name the colours, and the lines of the deviations."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(color=current().base, label="F x0")]
    handles.append(Patch(color=PALETTE[0], label="a layer's constants"))
    if any(bar.is_rest for bars in made for bar in bars):
        style: dict[str, Any] = {"facecolor": OTHERS, "edgecolor": current().paper, "hatch": "//////"}
        handles.append(Patch(label="rest of a block", **style))
    ink = current().ink
    handles.append(Line2D([], [], color=ink, linewidth=0.7, marker="|", label="one standard deviation"))
    legend_above(figure, handles)


def counted_all(counts: Iterable[int], what: str) -> str:
    """How many there are of something: "3 images", or "3 and 8 images" where they differ."""
    *others, last = sorted(set(counts))
    return "".join(f"{count} and " for count in others) + counted(last, what)


def said_about(zeros: list[tuple[str, str]]) -> str:
    """Where zero lies, for all networks or for each; (network, zero)."""
    if len({zero for _, zero in zeros}) == 1:
        return f"shares about {zeros[0][1]}"
    return "\n".join(f"{name}: shares about {zero}" for name, zero in zeros)
