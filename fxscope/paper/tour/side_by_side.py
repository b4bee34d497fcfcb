"""The chapter of a report that compares its networks on the same images."""

from __future__ import annotations

from typing import Any

import torch

from ... import plot
from ...analysis import energy_against_distance, layer_contributions
from ...linop import interpret
from ...plot import analysis as draw
from .networks import Network, middle, tile_of
from .outputs import Asked, around, labelled, reach
from .page import Chapter
from .super_resolution import probe_places

SIDE = 256  # pixels of the middle of a photograph on which networks of images are compared
PLACES = ("edge", "flat", "middle")


def side_by_side(networks: list[Network], pictures: list[tuple[str, torch.Tensor]], asked: Asked) -> Chapter:
    """The networks of each kind on the same images: their numbers in tables, their filters in figures."""
    chapter = Chapter("Side by side")
    for kind, add in (("scores", _scores), ("images", _images)):
        same = [n for n in networks if n.kind == kind]
        if len(same) > 1:
            add(chapter, same, pictures, asked)
    if not chapter.blocks:
        chapter.text("The outputs of these networks are of different kinds, so no figure compares them.")
    return chapter


def _scores(chapter: Chapter, networks: list[Network], pictures: list, asked: Asked) -> None:
    """The largest scores of every image, and contributions by depth."""
    found, tops = {}, {}
    for n in networks:
        x0 = torch.cat([n.take(p) for _, p in pictures])
        found[n.name] = layer_contributions(n.module, x0, batch=4, policy=asked.policy, progress=False)
        with torch.no_grad():
            tops[n.name] = n.module(x0).max(1)
    chapter.table(
        ("image", *(n.title for n in networks)),
        [
            (
                name,
                *(
                    f"{labelled(n, asked, int(t[1][i]))}, {float(t[0][i]):.4g}"
                    for n, t in zip(networks, tops.values())
                ),
            )
            for i, (name, _) in enumerate(pictures)
        ],
        "The largest score of every network",
    )
    chapter.figure(
        "layers_side_by_side",
        draw.layers(found),
        "Shares of the largest score by depth; the band is one standard deviation over the images.",
        hero=True,
    )
    chapter.table(
        ("network", "share of F x0", "mean depth of the constants", "largest error of the sums"),
        [(n, f"{100 * float(f.mean[0]):.1f}%", f"{f.depth:.2f}", f"{f.error:.1e}") for n, f in found.items()],
        "The same in numbers, about x = 0",
    )
    chapter.numbers |= {n: f.numbers() for n, f in found.items()}


def _images(chapter: Chapter, networks: list[Network], pictures: list, asked: Asked) -> None:
    """Outputs, rows at three places, and the numbers of both, of the first photograph."""
    title, picture = pictures[0]
    if any(tile_of(n, n.take(picture), asked.tile) is not None for n in networks):
        chapter.text(f"The photograph is large: its middle, of {SIDE} pixels to a side, is compared.")
        picture = middle(picture, SIDE, 8)
    lins = {n.name: interpret(n.module, n.take(picture), policy=asked.policy) for n in networks}
    outputs = {n.name: n.show(lins[n.name].y0[0]) for n in networks}
    first = networks[0]
    chapter.figure(
        "outputs_side_by_side",
        plot.images({"input": first.show(lins[first.name].x0[0]), **outputs}, text=title),
        f"{title} as the input (of {first.name}), and the outputs of"
        f" {' and '.join(n.title for n in networks)}.",
    )
    panels, rows = {}, []
    found = {name: _rows(lin) for name, lin in lins.items()}
    zoomed = max(reach(*each) for each in found.values())
    for n in networks:
        lin, (filters, centres) = lins[n.name], found[n.name]
        for said, row, at in zip(PLACES, filters, centres):
            panels[f"{n.name}\n{said} ({at[0]}, {at[1]})"] = around(row, at, zoomed)
        share = float(lin.residual.norm() / lin.y0.norm())
        radius = energy_against_distance(torch.stack(filters), centres).radius(0.9)
        rows.append((n.title, f"{100 * share:.1f}%", f"{radius} px"))
        chapter.numbers[n.name] = {"residual_share": share, "radius_90": radius}
    chapter.figure(
        "rows_side_by_side",
        draw.grid(panels, len(PLACES), text=title),
        "Rows of F, the weights with which an output pixel reads the input: at a strong edge, a flat place"
        " and the middle of each network's own input, zoomed around the place, which corners mark.",
        hero=True,
    )
    head = ("network", "|r| / |y| about x = 0", "90% of a row's energy within")
    chapter.table(head, rows, f"In numbers, on {title}")


def _rows(lin: Any) -> tuple[list[torch.Tensor], list[tuple[int, int]]]:
    """The rows at three places of the input, and the places that they are about."""
    lines = lin.F.alignment()
    outs = [lines.output_of(place) for place in probe_places(lin.x0[0].mean(0))]
    found = [lin.F.row((0, *out)) for out in outs]
    return found, [(y, x) for y, x in map(lines.input_of, outs)]
