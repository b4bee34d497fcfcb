"""Figures of singular vectors, of their shapes, and of the spectrum."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import FxscopeError
from ..graph.arguments import checked
from ..linop.svd import SVD, Spectrum
from .channels import pictures
from .style import COLUMN, PAGE, TEXT, caption, new_figure, scale_bar


@checked
def eigen(found: SVD, count: int = 6, first: int = 0, text: str = ""):
    """Draw eigen-inputs in the upper row and the eigen-outputs to which F maps them below (paper, Fig. 5).

    Each row of panels has one symmetric scale. Channels are drawn as in ``fxscope.plot.row``, and the figure
    states the share of the energy that is seen. Vectors that are no images, such as scores, are curves.

    Parameters
    ----------
    found : SVD
        The result of ``lin.F.svd``.
    count : int
        Number of triplets to draw.
    first : int
        Position of the first of them.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        The title of each column is its singular value.

    Raises
    ------
    FxscopeError
        If there is no such triplet, or F has several inputs or outputs.
    """
    shown = range(first, min(first + count, len(found)))
    if not shown:
        raise FxscopeError(
            f"there are {len(found)} triplets: first={first}, count={count} shows none of them"
        )
    rows = [("v", "eigen-inputs", found.v), ("u", "eigen-outputs", found.u)]
    if not all(isinstance(vectors, torch.Tensor) for *_, vectors in rows):
        raise FxscopeError("a figure needs one input and one output: choose them with inputs= and outputs=")
    figure = new_figure(PAGE if len(shown) > 2 else COLUMN, 3.0)
    axes = figure.subplots(2, len(shown), squeeze=False)
    notes = []
    for line, (letter, name, vectors) in zip(axes, rows):
        note = _row(figure, line, [vectors[i] for i in shown], letter, shown)
        notes += [f"{name}: {note}"] if note else []
        line[0].set_ylabel(name, fontsize=TEXT)
    for axis, i in zip(axes[0], shown):
        axis.set_title(f"s{i + 1} = {float(found.s[i]):.4g}", fontsize=TEXT)
    caption(figure, text, "\n".join(notes))
    return figure


def _row(figure: Any, axes: Any, vectors: list[torch.Tensor], letter: str, numbers: Any) -> str:
    """Draw one row of panels, and return the note on its channels."""
    images = [v[0] if v.dim() == 4 and v.shape[0] == 1 else v for v in vectors]
    if images[0].dim() not in (2, 3):
        _lines(axes, images, letter)
        return ""
    found = pictures(images)
    for number, (axis, i) in enumerate(zip(axes, numbers)):
        shown = found.draw(axis, number)
        axis.set_xlabel(f"{letter}{i + 1}", fontsize=TEXT)
        axis.set_xticks([])
        axis.set_yticks([])
    scale_bar(figure, shown, list(axes), found.limit)
    return found.note


def _lines(axes: Any, vectors: list[torch.Tensor], letter: str) -> None:
    """Draw vectors that are no images, such as scores, as curves."""
    for axis, vector in zip(axes, vectors):
        axis.plot(vector.detach().flatten().double().cpu().numpy(), linewidth=0.6, color="0.2")
        axis.axhline(0, color="0.7", linewidth=0.5)
        axis.tick_params(labelsize=TEXT - 2, length=2)
        axis.set_xlabel(f"{letter}, entry", fontsize=TEXT)


@checked
def spectrum(found: Spectrum, bins: int = 30, text: str = ""):
    """Draw a histogram of all singular values, with the standard errors of its counts.

    Parameters
    ----------
    found : Spectrum
        The result of ``lin.F.spectrum``.
    bins : int
        Number of bins from 0 to the largest value.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        The counts sum to ``found.size``; their axis is linear up to 1 and logarithmic above.
    """
    edges, counts, errors = found.density(bins)
    figure = new_figure(COLUMN, 2.2)
    axis = figure.subplots()
    axis.bar(
        edges[:-1],
        counts,
        width=edges[1] - edges[0],
        align="edge",
        color="0.75",
        edgecolor="0.4",
        linewidth=0.4,
        yerr=errors,
        error_kw={"elinewidth": 0.7},
    )
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("singular value", fontsize=TEXT)
    axis.set_ylabel(f"count of {found.size}", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT - 1)
    caption(figure, text)
    return figure


@checked
def shapes(sets: dict[str, list], text: str = ""):
    """Compare the participation, frequency and orientedness of sets of singular vectors (paper, section 4).

    Parameters
    ----------
    sets : dict
        {label: ``found.shapes()``}; each has one curve.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        Three panels, against the number of the triplet.
    """
    panels = [
        ("participation", "share of the area"),
        ("frequency", "cycles a pixel"),
        ("orientedness", "0 to 1"),
    ]
    figure = new_figure(PAGE, 2.2)
    for axis, (name, unit) in zip(figure.subplots(1, 3), panels):
        for label, each in sets.items():
            axis.plot(
                range(1, len(each) + 1),
                [getattr(s, name) for s in each],
                marker="o",
                markersize=2.5,
                linewidth=0.8,
                label=label,
            )
        axis.set_title(name, fontsize=TEXT)
        axis.set_xlabel("triplet", fontsize=TEXT)
        axis.set_ylabel(unit, fontsize=TEXT)
        axis.set_ylim(bottom=0)
        axis.tick_params(labelsize=TEXT - 1)
        axis.legend(fontsize=TEXT - 2)
    caption(figure, text)
    return figure
