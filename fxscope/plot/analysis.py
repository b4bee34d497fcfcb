"""Figures of the records of ``fxscope.analysis``. Each function returns a matplotlib ``Figure``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..graph.interpretation import together
from .channels import pictures, signed_panels
from .style import COLUMN, PAGE, SIGNED, TEXT, caption, new_figure, scale_bar

if TYPE_CHECKING:
    from ..analysis import (
        FGSM,
        Diagonal,
        Energy,
        Invariance,
        LayerContributions,
        PixelDiscussion,
        PixelVotes,
        Reach,
        ResidualShare,
        Source,
    )

CUT = 99.5  # percentile of |contribution| at which the colours saturate; the colour bar prints this limit


def residual_share(found: ResidualShare, text: str = ""):
    """Draw the mean residual share of every network as a bar, with the standard deviation over the images.

    The figure says where zero lies.
    """
    figure = new_figure(PAGE if len(found.models) > 6 else COLUMN, 2.3)
    axis = figure.subplots()
    means, stds = [100 * m.mean for m in found.models], [100 * m.std for m in found.models]
    axis.bar(range(len(means)), means, yerr=stds, color="#4477aa", ecolor="0.3", capsize=3, width=0.6)
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.set_xticks(
        range(len(means)),
        [m.name for m in found.models],
        fontsize=TEXT - 1,
        rotation=30 if len(means) > 4 else 0,
        ha="right" if len(means) > 4 else "center",
    )
    axis.set_ylabel("r / y of the top score, %", fontsize=TEXT)
    axis.tick_params(axis="y", labelsize=TEXT - 1)
    caption(figure, text, _about([(m.name, m.zero) for m in found.models]))
    return figure


def layers(found: dict[str, LayerContributions], text: str = ""):
    """Draw the mean share of F x0 and of every layer, with a band of one standard deviation.

    Every network has a panel; all panels have the same scale. The figure says where zero lies.
    """
    together(found.values(), "a figure")
    figure = new_figure(PAGE if len(found) > 1 else COLUMN, 2.5)
    axes = np.atleast_1d(figure.subplots(1, len(found), sharey=True))
    for axis, (title, each) in zip(axes, found.items()):
        mean, std = 100 * each.mean.numpy(), 100 * each.std.numpy()
        x, layers = np.arange(len(mean)), len(each.names)
        axis.bar(x, mean, color=["#555555"] * (len(mean) - layers) + ["#4477aa"] * layers, width=0.75)
        axis.use_sticky_edges = False
        axis.bar(x, 2 * std, bottom=mean - std, color="#ee6677", alpha=0.3, width=0.75)
        axis.axhline(0, color="0.5", linewidth=0.5)
        names = each.parts
        axis.set_xticks(
            x if len(x) <= 24 else [], names if len(x) <= 24 else [], rotation=90, fontsize=TEXT - 2
        )
        axis.set_title(title, fontsize=TEXT)
        axis.tick_params(axis="y", labelsize=TEXT - 1)
    axes[0].set_ylabel("share of the score, %", fontsize=TEXT)
    caption(figure, text, _about([(title, each.zero) for title, each in found.items()]))
    return figure


def _about(zeros: list[tuple[str, str]]) -> str:
    """Where zero lies, for all networks or for each; (network, zero)."""
    if len({zero for _, zero in zeros}) == 1:
        return f"shares about {zeros[0][1]}"
    return "\n".join(f"{name}: shares about {zero}" for name, zero in zeros)


def discussion(found: PixelDiscussion, text: str = "", names: Any = None):
    """Draw the photograph and its pixel discussions on one symmetric scale.

    The parts of the channels of a pixel are summed. The colours saturate at the percentile ``CUT`` of the
    magnitudes.
    """
    sums = [_summed(i[0] if i.dim() == 4 else i) for i in found.images]
    limit = float(np.percentile(np.abs(np.stack(sums)), CUT)) or 1.0
    figure = new_figure(PAGE, 1.9)
    axes = np.atleast_1d(figure.subplots(1, 1 + len(sums)))
    _photo(axes[0], found._photograph[0], "x0")
    for axis, picture, label, score in zip(
        axes[1:], sums, found.labels, found.scores.reshape(len(sums), -1)[:, 0]
    ):
        shown = axis.imshow(picture, cmap=SIGNED, vmin=-limit, vmax=limit, interpolation="nearest")
        axis.set_title(f"{_named(names, label)}: {float(score):.2f}", fontsize=TEXT)
        axis.set_axis_off()
    scale_bar(figure, shown, list(axes[1:]), limit)
    caption(figure, _with_added(found, text))
    return figure


def votes(found: PixelVotes, text: str = "", names: Any = None, photograph: Any = None, top: int = 3):
    """Draw the photograph, the winner of every pixel, and the pixels won by each of the ``top`` labels."""
    photograph = found._photograph[0] if photograph is None else photograph
    first = list(found.popularity.items())[:top]
    figure = new_figure(PAGE, 1.9)
    axes = figure.subplots(1, 2 + len(first))
    _photo(axes[0], photograph, "x0")
    winners = (found.winners if found.winners.dim() == 2 else found.winners[0]).cpu().numpy()
    if len(found.labels) <= 10:
        shown = axes[1].imshow(winners, cmap="tab10", vmin=-0.5, vmax=9.5, interpolation="nearest")
        bar = figure.colorbar(shown, ax=axes[1], shrink=0.8, ticks=range(len(found.labels)))
        bar.ax.set_yticklabels([_named(names, label) for label in found.labels], fontsize=TEXT - 2)
    else:
        axes[1].imshow(winners, cmap="nipy_spectral", interpolation="nearest")
    axes[1].set_title("votes", fontsize=TEXT)
    axes[1].set_axis_off()
    for axis, (label, share) in zip(axes[2:], first):
        mask = found.mask(label)
        _photo(
            axis,
            photograph,
            f"{_named(names, label)}: {100 * share:.1f}%",
            mask if mask.dim() == 2 else mask[0],
        )
    caption(figure, _with_added(found, text))
    return figure


def fgsm(found: FGSM, text: str = ""):
    """Draw the share of the images whose label changes, against the step size."""
    figure = new_figure(COLUMN, 2.0)
    axis = figure.subplots()
    axis.plot([255 * e for e in found.epsilons], 100 * found.success.numpy(), "o-", color="#4477aa")
    axis.set_xlabel("step, 1/255", fontsize=TEXT)
    axis.set_ylabel("label changed, %", fontsize=TEXT)
    axis.set_ylim(-3, 103)
    axis.tick_params(labelsize=TEXT - 1)
    caption(figure, text)
    return figure


def energies(found: dict[str, Energy], text: str = ""):
    """Draw the share of a row's energy within a distance of its place, one curve for each network."""
    together(found.values(), "a figure")
    figure = new_figure(COLUMN, 2.2)
    axis = figure.subplots()
    styles = ("-", "--", "-.", ":")
    for i, (name, each) in enumerate(found.items()):
        axis.plot(100 * each.share.numpy(), styles[i % 4], label=name, linewidth=1.2)
    axis.axhline(90, color="0.6", linewidth=0.5)
    furthest = max(max(e.radius(0.999) for e in found.values()) + 2, 4)
    axis.set_xlim(0, furthest)
    axis.set_ylim(0, 102)
    axis.set_xlabel("distance, pixels", fontsize=TEXT)
    axis.set_ylabel("energy within, %", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT - 1)
    if any(found):
        axis.legend(fontsize=TEXT - 1, frameon=False, loc="lower right")
    caption(figure, text)
    return figure


