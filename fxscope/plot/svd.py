"""Figures of singular vectors, of their shapes, and of the spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import FxscopeError
from ..graph.arguments import checked
from ..linop.svd import SVD, Spectrum
from .channels import CLIP, Pictures, pictures
from .marks import Box, around, reach_of, show
from .photo import check_size
from .style import (
    COLUMN,
    PALETTE,
    SMALL,
    about,
    caption,
    current,
    drawn,
    inches_of,
    legend_above,
    lines,
    new_figure,
    scale_bar,
    small,
    wrapped,
)

HELD = 0.95  # of the energy of a singular vector, which the window shows that is cut around it
CUT = 0.5  # a window on more than this share of the picture is not cut out of it
ENTRIES = 10  # of a vector of scores
LINE = 6  # triplets in a line of panels, or
BESIDE = (0.4, 0.6)  # shares of a column for a picture and the names beside it
SCORES = 3  # where there are names beside bars
SIGN = "v and u have norm 1, and one sign in common that means nothing"


@checked
@drawn
def eigen(
    found: SVD,
    count: int = 6,
    first: int = 0,
    text: str = "",
    photograph: torch.Tensor | None = None,
    output: torch.Tensor | None = None,
    names: Sequence[str] | None = None,
    crop: bool = True,
):
    """Draw eigen-inputs, and below each the eigen-output to which F maps it (paper, Fig. 5).

    Each row of panels has one symmetric scale. Channels are drawn as ``channels="colour"`` of
    ``fxscope.plot.row`` does, or as "norm" over a photograph, and the figure states the share of the energy
    that is seen. Vectors of scores are drawn as their ten largest entries.

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
    photograph, output : torch.Tensor, optional
        The images x0 and y0, to be drawn in pale grey beneath the eigen-inputs and the eigen-outputs.
    names : sequence of str, optional
        The names of the classes, where the outputs are scores.
    crop : bool
        Cut a window around every vector that holds 95% of its energy, as large for all, where that is at most
        half of the picture; below it stands where it is.

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
    if not all(isinstance(vectors, torch.Tensor) for vectors in (found.v, found.u)):
        raise FxscopeError("a figure needs one input and one output: choose them with inputs= and outputs=")
    sides = [
        _Side("v", "eigen-input", [_image(found.v[i]) for i in shown], photograph, None),
        _Side("u", "eigen-output", [_image(found.u[i]) for i in shown], output, names),
    ]
    figure, places = _lay_out(sides, shown)
    for part, rows, inches in places:
        for side, row, wide in zip(sides, rows, inches):
            side.draw(figure, row, part, shown[0], crop, wide)
        for axis, i in zip(rows[0], part):
            axis.set_title(f"s{i + 1} = {float(found.s[i]):.4g}")
    values = ", ".join(f"{float(found.s[i]):.3g}" for i in shown)
    alt = f"{len(shown)} singular triplets of F, with the singular values {values}"
    kind = "eigen-images" if sides[1].is_image else "eigen-inputs v and the scores u that they move"
    title = f"{kind}: F v = s u, for the singular values {shown[0] + 1} to {shown[-1] + 1} of F"
    note = "\n".join([side.note for side in sides if side.note] + [SIGN])
    caption(figure, about(found, text), note, alt, title)
    return figure


def _lay_out(sides: list[_Side], shown: range) -> tuple[Any, list]:
    """The figure, and (numbers, axes of both sides, their inches) of every line of panels.

    Eigen-outputs stand below their eigen-inputs; beside them, if they are names and there is one column.
    """
    pictures = all(side.is_image for side in sides)
    if current().narrow and not pictures:
        figure = new_figure(COLUMN, 0.25 + 1.75 * len(shown))
        axes = figure.subplots(len(shown), 2, squeeze=False, width_ratios=BESIDE)
        return figure, [(shown, axes.T, [0.8 * COLUMN * share for share in BESIDE])]
    line = lines(len(shown))[1] if current().narrow else LINE if pictures else SCORES
    parts = [shown[i : i + line] for i in range(0, len(shown), line)]
    wide = min(line, len(shown))
    width = current().page if wide > 2 else COLUMN
    under, side = 0.4 if width / wide > 1.5 else 0.53, 0.8 * width / wide
    height = [under + side, under + (side if sides[1].is_image else 1.25)]
    figure = new_figure(width, sum(height) * len(parts))
    axes = figure.subplots(2 * len(parts), wide, squeeze=False, height_ratios=height * len(parts))
    for axis in [axis for row in axes[-2:] for axis in row[len(parts[-1]) :]]:
        axis.set_axis_off()
    pairs = zip(parts, axes.reshape(len(parts), 2, wide))
    return figure, [(part, rows, [0.86 * width / wide] * 2) for part, rows in pairs]


def _image(vector: torch.Tensor) -> torch.Tensor:
    return vector[0] if vector.dim() == 4 and vector.shape[0] == 1 else vector


