"""Figures of singular vectors and of the spectrum."""

from __future__ import annotations

from typing import Any

import torch

from ..errors import FxscopeError
from .style import COLUMN, PAGE, SIGNED, TEXT, as_picture, caption, limit_of, new_figure, scale_bar


def eigen(found: Any, count: int = 6, first: int = 0, text: str = ""):
    """Eigen-inputs above, and below them the eigen-outputs that they turn into.

    Each row of panels has one symmetric scale and shows the mean over channels. Scores are drawn as a line.

    Parameters
    ----------
    found : SVD
        The result of ``F.svd``.
    count, first : int
        How many triplets are shown, and the first of them.

    Raises
    ------
    FxscopeError
        If there is no triplet to show.
    """
    shown = range(first, min(first + count, len(found)))
    if not shown:
        raise FxscopeError(f"there are {len(found)} triplets; first={first}, count={count} shows none")
    rows = [("v", "eigen-inputs", found.v), ("u", "eigen-outputs", found.u)]
    if not all(isinstance(vectors, torch.Tensor) for *_, vectors in rows):
        raise FxscopeError("figures are of one input and one output; name them with inputs= and outputs=")
    figure = new_figure(PAGE if len(shown) > 2 else COLUMN, 3.0)
    axes = figure.subplots(2, len(shown), squeeze=False)
    for line, (letter, name, vectors) in zip(axes, rows):
        _row(figure, line, [vectors[i] for i in shown], letter, shown)
        line[0].set_ylabel(name, fontsize=TEXT)
    for axis, i in zip(axes[0], shown):
        axis.set_title(f"s{i + 1} = {float(found.s[i]):.4g}", fontsize=TEXT)
    caption(figure, text)
    return figure


def _row(figure: Any, axes: Any, vectors: list[torch.Tensor], letter: str, numbers: Any) -> None:
    images = [v[0] if v.dim() == 4 and v.shape[0] == 1 else v for v in vectors]
    if images[0].dim() not in (2, 3):
        return _lines(axes, images, letter)
    pictures = [as_picture(v) for v in images]
    limit = limit_of(pictures)
    for axis, picture, i in zip(axes, pictures, numbers):
        shown = axis.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_xlabel(f"{letter}{i + 1}", fontsize=TEXT)
        axis.set_xticks([])
        axis.set_yticks([])
    scale_bar(figure, shown, list(axes), limit)


def _lines(axes: Any, vectors: list[torch.Tensor], letter: str) -> None:
    """Scores, or another vector that is no image."""
    for axis, vector in zip(axes, vectors):
        axis.plot(vector.detach().flatten().double().cpu().numpy(), linewidth=0.6, color="0.2")
        axis.axhline(0, color="0.7", linewidth=0.5)
        axis.tick_params(labelsize=TEXT - 2, length=2)
        axis.set_xlabel(f"{letter}, entry", fontsize=TEXT)


def spectrum(found: Any, bins: int = 30, text: str = ""):
    """A histogram of all singular values with the standard errors of its counts, from ``F.spectrum``."""
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


def shapes(sets: dict[str, list], text: str = ""):
    """Participation, frequency and orientedness of sets of vectors, {name: result.shapes()}."""
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
