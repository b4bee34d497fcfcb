"""Pixel discussions and pixel votes over their photograph."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .channels import CLIP, signed_panels
from .photo import photo, rescaled
from .style import (
    OTHERS,
    PALETTE,
    about,
    caption,
    current,
    drawn,
    legend_above,
    lines,
    new_figure,
    panels_in_lines,
    wrapped,
)

if TYPE_CHECKING:
    from ..analysis import PixelDiscussion, PixelVotes


@drawn
def discussion(found: PixelDiscussion, text: str = "", names: Any = None, photograph: Any = None):
    """Draw the photograph and its pixel discussions.

    The parts of the channels of a pixel are summed. The discussions have one symmetric scale, whose colours
    end where smaller values hold 98% of the sum of all magnitudes.
    """
    photograph = found._photograph[0] if photograph is None else photograph
    sums = [_summed(i[0] if i.dim() == 4 else i) for i in found.images]
    scores = found.scores.reshape(len(sums), -1)[:, 0]
    deep, across = lines(1 + len(sums))
    width = current().page / across
    titles = [
        wrapped(f"for {called(names, label)}\n{float(s):.3g}", width)
        for label, s in zip(found.labels, scores)
    ]
    figure = new_figure(current().page, 0.25 + deep * (0.45 + 0.92 * min(width, 2.4)), pictures=True)
    axes = panels_in_lines(figure, 1 + len(sums))
    photo(axes[0], photograph, "input")
    note = signed_panels(figure, axes[1:], dict(zip(titles, sums)), clip=CLIP, unit="part of the score")
    said = ", ".join(f"{called(names, label)} ({float(s):.3g})" for label, s in zip(found.labels, scores))
    alt = f"What every pixel of the photograph adds to the scores of {said}: red raises it, blue lowers it"
    note = "; ".join(
        filter(None, (f"a panel sums to its score, to {found.error:.0e}", note, rescaled(photograph)))
    )
    title = "what every pixel adds to a score (pixel discussion)"
    caption(figure, _with_added(found, text), note, alt, title)
    return figure


@drawn
def votes(found: PixelVotes, text: str = "", names: Any = None, photograph: Any = None, top: int = 3):
    """Draw the photograph, the winner of every pixel, and the pixels won by each of the ``top`` labels.

    The six most popular labels have colours of their own, the others are grey. The entropy of the votes and
    the chance of a label say how much of it is noise.
    """
    photograph = found._photograph[0] if photograph is None else photograph
    shares = list(found.popularity.items())
    first = shares[:top]
    count, (deep, across) = len(found.labels), lines(2 + len(first))
    width = current().page / across
    figure = new_figure(current().page, 0.7 + deep * (0.4 + 0.98 * min(width, 2.0)), pictures=True)
    axes = panels_in_lines(figure, 2 + len(first))
    photo(axes[0], photograph, "input")
    axes[1].imshow(_coloured(found), interpolation="nearest")
    axes[1].set_title(wrapped("the winner of each pixel", width))
    axes[1].set_axis_off()
    for axis, (label, share) in zip(axes[2:], first):
        mask = found.mask(label)
        title = wrapped(f"won by {called(names, label)}\n{100 * share:.3g}%", width)
        photo(axis, photograph, title, mask if mask.dim() == 2 else mask[0])
    _legend(figure, shares, names)
    noise = (
        f"entropy {found.entropy:.2f} of at most {math.log2(count):.2f} bits; the most popular of {count}"
        f" labels wins {100 * shares[0][1]:.3g}% of the pixels, by chance {100 / count:.2g}%"
    )
    said = ", ".join(f"{called(names, label)} {100 * share:.3g}%" for label, share in first)
    note = "; ".join(filter(None, (noise, rescaled(photograph))))
    title = f"the label, of {count}, to whose score a pixel adds most (pixel votes)"
    alt = f"The label for which every pixel votes: {said}"
    caption(figure, _with_added(found, text), note, alt, title)
    return figure


def _coloured(found: PixelVotes) -> np.ndarray:
    """(H, W, 3): the winners in the colours of their labels."""
    from matplotlib.colors import to_rgb

    colours = np.tile(to_rgb(OTHERS), (len(found.labels), 1))
    for label, colour in zip(found.popularity, PALETTE):
        colours[found.labels.index(label)] = to_rgb(colour)
    winners = found.winners if found.winners.dim() == 2 else found.winners[0]
    return colours[winners.cpu().numpy()]


def _legend(figure: Any, shares: list[tuple[Any, float]], names: Any) -> None:
    """The names of the colours, with the shares of the pixels."""
    from matplotlib.patches import Patch

    named = [
        Patch(color=colour, label=f"{called(names, label)} {100 * share:.3g}%")
        for (label, share), colour in zip(shares, PALETTE)
        if share > 0
    ]
    rest = [share for _, share in shares[len(PALETTE) :] if share > 0]
    if rest:
        named.append(Patch(color=OTHERS, label=f"{len(rest)} others {100 * sum(rest):.3g}%"))
    legend_above(figure, named)


def called(names: Any, label: Any) -> str:
    """A label by its name, with its number, or by its number alone."""
    return f"label {label}" if names is None else str(names[label])


def _summed(parts: torch.Tensor) -> torch.Tensor:
    """The sum over channels of the parts of a score, (C, H, W) or (H, W)."""
    data = parts.detach().double().cpu()
    return data if data.dim() == 2 else data.sum(0)


def _with_added(found: PixelDiscussion | PixelVotes, text: str) -> str:
    """The caption, with the variant of eq. 18 and what it added to the pixels' own contributions."""
    said = f"variant {found.reading}; corrections {100 * found.added:.3g}% of the layers' contributions"
    text = about(found, text)
    return f"{text}\n{said}" if text else said
