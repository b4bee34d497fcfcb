"""The chapter of a network of images on a photograph larger than memory: what is of all of it, and what not.

F x0, r and y0 are gone through once, in tiles; of each, numbers over all outputs and a small picture are
kept. Rows and columns are exact, on crops. Eigen-images are of the middle.
"""

from __future__ import annotations

from typing import Any

import torch

from ... import plot
from ...analysis import energy_against_distance
from ...analysis.zero import OWN
from ...linop import interpret
from ...linop.scale import norm_of
from ...linop.tiles import TiledInterpreter
from ...plot import analysis as draw
from ...results.tables import counted
from .networks import Network, middle
from .page import Chapter
from .super_resolution import eigen_images, probe_places

SHOWN = 600  # pixels to the longer side of the pictures of a whole photograph
PLACES = 1024  # the places of rows and columns are looked for in the middle of so many pixels
EIGEN = 128  # pixels to a side of the middle, of which the eigen-images are


class _Small:
    """Pictures of all outputs, of every ``step``-th pixel, filled tile by tile."""

    def __init__(self, shape: tuple[int, ...]):
        self.step = max(1, -(-max(shape[1:]) // SHOWN))
        self.sizes = shape[0], *(-(-n // self.step) for n in shape[1:])
        self.found: dict[str, torch.Tensor] = {}

    def put(self, name: str, box: tuple[slice, ...], values: torch.Tensor) -> None:
        """Keep what a tile has of the picture."""
        picture = self.found.setdefault(name, values.new_zeros(self.sizes))
        first = [-s.start % self.step for s in box[1:]]
        part = values[:, first[0] :: self.step, first[1] :: self.step]
        y, x = ((s.start + f) // self.step for s, f in zip(box[1:], first))
        picture[:, y : y + part.shape[1], x : x + part.shape[2]] = part


def large_images(
    chapter: Chapter, n: Network, lin: TiledInterpreter, title: str, prefix: str, progress: bool
) -> None:
    """Add what a report says of one photograph."""
    chapter.text(
        f"{title} is read in {len(lin.tiling.windows)} tiles of {lin.tile} pixels to a side. F x0, r and"
        f" their numbers are of all of it, and rows and columns are exact; the places of these lie in the"
        f" middle {PLACES} pixels, the eigen-images are of the middle {EIGEN} x {EIGEN}, and the laws of 32 x"
        " 32."
    )
    small, share, error = _passed(lin, progress)
    if lin.whole.outputs[0] in (1, 3):
        shown = {"input": _small(lin.x0[0]), "output": small.found["y0"]}
        chapter.figure(
            f"{prefix}output",
            plot.images({name: n.show(image) for name, image in shown.items()}),
            f"The input image and the output, of which every {small.step}th pixel is shown.",
        )
    parts = {name: small.found[name] for name in ("F x0", "r")}
    chapter.figure(
        f"{prefix}parts",
        plot.images(parts, signed=True),
        f"The output is F x0 + r, with an error of {error:.1e} over all outputs. The norm of r"
        f" is {100 * share:.1f}% of that of the output, about x = 0.",
    )
    energy = _filters(chapter, lin, prefix)
    chapter.numbers[title] = {
        "weights": n.note,
        "residual_share": share,
        "zero": OWN,
        "sum_error": error,
        "tile": lin.tile,
        "energy": energy.numbers(),
    }
    part = interpret(n.module, middle(lin.x0[0], EIGEN, 8)[None], policy=lin.policy)
    eigen_images(chapter, {n.name: part}, prefix.rstrip("_"))
    chapter.results.append(
        f"{n.title} on {title}: the norm of r is {100 * share:.1f}% of that of the output, about x = 0;"
        f" 90% of a row's energy lies within {counted(energy.radius(0.9), 'pixel')}, and F x0 + r is the"
        f" output with an error of {error:.0e}."
    )


def _small(image: torch.Tensor) -> torch.Tensor:
    """Every so many pixels of the input, at most ``SHOWN`` to a side."""
    step = max(1, -(-max(image.shape[1:]) // SHOWN))
    return image[:, ::step, ::step]


def _passed(lin: TiledInterpreter, progress: bool) -> tuple[_Small, float, float]:
    """The small pictures, |r| / |y|, and the largest error over the largest output, of one pass."""
    small, norms, off, most = _Small(lin.whole.outputs), torch.zeros(2, dtype=torch.float64), 0.0, 0.0
    for tile in lin.tiles(progress):
        y, r = (value[0][tile.inside] for value in (tile.lin.y0, tile.lin.residual))
        filtered = (tile.lin.F @ tile.lin.x[0])[tile.inside]
        off, most = max(off, float((filtered + r - y).abs().max())), max(most, float(y.abs().max()))
        norms += torch.tensor([norm_of([r]), norm_of([y])], dtype=torch.float64).square()
        for name, values in (("F x0", filtered), ("r", r), ("y0", y)):
            small.put(name, tile.outputs, values)
    r2, y2 = norms.tolist()
    return small, (r2 / y2) ** 0.5, off / most


def _filters(chapter: Chapter, lin: TiledInterpreter, prefix: str) -> Any:
    """Add the figures of rows and columns at three places, and of the energy of the rows."""
    _, height, width = lin.whole.inputs
    part = middle(lin.x0[0], PLACES)
    top, left = (height - part.shape[1]) // 2, (width - part.shape[2]) // 2
    places = [(y + top, x + left) for y, x in probe_places(part.mean(0))]
    lines = lin.F.alignment()
    outs = [(y, x) for y, x in map(lines.output_of, places)]
    centres = [(y, x) for y, x in map(lines.input_of, outs)]
    rows = [_square(f, c) for f, c in zip(lin.local_rows([(0, *o) for o in outs]), centres)]
    columns = [_square(f, o) for f, o in zip(lin.local_columns([(0, *c) for c in centres]), outs)]
    panels = {}
    for what, filters, at in (("row", rows, centres), ("column", columns, outs)):
        for said, values, (y, x) in zip(("edge", "flat", "middle"), filters, at):
            panels[f"{what}, {said}\n({y}, {x})"] = values
    chapter.figure(
        f"{prefix}filters",
        draw.grid(panels, 3),
        "Receptive filters (rows) and projective filters (columns) at a strong edge, a flat place and the"
        " middle, each on all places where it is not zero.",
    )
    side = max(values.shape[1] for values in rows)
    wide = torch.stack([torch.nn.functional.pad(v, ((side - v.shape[1]) // 2,) * 4) for v in rows])
    energy = energy_against_distance(wide, [(side // 2, side // 2)] * len(rows))
    chapter.figure(
        f"{prefix}energy",
        energy.plot(),
        "The share of the rows' energy within a distance; 90% is within"
        f" {counted(energy.radius(0.9), 'pixel')}.",
    )
    return energy


def _square(found: Any, place: tuple[int, int]) -> torch.Tensor:
    """A filter on a square of an odd side around its place, which holds all of its box."""
    rows, columns = found.box[1:]
    ends = [(s.start - p, s.stop - 1 - p) for s, p in zip((rows, columns), place)]
    radius = max(abs(end) for pair in ends for end in pair)
    square = found.values.new_zeros(len(found.values), 2 * radius + 1, 2 * radius + 1)
    (top, _), (left, _) = ends
    height, width = found.values.shape[1:]
    square[:, radius + top : radius + top + height, radius + left : radius + left + width] = found.values
    return square
