"""Figures of the records of ``fxscope.analysis``. Each function returns a matplotlib ``Figure``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..graph.interpretation import together
from ..results.tables import counted
from .bars import by_layer as by_layer
from .channels import WEIGHT, mixed_panels, pictures
from .layers import counted_all, said_about
from .layers import layers as layers
from .marks import mark, outline
from .photo import photo, rescaled, sizes, with_places
from .style import (
    COLUMN,
    PALETTE,
    about,
    caption,
    current,
    drawn,
    lines,
    new_figure,
    panels_in_lines,
    scale_bar,
    small,
    wrapped,
)
from .votes import discussion as discussion
from .votes import votes as votes

if TYPE_CHECKING:
    from ..analysis import FGSM, Diagonal, Energy, Invariance, Reach, ResidualShare, Source

STYLES = ("-", "--", "-.", ":")
LARGE = 2.0  # inches of a panel among others: larger ones would only be farther apart


@drawn
def residual_share(found: ResidualShare, text: str = ""):
    """Draw the mean residual share of every network as a bar, with the standard deviation over the images.

    The figure says where zero lies.
    """
    count = len(found.models)
    figure = new_figure(COLUMN, 0.75 + 0.24 * count)
    axis = figure.subplots()
    means, stds = [100 * m.mean for m in found.models], [100 * m.std for m in found.models]
    style = {"ecolor": current().ink, "error_kw": {"elinewidth": 0.7}, "capsize": 2}
    axis.barh(range(count), means, xerr=stds, color=PALETTE[0], height=0.6, **style)
    axis.axvline(0, color=current().faint, linewidth=0.6)
    axis.set_yticks(range(count), [wrapped(m.name, 1.3) for m in found.models])
    axis.set_ylim(count - 0.4, -0.6)
    axis.set_xlabel("r / y of the top score, %")
    said = ", ".join(f"{m.name} {100 * m.mean:.3g}% \u00b1 {100 * m.std:.2g}" for m in found.models)
    zero = said_about([(m.name, m.zero) for m in found.models])
    counts = counted_all((len(m.shares) for m in found.models), "image")
    errors = [m.error for m in found.models if m.error is not None]
    note = f"{zero}; {counts}, lines are one standard deviation over them"
    note += f"; sums to {max(errors):.0e}" if errors else ""
    title = "the share of r in the top score"
    caption(figure, about(found, text), note, f"The residual's share of the top score: {said}", title)
    return figure


@drawn
def fgsm(found: FGSM, text: str = ""):
    """Draw the share of the images whose label changes, against the step size."""
    figure = new_figure(COLUMN, 2.0)
    axis = figure.subplots()
    axis.plot([255 * e for e in found.epsilons], 100 * found.success.numpy(), "o-", color=PALETTE[0])
    axis.set_xlabel("size of the step, 1/255 of the range of a pixel")
    axis.set_ylabel("labels that change, %")
    axis.set_ylim(-3, 103)
    said = ", ".join(f"{100 * float(s):.3g}% at {255 * e:.3g}" for e, s in zip(found.epsilons, found.success))
    note = counted(len(found.images[0]), "image")
    title = "labels that one step of FGSM changes"
    caption(figure, about(found, text), note, f"The share of the labels that change: {said}", title)
    return figure


@drawn
def energies(
    found: dict[str, Energy],
    text: str = "",
    photograph: torch.Tensor | None = None,
    places: Sequence[tuple[int, int]] = (),
):
    """Draw the share of a filter's energy within a distance of its place, one curve for each network.

    The places are marked in the photograph, which stands beside the curves.
    """
    together(found.values(), "a figure")
    figure = new_figure(COLUMN if photograph is None else current().page, 2.2)
    axis = with_places(figure, photograph, places)
    for i, (name, each) in enumerate(found.items()):
        axis.plot(100 * each.share.numpy(), STYLES[i % 4], label=name, linewidth=1.2)
    axis.axhline(90, color=current().faint, linewidth=0.5)
    furthest = max(max(e.radius(0.999) for e in found.values()) + 2, 4)
    axis.annotate("90%", (furthest, 90), xytext=(0, -2), textcoords="offset points", ha="right", va="top")
    axis.set_xlim(0, furthest)
    axis.set_ylim(0, 102)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.set_xlabel("distance from the place, pixels")
    axis.set_ylabel("energy within, %")
    if any(found):
        axis.legend(loc="lower right")
    said = ", ".join(f"{n + ' ' if n else ''}{e.radius(0.9)} pixels" for n, e in found.items())
    alt = f"The share of a filter's energy within a distance; 90% is within {said}"
    note = f"a mean over filters; distance: the larger of |y - y0| and |x - x0|; 90% within {said}"
    title = "how far filters of F reach"
    caption(figure, text, "; ".join(filter(None, (note, rescaled(photograph)))), alt, title)
    return figure


def aligned(found: Invariance, text: str = ""):
    """Draw the aligned filters side by side, on one scale where none looks blank on it."""
    panels = {f"place {i + 1}": f for i, f in enumerate(found.filters)}
    differ = f"filters of F around their places: they differ by {100 * found.spread:.2g}% of their energy"
    return filter_row(panels, text=text, title=differ)


@drawn
def off_diagonals(found: dict[str, Diagonal], text: str = ""):
    """Draw the off-diagonal share of every row as a dot and the mean as a bar, for each network."""
    together(found.values(), "a figure")
    figure = new_figure(COLUMN, 2.0)
    axis = figure.subplots()
    for i, each in enumerate(found.values()):
        axis.bar(i, 100 * each.mean, color=PALETTE[0], alpha=0.6, width=0.6)
        axis.plot([i] * len(each.off), 100 * each.off.numpy(), ".", color=current().ink, markersize=3)
    axis.set_xticks(range(len(found)), [wrapped(name, 2.6 / len(found)) for name in found])
    axis.set_xlim(-1, len(found))
    axis.set_ylabel("share of the energy, %")
    radius = next(iter(found.values())).radius
    note = (
        f"a dot is a filter, a bar the mean of {counted_all((len(e.off) for e in found.values()), 'filter')}"
    )
    said = ", ".join(f"{name} {100 * e.mean:.3g}%" for name, e in found.items())
    alt = f"The mean share of a filter's energy off the diagonal: {said}"
    title = f"energy of filters of F more than {radius} pixels from their place"
    caption(figure, text, note, alt, title)
    return figure


@drawn
def source(found: Source, text: str = "", photograph: Any = None):
    """Draw a row, with circles around the place of its output and around the strongest window elsewhere."""
    from matplotlib.patches import Circle

    panels = 1 + (photograph is not None)
    figure = new_figure(COLUMN, 2.2, pictures=True)
    axes = np.atleast_1d(figure.subplots(1, panels))
    seen = pictures([found.row[0]], rule="norm", saturate=4)
    if photograph is not None:
        photo(axes[0], photograph, "input")
    shown = seen.draw(axes[-1])
    axes[-1].set_title("filter")
    axes[-1].set_axis_off()
    top, left = (c - found.window // 2 for c in found.source)
    ink = "k" if not current().dark else "w"
    for axis in axes:
        axis.add_patch(Circle(found.place[::-1], found.radius, fill=False, color=ink, linewidth=1))
        outline(axis, (top, top + found.window, left, left + found.window), colour="#aa7700")
    scale_bar(figure, shown, [axes[-1]], seen.limit, unit=WEIGHT)
    note = (
        f"circle: {found.radius} px around its place {found.place}; square: the strongest window elsewhere,"
        f" with {100 * found.share:.3g}% of the energy; {100 * found.off:.3g}% lies outside of the circle"
    )
    alt = f"A row whose place is {found.place} and whose strongest source elsewhere is {found.source}"
    title = f"where the output at {found.place} reads from"
    caption(figure, text, "; ".join(filter(None, (note, seen.note, rescaled(photograph)))), alt, title)
    return figure


@drawn
def reach(found: Reach, text: str = "", photograph: Any = None):
    """Draw the magnitude of the same row under every variant of instance norm, on a logarithmic scale.

    The square marks the pixels that the convolutions alone can reach.
    """
    photograph = found._photograph if photograph is None else photograph
    count = len(found.rows) + (photograph is not None)
    deep, across = lines(count)
    side = min(0.92 * current().page / across, 1.9)
    figure = new_figure(current().page, 0.25 + deep * (0.45 + side), pictures=True)
    axes = panels_in_lines(figure, count)
    top = max(float(r.square().sum(0).sqrt().max()) for r in found.rows.values())
    y, x = found.place
    if photograph is not None:
        photo(axes[0], photograph, "input")
        mark(axes[0], y, x, max(photograph.shape[-2:]), 1.6)
        axes = axes[1:]
    for axis, (name, row) in zip(axes, found.rows.items()):
        size = row.square().sum(0).sqrt().double().numpy() / (top or 1.0)
        shown = axis.imshow(
            np.log10(np.maximum(size, 1e-8)), cmap="magma", vmin=-8, vmax=0, interpolation="nearest"
        )
        b = found.bound
        outline(axis, (y - b, y + b + 1, x - b, x + b + 1), colour="#66ccee")
        mark(axis, y, x, max(row.shape[1:]), 2, "w")
        axis.set_title(f"norm: {name}\n{100 * found.beyond[name]:.2g}% outside")
        axis.set_axis_off()
        axis.set_xlim(-0.5, row.shape[-1] - 0.5)
        axis.set_ylim(row.shape[-2] - 0.5, -0.5)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=28, pad=0.01, ticks=[-8, -4, 0])
    bar.ax.set_yticklabels(["1e-8", "1e-4", "1"])
    bar.set_label("|weight| / the largest", fontsize=small(), labelpad=1)
    said = ", ".join(f"{name} {100 * share:.2g}%" for name, share in found.beyond.items())
    note = (
        f"magnitude over the channels; square: {found.bound} pixels to each side of {found.place}, which"
        f" convolutions reach, and the share of the energy outside of it"
    )
    note = "; ".join(filter(None, (note, rescaled(photograph))))
    alt = f"One row under the variants of instance norm; energy beyond the square: {said}"
    index = ", ".join(map(str, found.index))
    title = f"receptive filter of y0[{index}], by what is frozen of the instance norms"
    caption(figure, about(found, text), note, alt, title)
    return figure


def filter_row(panels: dict[str, torch.Tensor], text: str = "", title: str = ""):
    """Draw filters side by side, with corners around the middle of each.

    They share a symmetric scale where none of them would look blank on it.
    """
    return grid(panels, len(panels), text=text, title=title)


@drawn
def grid(
    panels: dict[str, torch.Tensor],
    columns: int,
    cross: bool = True,
    text: str = "",
    images: Collection[str] = (),
    channels: str = "norm",
    title: str = "",
):
    """Draw filters in rows of ``columns`` panels.

    Each row of panels has one symmetric scale where none of them would look blank on it. Corners mark the
    middle of each panel where ``cross`` is set. The panels named in ``images`` are photographs in [0, 1] and
    drawn as such; ``channels`` is that of ``fxscope.plot.row``.
    """
    rows = [list(panels.items())[i : i + columns] for i in range(0, len(panels), columns)]
    width = COLUMN if columns <= 2 else current().page
    deep, across = lines(columns)
    side = width / across
    high = 0.35 + (min(side, LARGE) + 0.25) * deep * len(rows)
    alike = len({each.shape[-2] / each.shape[-1] for each in panels.values()}) == 1
    figure, notes = new_figure(width, high, pictures=alike), []
    cells = figure.subplots(deep * len(rows), across, squeeze=False).reshape(len(rows), -1)
    for axes, line in zip(cells, rows):
        for axis in axes[len(line) :]:
            axis.remove()
        given = {wrapped(title, side): values for title, values in line}
        named = given if len(given) == len(line) else dict(line)
        pictured = [new for new, (old, _) in zip(named, line) if old in images]
        notes.append(mixed_panels(figure, axes, named, pictured, cross, channels))
    names = ", ".join(title for title in panels if title not in images)
    alt = f"{len(panels) - len(set(images) & set(panels))} filters side by side: {names}"
    notes += ["corners mark the middle of a panel"] if cross else []
    caption(figure, text, "\n".join(dict.fromkeys(filter(None, notes))), alt, title)
    return figure


@drawn
def marked(panels: dict[str, torch.Tensor], places: list | dict[str, list], text: str = ""):
    """Draw photographs with numbered places (y, x): one list for all panels, or {title: list}."""
    from matplotlib.patheffects import withStroke

    deep, across = lines(len(panels))
    width = COLUMN if len(panels) <= 2 else current().page
    figure = new_figure(width, 0.25 + deep * (0.2 + min(0.86 * width / across, LARGE)))
    for axis, (title, image) in zip(panels_in_lines(figure, len(panels)), panels.items()):
        photo(axis, image, wrapped(title, width / across))
        for i, (y, x) in enumerate(places[title] if isinstance(places, dict) else places):
            mark(axis, y, x, max(image.shape[-2:]), 1.6)
            axis.annotate(
                str(i + 1),
                (x, y),
                xytext=(5, 4),
                textcoords="offset points",
                color="k",
                fontweight="bold",
                path_effects=[withStroke(linewidth=2.5, foreground="w")],
            )
    note = "; ".join(filter(None, {rescaled(image) for image in panels.values()}))
    note = "; ".join(filter(None, (f"{sizes(panels)}", note)))
    caption(figure, text, note, f"Photographs with numbered places: {', '.join(panels)}")
    return figure


@drawn
def tokens(linear: torch.Tensor, residual: torch.Tensor, text: str = ""):
    """Draw the norms of F x0 and of r at every token."""
    figure = new_figure(current().page, 2.0)
    axis = figure.subplots()
    x = np.arange(len(linear))
    axis.bar(x - 0.2, linear.numpy(), width=0.4, color=current().base, label="|F x0|")
    axis.bar(x + 0.2, residual.numpy(), width=0.4, color=PALETTE[0], label="|r|")
    axis.set_xlabel("token")
    axis.set_ylabel("norm")
    axis.xaxis.get_major_locator().set_params(integer=True)
    figure.legend(ncols=2, loc="outside upper center")
    alt = f"The norms of F x0 and of r at {len(x)} tokens; the largest |r| is {float(residual.max()):.3g}"
    note = "F x0: the part that is linear in the input; r: what all constants add; in units of the output"
    caption(figure, text, note, alt, "F x0 and r at every token of the output")
    return figure