def aligned(found: Invariance, text: str = ""):
    """Draw the aligned filters side by side on one scale."""
    return filter_row({f"{i}": f for i, f in enumerate(found.filters)}, text=text)


def off_diagonals(found: dict[str, Diagonal], text: str = ""):
    """Draw the off-diagonal share of every row as a dot and the mean as a bar, for each network."""
    together(found.values(), "a figure")
    figure = new_figure(COLUMN, 2.0)
    axis = figure.subplots()
    for i, each in enumerate(found.values()):
        axis.bar(i, 100 * each.mean, color="#4477aa", alpha=0.5, width=0.6)
        axis.plot([i] * len(each.off), 100 * each.off.numpy(), ".", color="0.2", markersize=3)
    axis.set_xticks(range(len(found)), list(found), fontsize=TEXT - 1)
    axis.set_ylabel("energy off the diagonal, %", fontsize=TEXT)
    axis.tick_params(axis="y", labelsize=TEXT - 1)
    caption(figure, text)
    return figure


def source(found: Source, text: str = "", photograph: Any = None):
    """Draw a row, with circles around the place of its output and around the strongest window elsewhere."""
    from matplotlib.patches import Circle

    figure = new_figure(COLUMN, 2.1)
    axes = figure.subplots(1, 2) if photograph is not None else [figure.subplots()]
    seen = pictures([found.row[0]], saturate=4)
    if photograph is not None:
        _photo(axes[0], photograph, "x0")
    shown = seen.draw(axes[-1])
    axes[-1].set_title("receptive filter", fontsize=TEXT)
    axes[-1].set_axis_off()
    for axis in axes:
        axis.add_patch(Circle(found.place[::-1], found.radius, fill=False, color="k", linewidth=1))
        axis.add_patch(Circle(found.source[::-1], found.window, fill=False, color="#bb9900", linewidth=1.4))
    scale_bar(figure, shown, list(axes), seen.limit)
    caption(figure, text, seen.note)
    return figure


