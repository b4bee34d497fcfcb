"""Figures of the studies of many images: the focus of votes, and how faithful interpretations are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..analysis.trials import STABILITY
from ..results.tables import counted
from .style import COLUMN, OTHERS, PALETTE, about, caption, current, drawn, new_figure, wrapped

if TYPE_CHECKING:
    from ..analysis import Faithfulness, VotesStudy

SCORES = ("score, 1 = that of x0",) * 2
IN_WORDS = {"gap": "error of F x + r", "changed": "decisions that differ"}
COLOURS = (*PALETTE[:3], OTHERS, PALETTE[5])
DASHES = ("-", "--", "-.", "-", ":")  # which are apart in grey print, too


@drawn
def focus(found: VotesStudy, text: str = ""):
    """Draw the focus of every image's top label against that of the other labels; lines mark chance."""
    figure = new_figure(COLUMN, 2.6)
    axis = figure.subplots()
    axis.plot(found.others, found.focus, "o", color=COLOURS[0], markersize=4, alpha=0.7)
    axis.axhline(1, color=current().faint, linewidth=0.6)
    axis.axvline(1, color=current().faint, linewidth=0.6)
    axis.set_xlabel("focus of the ten most popular others")
    axis.set_ylabel("focus of the top label")
    mean = found.numbers()
    said = (
        f"{counted(len(found.focus), 'image')}, variant {found.reading}:"
        f" {mean['focus']['mean']:.2f} and {mean['others']['mean']:.2f} times chance,"
        f" corrections {100 * mean['added']['mean']:.3g}%"
    )
    alt = "The focus of the votes for the top label against that for others, in multiples of chance"
    note = "focus: the share of a label's votes inside of the object's box, over the box's share of the image"
    note += "; a dot is an image, lines mark chance"
    title = "whether votes for the top label lie on the object"
    caption(figure, "\n".join(filter(None, (about(found, text), said))), note, alt, title)
    return figure


@drawn
def faithfulness(found: Faithfulness, text: str = ""):
    """Draw cascade, deletion, insertion and stability: means over the images, with bands; a policy a row.

    In one column of a page, a policy is a column of panels.
    """
    count, narrow = len(found.policies), current().narrow
    figure = new_figure(current().page, 6.5 if narrow else 1.8 + 1.5 * count)
    if narrow:
        axes = figure.subplots(5, count, squeeze=False, sharey="row").T
    else:
        axes = figure.subplots(count, 5, squeeze=False, sharex="col", sharey="col")
    for p, (policy, row) in enumerate(zip(found.policies, axes)):
        steps, cascade = range(len(found.depths)), list(zip(found.measures, found.cascade[p]))
        panels = (
            ("random weights: maps", "modules from output", steps, cascade[:4]),
            ("and votes", "modules from output", steps, cascade[4:]),
            ("deletion", "share deleted", found.fractions, zip(found.maps, found.deletion[p])),
            ("insertion", "share inserted", found.fractions, zip(found.maps, found.insertion[p])),
            ("noise", "noise / spread of x0", found.noise, zip(STABILITY, found.stability[p])),
        )
        for axis, (title, name, x, curves) in zip(row, panels):
            _lines(axis, x, dict(curves))
            if isinstance(x, range):
                axis.xaxis.get_major_locator().set_params(integer=True)
            if p == 0:
                (axis.set_ylabel if narrow else axis.set_title)(wrapped(title, 1.0))
            if p == count - 1:
                _key(figure, axis, narrow)
            if narrow or p == count - 1:
                axis.set_xlabel(name)
        if narrow:
            row[0].set_title(policy)
            continue
        for axis, name in zip(row, ("likeness to before",) * 2 + (*SCORES, "cosine, error, share")):
            axis.set_ylabel(name)
        if count > 1:
            row[0].set_ylabel(f"policy {policy}\nlikeness to before")
    said = f"{counted(found.cascade.shape[-1], 'image')}, {found.elected} labels stand for election in votes"
    said += "" if count > 1 else f", policy {found.policies[0]}"
    alt = f"Curves of cascade, deletion, insertion and stability under {', '.join(found.policies)}"
    note = (
        "likeness: cosines, rank correlations and shares of votes, against the network as it was; scores: 0"
        " is that of the baseline; bands are one standard deviation over the images"
    )
    title = "whether rows, discussions and votes depend on weights, predict deletions, and stay under noise"
    caption(figure, "\n".join(filter(None, (about(found, text), said))), note, alt, title)
    return figure


def _key(figure, axis, beside):
    """The legend of a panel, below it or beside it."""
    from matplotlib.transforms import offset_copy

    if beside:
        axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), handlelength=1)
        return
    below = offset_copy(axis.transAxes, figure, 0, -26 * current().scale, "points")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=below)


def _lines(axis, x, curves):
    """Means over the last dimension, with a band of one standard deviation."""
    for colour, dashes, (name, values) in zip(COLOURS, DASHES, curves.items()):
        mean, std = values.mean(-1).numpy(), values.std(-1, correction=0).numpy()
        label = IN_WORDS.get(name, name)
        axis.plot(np.asarray(x), mean, dashes, color=colour, linewidth=1, label=label)
        axis.fill_between(np.asarray(x), mean - std, mean + std, color=colour, alpha=0.15, linewidth=0)
