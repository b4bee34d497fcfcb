"""Figures of the studies of many images: the focus of votes, and how faithful interpretations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.trials import STABILITY
from .style import COLUMN, PAGE, TEXT, caption, new_figure

if TYPE_CHECKING:
    from ..analysis import Faithfulness, VotesStudy

COLOURS = ("#4477aa", "#ee6677", "#228833", "#999999", "#aa3377")


def focus(found: VotesStudy, text: str = ""):
    """Draw the focus of every image's top label against that of the other labels; lines mark chance."""
    figure = new_figure(COLUMN, 2.6)
    axis = figure.subplots()
    axis.plot(found.others, found.focus, "o", color=COLOURS[0], markersize=4, alpha=0.7)
    axis.axhline(1, color="0.5", linewidth=0.6)
    axis.axvline(1, color="0.5", linewidth=0.6)
    axis.set_xlabel("focus of the ten most popular others", fontsize=TEXT)
    axis.set_ylabel("focus of the top label", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT - 1)
    mean = found.numbers()
    said = (
        f"{found.reading}: {mean['focus']['mean']:.2f} and {mean['others']['mean']:.2f} times chance,"
        f" corrections {100 * mean['added']['mean']:.3g}%"
    )
    caption(figure, f"{text}\n{said}" if text else said)
    return figure


def faithfulness(found: Faithfulness, text: str = ""):
    """Draw cascade, deletion, insertion and stability: means over the images, with bands; a policy a row."""
    count = len(found.policies)
    figure = new_figure(PAGE, 0.6 + 1.7 * count)
    axes = figure.subplots(count, 5, squeeze=False, sharex="col", sharey="col")
    for p, (policy, row) in enumerate(zip(found.policies, axes)):
        steps, cascade = range(len(found.depths)), list(zip(found.measures, found.cascade[p]))
        panels = (
            ("weights randomised", "modules from the output", steps, cascade[:4]),
            ("votes", "modules from the output", steps, cascade[4:]),
            ("deletion", "pixels deleted", found.fractions, zip(found.maps, found.deletion[p])),
            ("insertion", "pixels inserted", found.fractions, zip(found.maps, found.insertion[p])),
            ("noise", "noise / spread of x0", found.noise, zip(STABILITY, found.stability[p])),
        )
        for axis, (title, name, x, curves) in zip(row, panels):
            _lines(axis, x, dict(curves))
            axis.tick_params(labelsize=TEXT - 2)
            if p == 0:
                axis.set_title(title, fontsize=TEXT)
                axis.legend(fontsize=TEXT - 3, frameon=False)
            if p == count - 1:
                axis.set_xlabel(name, fontsize=TEXT - 1)
        row[0].set_ylabel(policy, fontsize=TEXT)
    said = f"{found.cascade.shape[-1]} images, {found.elected} labels stand for election in votes"
    caption(figure, f"{text}\n{said}" if text else said)
    return figure


def _lines(axis, x, curves):
    """Means over the last dimension, with a band of one standard deviation."""
    for colour, (name, values) in zip(COLOURS, curves.items()):
        mean, std = values.mean(-1).numpy(), values.std(-1, correction=0).numpy()
        axis.plot(np.asarray(x), mean, color=colour, linewidth=1, label=name)
        axis.fill_between(np.asarray(x), mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