def reach(found: Reach, text: str = ""):
    """Draw the magnitude of the same row under every variant of instance norm, on a logarithmic scale.

    The square marks the pixels that the convolutions alone can reach.
    """
    from matplotlib.patches import Rectangle

    figure = new_figure(PAGE, 2.5)
    axes = figure.subplots(1, len(found.rows))
    top = max(float(r.square().sum(0).sqrt().max()) for r in found.rows.values())
    y, x = found.place
    for axis, (name, row) in zip(axes, found.rows.items()):
        size = row.square().sum(0).sqrt().double().numpy() / top
        shown = axis.imshow(
            np.log10(np.maximum(size, 1e-8)), cmap="magma", vmin=-8, vmax=0, interpolation="nearest"
        )
        axis.add_patch(
            Rectangle(
                (x - found.bound - 0.5, y - found.bound - 0.5),
                2 * found.bound + 1,
                2 * found.bound + 1,
                fill=False,
                color="#66ccee",
                linewidth=1,
            )
        )
        axis.plot(x, y, "+", color="w", markersize=6)
        axis.set_title(f"{name}: {100 * found.beyond[name]:.2g}% beyond", fontsize=TEXT)
        axis.set_axis_off()
        axis.set_xlim(-0.5, row.shape[-1] - 0.5)
        axis.set_ylim(row.shape[-2] - 0.5, -0.5)
    bar = figure.colorbar(shown, ax=list(axes), shrink=0.8, ticks=[-8, -4, 0])
    bar.ax.set_yticklabels(["1e-8", "1e-4", "1"], fontsize=TEXT - 1)
    caption(figure, text)
    return figure


def filter_row(panels: dict[str, torch.Tensor], text: str = ""):
    """Draw filters side by side on one symmetric scale, with a cross in the middle of each."""
    width = min(PAGE, max(COLUMN, 1.35 * len(panels)))
    figure = new_figure(width, 1.25 * width / len(panels) + 0.35)
    note = signed_panels(figure, np.atleast_1d(figure.subplots(1, len(panels))), panels, cross=True)
    caption(figure, text, note)
    return figure


def grid(panels: dict[str, torch.Tensor], columns: int, cross: bool = True, text: str = ""):
    """Draw filters in rows of ``columns`` panels.

    Each row of panels has one symmetric scale. A cross marks the middle of each panel.
    """
    lines = [list(panels.items())[i : i + columns] for i in range(0, len(panels), columns)]
    figure, notes = new_figure(min(PAGE, 1.72 * columns), 1.62 * len(lines)), []
    for axes, line in zip(figure.subplots(len(lines), columns, squeeze=False), lines):
        for axis in axes[len(line) :]:
            axis.set_axis_off()
        notes.append(signed_panels(figure, axes, dict(line), cross, TEXT - 1))
    caption(figure, text, "\n".join(dict.fromkeys(filter(None, notes))))
    return figure


