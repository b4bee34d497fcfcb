"""Tokens as text, coloured by what each adds to an output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import ShapeError, WrongArgument
from ..graph.arguments import checked
from .style import PAGE, caption, current, drawn, limit_of, new_figure, scale_bar, small

LETTERS = 88  # of a line, in a page's width
LINE = 0.17  # inches of a line
GAP = 0.6  # lines between two strips
SHOWN = {"\n": "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}", "\t": "\N{RIGHTWARDS ARROW}"}
DARK_FROM = 0.55  # of the largest value: from there the letters on it are white, on a dark figure dark


@checked
@drawn
def tokens(names: Sequence[str], values: dict[str, torch.Tensor], text: str = "", places: Sequence[int] = ()):
    """Draw tokens as text, each on a ground whose colour is its value; one strip for each entry of values.

    Parameters
    ----------
    names : sequence of str
        The tokens as they are written.
    values : dict of str to torch.Tensor
        {title: (T,)}, a number for every token: ``{"logit of a": parts.by_token()[0]}``. Several entries, for
        example one a layer, are strips below each other on one symmetric scale.
    text : str
        The caption.
    places : sequence of int
        Tokens with a frame, for example those that are asked about.

    Returns
    -------
    matplotlib.figure.Figure
        Red adds to the output, blue takes from it. A long text continues on the next line.

    Raises
    ------
    ShapeError
        If an entry has not one value for each token.
    WrongArgument
        If there is no token, or no such place.

    Examples
    --------
    >>> import fxscope
    >>> figure = fxscope.plot.tokens(["the", " cat"], {"logit": torch.tensor([0.5, -1.0])})
    """
    _check(names, values, places)
    shown = ["".join(SHOWN.get(c, c) for c in name) or " " for name in names]
    wide = current().page
    most = round(LETTERS * wide / PAGE)
    boxes, lines = _boxes(shown, most)
    step = lines + GAP
    figure = new_figure(wide, LINE * (step * len(values) + 1) + 0.45)
    axis = figure.subplots()
    data = {title: v.detach().double().cpu().numpy() for title, v in values.items()}
    limit = limit_of(list(data.values()))
    colours = _colours(limit)
    for number, found in enumerate(data.values()):
        for token, (x, line) in enumerate(boxes):
            at, name = (x, line + number * step), shown[token]
            _box(axis, at, name, found[token] / limit, colours.to_rgba(found[token]), token in places)
    width = max(most // 3, *(x + len(shown[i]) for i, (x, _) in enumerate(boxes)))
    _bare(axis, list(values), step, width)
    scale_bar(figure, colours, axis, limit, unit="part of the output")
    caption(figure, text, "", _alt(shown, data), "what every token adds to an output")
    return figure


def _boxes(shown: list[str], most: int) -> tuple[list[tuple[int, int]], int]:
    """Where each token begins, (letter, line), and the number of lines; a token is not broken."""
    found, x, line = [], 0, 0
    for name in shown:
        if x and x + len(name) > most:
            x, line = 0, line + 1
        found.append((x, line))
        x += len(name)
    return found, line + 1


def _box(axis: Any, at: tuple[float, float], name: str, share: float, colour: Any, framed: bool) -> None:
    from matplotlib.patches import Rectangle

    (x, y), look = at, current()
    axis.add_patch(Rectangle((x, y), len(name), 1, facecolor=colour, edgecolor="none", linewidth=0))
    if framed:
        frame = Rectangle(
            (x + 0.04, y + 0.04), len(name) - 0.08, 0.92, fill=False, edgecolor=look.ink, zorder=3
        )
        frame.set_linewidth(1.0 * look.scale)
        axis.add_patch(frame)
    ink = look.paper if abs(share) > DARK_FROM else look.ink
    middle = x + len(name) / 2, y + 0.54
    axis.text(*middle, name, family="monospace", size=small(), ha="center", va="center", color=ink)


def _bare(axis: Any, titles: list[str], step: float, width: int) -> None:
    """Limits, and the titles of the strips beside their first lines."""
    axis.set_xlim(0, width)
    axis.set_ylim(len(titles) * step - GAP + 0.1, -0.1)
    axis.set_axis_off()
    for number, title in enumerate(titles):
        axis.text(-0.8, number * step + 0.54, title, ha="right", va="center")


def _colours(limit: float) -> Any:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    return ScalarMappable(Normalize(-limit, limit), current().signed)


def _check(names: Sequence[str], values: dict[str, torch.Tensor], places: Sequence[int]) -> None:
    if not names or not values:
        raise WrongArgument("plot.tokens needs at least one token and one entry of values")
    for title, found in values.items():
        if found.shape != (len(names),):
            raise ShapeError(
                f"plot.tokens: {title!r} has shape {tuple(found.shape)}, and {len(names)} tokens need"
                f" ({len(names)},); give one image's values, by_token()[0]"
            )
    unknown = [p for p in places if not isinstance(p, int) or not 0 <= p < len(names)]
    if unknown:
        raise WrongArgument(f"plot.tokens: no places {unknown} among {len(names)} tokens, counted from 0")


def _alt(shown: list[str], data: dict[str, np.ndarray]) -> str:
    """The largest value of every strip, in words."""
    said = []
    for title, found in data.items():
        at = int(np.abs(found).argmax())
        said.append(f"{title}: {shown[at]!r} at {at} has the largest, {found[at]:.3g}")
    return f"{len(shown)} tokens, coloured by their values; {'; '.join(said)}"
