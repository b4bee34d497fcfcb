"""Figures of the studies of many images: the focus of votes, and how faithful interpretations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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


def faithfulness(found: Faithfulness, text: str = "", policy: int = 0):
    """Draw cascade, deletion, insertion and stability of one policy: means over the images, with bands."""
    figure = new_figure(PAGE, 2.5)
    axes = figure.subplots(1, 4)
    _lines(axes[0], range(len(found.depths)), dict(zip(found.measures, found.cascade[policy])))
    _lines(axes[1], found.fractions, dict(zip(found.maps, found.deletion[policy])))
    _lines(axes[2], found.fractions, dict(zip(found.maps, found.insertion[policy])))
    _lines(axes[3], found.noise, dict(zip(("row cosine", "gap", "changed"), found.stability[policy])))
    titles = ("weights randomised", "deletion", "insertion", "noise")
    names = ("modules from the output", "pixels deleted", "pixels inserted", "noise / spread of x0")
    for axis, title, name in zip(axes, titles, names):
        axis.set_title(title, fontsize=TEXT)
        axis.set_xlabel(name, fontsize=TEXT - 1)
        axis.tick_params(labelsize=TEXT - 2)
        axis.legend(fontsize=TEXT - 3, frameon=False)
    said = f"policy {found.policies[policy]}, {found.cascade.shape[-1]} images"
    caption(figure, f"{text}\n{said}" if text else said)
    return figure


def _lines(axis, x, curves):
    """Means over the last dimension, with a band of one standard deviation."""
    for colour, (name, values) in zip(COLOURS, curves.items()):
        mean, std = values.mean(-1).numpy(), values.std(-1, correction=0).numpy()
        axis.plot(np.asarray(x), mean, color=colour, linewidth=1, label=name)
        axis.fill_between(np.asarray(x), mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