class _Side:
    """The eigen-inputs or the eigen-outputs of a figure."""

    def __init__(self, letter: str, name: str, vectors: list, ground: torch.Tensor | None, names: Any):
        self.letter, self.name, self.vectors, self.names = letter, name, vectors, names
        self.is_image = vectors[0].dim() in (2, 3)
        self.ground, self.note = ground, ""
        if self.is_image:
            self.found = pictures(vectors) if ground is None else pictures(vectors, 1, "norm", CLIP)
            self.note = f"{name}s: {self.found.note}" if self.found.note else ""
            if ground is not None:
                check_size(ground, vectors[0].shape, f"an {name}")

    def draw(self, figure: Any, axes: Any, numbers: range, first: int, crop: bool, inches: float) -> None:
        """Draw the panels of one line, each of so many inches."""
        if not self.is_image:
            for axis, i in zip(axes, numbers):
                named = f"{self.name} {self.letter}{i + 1}"
                _entries(axis, self.vectors[i - first], named, self.names, inches)
            return
        axes[0].set_ylabel(f"{self.name}s")
        windows = _windows(self.found) if crop else [None] * len(self.vectors)
        for axis, i in zip(axes, numbers):
            window = windows[i - first]
            shown = _panel(axis, self.found, i - first, self.ground)
            said = f"{self.letter}{i + 1}"
            if window is not None:
                show(axis, window)
                place = f"y {window[0]}\u2013{window[1] - 1}, x {window[2]}\u2013{window[3] - 1}"
                fits = wrapped(place, inches) == place
                said += "\n" + (place if fits else place.replace(", ", "\n"))
            axis.set_xlabel(said)
        scale_bar(figure, shown, list(axes), self.found.limit, unit=f"entry of {self.letter}")


def _panel(axis: Any, found: Pictures, number: int, ground: torch.Tensor | None) -> Any:
    """Draw a vector, over its photograph if there is one; returns what a colour bar is made of."""
    shown = found.draw(axis, number)
    if ground is not None:
        axis.images[-1].remove()
        found.over(axis, number, ground)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)
    return shown


def _windows(found: Pictures) -> list[Box | None]:
    """Squares of one size around the vectors, each with most of its energy; None where they are large."""
    shape = found.strength[0].shape
    centres = []
    for strength in found.strength:
        energy = np.square(strength / (strength.max() or 1.0))
        total = energy.sum() or 1.0
        centres.append([float((grid * energy).sum() / total) for grid in np.indices(shape)])
    reach = max(reach_of(s, y, x, HELD) for s, (y, x) in zip(found.strength, centres)) + 2
    if (2 * reach + 1) ** 2 > CUT * shape[0] * shape[1]:
        return [None] * len(centres)
    inside = [[min(max(c, reach), n - 1 - reach) for c, n in zip(centre, shape)] for centre in centres]
    windows: list[Box | None] = [around(shape, y, x, reach) for y, x in inside]
    return windows


def _entries(axis: Any, vector: torch.Tensor, name: str, names: Sequence[str] | None, inches: float) -> None:
    """Draw the largest entries of a vector of scores as bars, each beside its name."""
    values = vector.detach().flatten().double().cpu()
    order = values.abs().argsort(descending=True)[:ENTRIES].tolist()
    largest = float(values.abs().max()) or 1.0
    for y, i in enumerate(order):
        value = float(values[i])
        axis.barh(y, value, height=0.75, color=PALETTE[1] if value > 0 else PALETTE[0])
        said = str(i) if names is None else _short(names[i], 0.5 * inches)
        side = "right" if value > 0 else "left"
        axis.text(-np.copysign(0.06 * largest, value), y, said, ha=side, va="center", fontsize=small())
    axis.axvline(0, color=current().faint, linewidth=0.5)
    axis.set_xlim(-1.15 * largest, 1.15 * largest)
    axis.set_ylim(len(order) - 0.4, -0.6)
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)
    axis.set_xticks([-largest, 0, largest], [f"{-largest:.2g}", "0", f"{largest:.2g}"])
    more = len(values) - len(order)
    said = f"{name}: the {len(order)} largest of {len(values)} entries" if more else f"{name}: entries"
    axis.set_xlabel(wrapped(said, inches))


def _short(name: str, inches: float) -> str:
    """A name without its end, if it does not fit."""
    kept = len(name)
    while kept > 1 and inches_of(name[:kept], SMALL) > inches:
        kept -= 1
    return name if kept == len(name) else name[: kept - 1] + "\u2026"


@checked
@drawn
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
        color=PALETTE[0],
        edgecolor=current().paper,
        linewidth=0.4,
        yerr=errors,
        error_kw={"elinewidth": 0.7, "ecolor": current().ink},
    )
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("singular value")
    axis.set_ylabel("number of them")
    largest = float(edges[-1])
    alt = f"A histogram of the {found.size} singular values of F in {bins} bins from 0 to {largest:.3g}"
    note = (
        f"estimated with {len(found.nodes)} random probes, {found.passes} products with F or its transpose;"
        " lines are standard errors; the counts are linear up to 1, logarithmic above"
    )
    title = f"all {found.size} singular values of F"
    caption(figure, about(found, text), note, alt, title)
    return figure


@checked
@drawn
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
        ("orientedness", "0: all directions, 1: one"),
    ]
    narrow = current().narrow
    figure = new_figure(current().page, 4.2 if narrow else 2.2)
    for axis, (name, unit) in zip(figure.subplots(*((3, 1) if narrow else (1, 3))), panels):
        for label, each in sets.items():
            axis.plot(
                range(1, len(each) + 1),
                [getattr(s, name) for s in each],
                marker="o",
                markersize=2.5,
                linewidth=0.8,
                label=label,
            )
        axis.set_title(name)
        axis.set_xlabel("singular value, from the largest")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_ylabel(wrapped(unit, 0.8) if narrow else unit)
        axis.set_ylim(bottom=0)
    legend_above(figure, figure.axes[0].get_legend_handles_labels()[0])
    said = (
        f"{label}: {', '.join(f'{n} {np.mean([getattr(s, n) for s in each]):.2g}' for n, _ in panels)}"
        for label, each in sets.items()
    )
    alt = f"How localised, bandpass and oriented singular vectors are; means of {'; '.join(said)}"
    note = "participation: on how much of the area a vector lies; orientedness: whether it has one direction"
    caption(figure, text, note, alt, "how localised, bandpass and oriented singular vectors of F are")
    return figure