def marked(panels: dict[str, torch.Tensor], places: list | dict[str, list], text: str = ""):
    """Draw photographs with numbered places (y, x): one list for all panels, or {title: list}."""
    from matplotlib.patheffects import withStroke

    outline = withStroke(linewidth=2.5, foreground="w")
    figure = new_figure(COLUMN if len(panels) > 1 else COLUMN / 2, 1.9)
    for axis, (title, image) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items()):
        _photo(axis, image, title)
        for i, (y, x) in enumerate(places[title] if isinstance(places, dict) else places):
            axis.plot(x, y, "+", color="k", markersize=7, markeredgewidth=1.1, path_effects=[outline])
            axis.annotate(
                str(i + 1),
                (x, y),
                xytext=(3, 3),
                textcoords="offset points",
                fontsize=TEXT + 1,
                color="k",
                fontweight="bold",
                path_effects=[outline],
            )
    caption(figure, text)
    return figure


def _photo(axis: Any, image: torch.Tensor, title: str, mask: Any = None) -> None:
    """Show a photograph; values outside of [0, 1] are rescaled, and pixels outside of the mask are faint."""
    data = image.detach().double().cpu()
    low, high = (0.0, 1.0) if data.min() >= 0 and data.max() <= 1 else (float(data.min()), float(data.max()))
    data = (data - low) / ((high - low) or 1.0)
    data = data if data.shape[0] == 3 else data.mean(0, keepdim=True).expand(3, -1, -1)
    if mask is not None:
        faint = torch.tensor([0.62, 0.62, 0.68], dtype=data.dtype)[:, None, None]
        data = torch.where(mask, data, 0.12 * data + 0.88 * faint)
    axis.imshow(data.permute(1, 2, 0).numpy(), interpolation="nearest")
    axis.set_title(title, fontsize=TEXT)
    axis.set_axis_off()


def _summed(parts: torch.Tensor) -> np.ndarray:
    """The sum over channels of the parts of a score, (C, H, W) or (H, W)."""
    data = parts.detach().double().cpu()
    return (data if data.dim() == 2 else data.sum(0)).numpy()


def _with_added(found: PixelDiscussion | PixelVotes, text: str) -> str:
    """The caption, with the variant of eq. 18 and what it added to the pixels' own contributions."""
    said = f"{found.reading}; corrections {100 * found.added:.3g}% of the layers' contributions"
    return f"{text}\n{said}" if text else said


def _named(names: Any, label: Any) -> str:
    return str(label) if names is None else str(names[label])


def tokens(linear: torch.Tensor, residual: torch.Tensor, text: str = ""):
    """Draw the norms of F x0 and of r at every token."""
    figure = new_figure(PAGE, 2.0)
    axis = figure.subplots()
    x = np.arange(len(linear))
    axis.bar(x - 0.2, linear.numpy(), width=0.4, color="#555555", label="|F x0|")
    axis.bar(x + 0.2, residual.numpy(), width=0.4, color="#4477aa", label="|r|")
    axis.set_xlabel("token", fontsize=TEXT)
    axis.tick_params(labelsize=TEXT - 1)
    axis.legend(fontsize=TEXT - 1, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    caption(figure, text)
    return figure


def by_layer(values: dict[str, float], output: float, text: str = ""):
    """Draw F x0 and the constants of every layer, {name: value} in graph order, with their running sum."""
    figure = new_figure(PAGE, 2.6)
    axis = figure.subplots()
    x, heights = np.arange(len(values)), np.array([float(v) for v in values.values()])
    axis.bar(x, heights, color=["#555555"] + ["#4477aa"] * (len(values) - 1), width=0.75)
    axis.plot(x, heights.cumsum(), color="k", linewidth=0.8, marker=".", markersize=3, label="running sum")
    axis.axhline(0, color="0.5", linewidth=0.5)
    axis.axhline(output, color="k", linewidth=0.6, linestyle=":", label=f"y0 = {output:.3g}")
    axis.set_xticks(x, list(values), rotation=90, fontsize=TEXT - 2)
    axis.set_ylabel("contribution", fontsize=TEXT)
    axis.tick_params(axis="y", labelsize=TEXT - 1)
    axis.legend(fontsize=TEXT - 1, frameon=False)
    caption(figure, text)
    return figure
