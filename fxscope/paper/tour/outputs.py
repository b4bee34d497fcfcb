"""What a report shows of one network at one image, by the kind of its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ... import plot
from ...analysis import energy_against_distance, pixel_votes
from ...analysis.images import crop_around
from ...analysis.sampled import zoom
from ...analysis.zero import OWN
from ...linop import LinearInterpreter, interpret
from ...passes.policy import Policy
from ...plot import analysis as draw
from ...plot.bars import NAMED
from ...results.tables import counted
from .networks import Network, middle
from .page import Chapter
from .super_resolution import PASSES, eigen_images, probe_places
from .work import Work

VOTERS, FAST_VOTERS = 10, 3  # labels that the pixels vote for
ROOM = 12  # pixels of the input around a place that a zoom shows at most
FAST_SIDE, FAST_TRIPLETS = 64, 2  # the middle of which a fast report has eigen-images
STEPS = {
    "scores": ("contributions", "discussion", "votes"),
    "images": ("output and residual", "rows and columns", "eigen-images"),
    "tokens": ("tokens and layers",),
}


ALL, LAWS = "layers of all images", "graph and laws"  # the last parts of a network's chapter


@dataclass(frozen=True)
class Asked:
    """What a report was asked for.

    Parameters
    ----------
    policy, names, tile, fast
        As ``report`` takes them.
    work : Work
        Its steps.
    """

    policy: Any = "freeze"
    names: Sequence[str] | None = None
    tile: int | str | None = "auto"
    fast: bool = False
    work: Work = field(default_factory=lambda: Work(False))


@dataclass(frozen=True)
class Shown:
    """A network at an image, as a chapter shows it.

    Parameters
    ----------
    chapter : Chapter
        Where it is shown.
    network : Network
        The network.
    lin : LinearInterpreter
        Its interpreter at the image.
    title, prefix : str
        The name of the image, and how the names of its figures begin.
    asked : Asked
        What the report was asked for.
    """

    chapter: Chapter
    network: Network
    lin: LinearInterpreter
    title: str
    prefix: str
    asked: Asked

    def step(self, name: str) -> Any:
        """A step of the work."""
        return self.asked.work.step(f"{self.title}: {name}")

    def label(self, label: int) -> str:
        """The name of a label; of a network with random weights never without saying so."""
        return labelled(self.network, self.asked, label)

    @property
    def names(self) -> list[str] | None:
        """The names of all labels, for figures."""
        return None if self.asked.names is None else [self.label(k) for k in range(len(self.asked.names))]

    @property
    def said(self) -> str:
        """What a figure is of: the network with its weights, the image, and what is frozen."""
        return f"{self.network.title} on {self.title}, policy {frozen(self.asked.policy)}"

    def result(self, text: str) -> None:
        """Add a sentence to the top of the page, which names the network with its weights."""
        self.chapter.results.append(f"{self.network.title} on {self.title}: {text}")


def labelled(network: Network, asked: Asked, label: int) -> str:
    """The name of a label; of a network with random weights never without saying so."""
    name = f"label {label}" if asked.names is None else str(asked.names[label])
    is_said = not network.random or "random weights" in name
    return name if is_said else f"{name} ({network.note})"


def frozen(policy: Any) -> str:
    """A policy in words: the preset, and what is chosen otherwise."""
    found = Policy.of(policy)
    others = ", ".join(f"{key}: {variant}" for key, variant in found.choices.items())
    return f"{found.preset} ({others})" if others else found.preset


def scores(shown: Shown) -> None:
    """Contributions to the largest score, pixel discussions of the two largest, and votes."""
    lin, chapter, prefix = shown.lin, shown.chapter, shown.prefix
    order = lin.y0[0].argsort(descending=True)[: FAST_VOTERS if shown.asked.fast else VOTERS].tolist()
    top = shown.label(order[0])
    with shown.step("contributions"):
        parts = lin.contributions(order[0])
        chapter.figure(
            f"{prefix}contributions",
            parts.plot(text=shown.said),
            f"The contributions of F x0 and of every additive constant to the largest score, {top}"
            f" = {float(parts.output):.4g}; they sum to it with an error of {parts.error:.1e}.",
        )
    share = float(parts.residual / parts.output)
    shown.result(
        f"{top} has the largest score, {float(parts.output):.4g}; r is {100 * share:.0f}% of it, about x = 0,"
        f" and all parts sum to it with an error of {parts.error:.0e}."
    )
    chapter.numbers[shown.title] = {
        "weights": shown.network.note,
        "top": order[0],
        "top_name": top,
        "score": float(parts.output),
        "residual_share": share,
        "zero": OWN,
        "sum_error": parts.error,
    }
    _discussion(shown, order)
    _votes(shown, order)


def _discussion(shown: Shown, order: list[int]) -> None:
    with shown.step("discussion"):
        found = shown.lin.pixel_discussion(order[:2], progress=shown.asked.work.progress)
        shown.chapter.figure(
            f"{shown.prefix}discussion",
            found.plot(shown.said, names=shown.names, photograph=shown.network.show(shown.lin.x0[0])),
            "The contribution of each pixel to the two largest scores,"
            f" {' and '.join(map(shown.label, order[:2]))} (variant 'weighted'). Each sums to its score"
            f" with a relative error of {found.error:.0e}; the corrections amount to"
            f" {100 * found.added:.0f}% of the layers' contributions.",
            hero=True,
        )
        shown.chapter.numbers[shown.title]["discussion"] = found.numbers()


def _votes(shown: Shown, order: list[int]) -> None:
    with shown.step("votes"):
        votes = pixel_votes(shown.lin, order, progress=shown.asked.work.progress)
        first, share = next(iter(votes.popularity.items()))
        shown.chapter.figure(
            f"{shown.prefix}votes",
            votes.plot(shown.said, names=shown.names, photograph=shown.network.show(shown.lin.x0[0])),
            f"The label to whose score each pixel contributes most, among the {len(order)} largest scores."
            f" The most popular is {shown.label(first)}, with {100 * share:.0f}% of the pixels; chance is"
            f" {100 / len(order):.0f}%.",
        )
        shown.chapter.numbers[shown.title]["votes"] = votes.numbers()


def images(shown: Shown) -> None:
    """The output as F x0 + r, rows and columns at three places, energy against distance, eigen-images."""
    lin, chapter, n, prefix = shown.lin, shown.chapter, shown.network, shown.prefix
    with shown.step("output and residual"):
        x0, r, y0 = lin.x0, lin.residual[0], lin.y0[0]
        filtered = lin.F @ x0[0]
        share, error = float(r.norm() / y0.norm()), float((filtered + r - y0).abs().max() / y0.abs().max())
        if y0.shape[0] in (1, 3):
            chapter.figure(
                f"{prefix}output",
                plot.images({"input": n.show(x0[0]), "output": n.show(y0)}, text=shown.said),
                f"{shown.title} as the input, and the output of {n.title}.",
            )
        chapter.figure(
            f"{prefix}parts",
            plot.images({"F x0": filtered, "r": r}, signed=True, text=shown.said),
            f"The output is F x0 + r, with an error of {error:.1e}. The norm of r is"
            f" {100 * share:.1f}% of that of the output, about x = 0.",
        )
    energy = _rows_and_columns(shown)
    chapter.numbers[shown.title] = {
        "weights": n.note,
        "residual_share": share,
        "zero": OWN,
        "sum_error": error,
        "energy": energy.numbers(),
    }
    shown.result(
        f"the norm of r is {100 * share:.1f}% of that of the output, about x = 0; 90% of a row's energy lies"
        f" within {counted(energy.radius(0.9), 'pixel')}, and F x0 + r is the output with an error"
        f" of {error:.0e}."
    )
    _eigen(shown)


def _rows_and_columns(shown: Shown) -> Any:
    lin, chapter, prefix = shown.lin, shown.chapter, shown.prefix
    with shown.step("rows and columns"):
        places = probe_places(lin.x0[0].mean(0))
        chapter.figure(
            f"{prefix}places",
            draw.marked({"input": shown.network.show(lin.x0[0])}, places),
            "The places of the rows and columns: a strong edge (1), the flattest (2), and the middle (3).",
        )
        rows, centres = _filters(shown, places)
        energy = energy_against_distance(torch.stack(rows), centres)
        chapter.figure(
            f"{prefix}energy",
            energy.plot(shown.said),
            "The share of the rows' energy within a distance; 90% is within"
            f" {counted(energy.radius(0.9), 'pixel')}.",
        )
    return energy


def _eigen(shown: Shown) -> None:
    """Eigen-images of the image, or of its middle in a fast report."""
    n, lin, chapter = shown.network, shown.lin, shown.chapter
    with shown.step("eigen-images"):
        count = 4
        if shown.asked.fast:
            count, small = FAST_TRIPLETS, middle(lin.x0[0], FAST_SIDE, 8)[None]
            lin = interpret(n.module, small.contiguous(), policy=shown.asked.policy)
            chapter.text(f"The eigen-images are of the middle {small.shape[3]} x {small.shape[2]} pixels.")
        eigen_images(
            chapter,
            {n.name: lin},
            shown.prefix.rstrip("_"),
            count,
            passes=PASSES,
            progress=shown.asked.work.progress,
        )


def _filters(shown: Shown, places: list[tuple[int, int]]) -> tuple[list[torch.Tensor], list[tuple[int, int]]]:
    """Add the figure of the rows and columns at the places, and return the rows and their centres."""
    lin, lines = shown.lin, shown.lin.F.alignment()
    outs = [(y, x) for y, x in map(lines.output_of, places)]
    centres = [(y, x) for y, x in map(lines.input_of, outs)]
    rows = [lin.F.row((0, *out)) for out in outs]
    columns = [lin.F.column((0, *centre)) for centre in centres]
    panels = {}
    for what, filters, at, most in (("row", rows, centres, ROOM), ("column", columns, outs, zoom(lin, ROOM))):
        radius = reach(filters, at, most)
        for said, values, (y, x) in zip(("edge", "flat", "middle"), filters, at):
            panels[f"{what}, {said}\n({y}, {x})"] = around(values, (y, x), radius)
    shown.chapter.figure(
        f"{shown.prefix}filters",
        draw.grid(panels, 3, text=shown.said),
        "Receptive filters (rows) and projective filters (columns) at a strong edge, a flat place and the"
        " middle, zoomed around the place, which corners mark.",
        hero=True,
    )
    return rows, centres


def reach(filters: Sequence[torch.Tensor], places: Sequence[tuple[int, int]], most: int = ROOM) -> int:
    """Pixels around the places within which nearly all of the filters is: for a zoom, from 4 to ``most``."""
    energy = energy_against_distance(torch.stack(list(filters)), list(places))
    return min(most, max(4, energy.radius(0.999) + 1))


def around(filter: torch.Tensor, place: tuple[int, int], radius: int = ROOM) -> torch.Tensor:
    """What is around a place of a filter."""
    return crop_around(filter, place, min(radius, max(filter.shape[1:]) // 2))


def tokens(shown: Shown) -> None:
    """Bars by token, of |F x0| and |r|, and by layer for the largest output of the first token."""
    lin, chapter = shown.lin, shown.chapter
    with shown.step("tokens and layers"):
        filtered, r, y0 = lin.F @ lin.x0[0], lin.residual[0], lin.y0[0]
        error = float((filtered + r - y0).abs().max() / y0.abs().max())
        chapter.figure(
            f"{shown.prefix}tokens",
            draw.tokens(filtered.norm(dim=1), r.norm(dim=1), shown.said),
            f"The norms of F x0 and of r at each of the {len(y0)} output tokens; their sum is the output to"
            f" {error:.1e}.",
        )
        index = (0, int(y0[0].argmax()))
        parts = lin.contributions(index)
        layers = {"F x0": float(parts.linear), **named_layers(parts)}
        chapter.figure(
            f"{shown.prefix}layers",
            draw.by_layer(layers, float(parts.output), shown.said),
            "The contributions of F x0 and of the constants of every layer to the largest output of the first"
            f" token, {index}, which is {float(parts.output):.4g}; they sum to it with an error of"
            f" {parts.error:.1e}.",
        )
    share = float(r.norm() / y0.norm())
    shown.result(
        f"the norm of r is {100 * share:.0f}% of that of the output, about x = 0; F x0 + r is the output with"
        f" an error of {error:.0e}."
    )
    chapter.numbers[shown.title] = {
        "weights": shown.network.note,
        "index": index,
        "output": float(parts.output),
        "layers": layers,
        "linear_norms": filtered.norm(dim=1),
        "residual_norms": r.norm(dim=1),
        "sum_error": max(error, parts.error),
        "residual_share": share,
        "zero": OWN,
    }


def named_layers(parts: Any) -> dict[str, float]:
    """{layer: value}, where module paths are cut so that at most ``NAMED`` layers remain."""
    whole = parts.by_layer()
    deepest = max((name.count(".") + 1 for name in whole), default=1)
    return next(
        (found for depth in range(deepest, 0, -1) if len(found := parts.by_layer(depth)) <= NAMED), whole
    )
