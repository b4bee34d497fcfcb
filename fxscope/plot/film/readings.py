"""What a film shows and says of one network at one place: filters as pictures, and the measured numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ...errors import NotLocal, PlaceIndexError
from ...linop import LinearInterpreter
from ..channels import pictures
from .walks import Place

KINDS = ("row", "column")
CHUNK = 8  # filters that are computed together: few, so that memory is flat and Ctrl-C is heard
SAMPLED = 9  # places of a walk from which the scale is taken

Rectangle = tuple[int, int, int, int]


@dataclass(frozen=True)
class Reading:
    """A row or column and what is measured of it.

    picture  (H, W) or (H, W, 3), signed; see ``plot/channels.py``
    place    (y, x) in the picture
    share    of the energy, within ``radius`` pixels of the place, which is max(|dy|, |dx|)
    support  (top, left, bottom, right) of the coefficients that are not 0; None if there are none
    sums     of a row: y0, <row, x0>, r, and the error of y0 = <row, x0> + r; of a column: its sum
    """

    picture: np.ndarray
    place: Place
    share: float
    radius: int
    support: Rectangle | None
    sums: dict[str, float]

    @property
    def largest(self) -> float:
        """The largest magnitude of the picture."""
        return float(np.abs(self.picture).max(initial=0.0))

    def numbers(self) -> dict[str, Any]:
        """Everything but the picture."""
        found = {"place": self.place, "share": self.share, "radius": self.radius, "support": self.support}
        return {**found, **self.sums}

    def text(self, in_full: bool = True) -> str:
        """How local it is, in words."""
        if self.support is None:
            return "all of it is 0"
        top, left, bottom, right = self.support
        share, sides = f"{100 * self.share:.1f}%", (bottom - top, right - left)
        if in_full:
            size = f"{sides[0]} x {sides[1]} px"
            return f"{share} of its energy within {self.radius} px, support {size}"
        return f"{share} in {self.radius} px, {sides[0]}x{sides[1]} px"


@dataclass(frozen=True, eq=False)
class Subject:
    """A network at the photograph.

    show     an image (C, H, W) that it takes or gives, as pixels in [0, 1]
    channel  of the output and of the input; None is the sum over all of them
    radius   pixels of the input
    """

    title: str
    lin: LinearInterpreter
    show: Callable[[torch.Tensor], torch.Tensor]
    channel: int | None
    radius: int
    limits: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _ = self.alignment  # which refuses networks that are not from one image to one image
        F = self.lin.F
        if len(F.inputs.shape) != 3:
            raise NotLocal(
                f"video: {self.title} is from {F.inputs.shape} to {F.outputs.shape}, and a film is about"
                " networks from an image (C, H, W) to an image"
            )
        for shape, what in ((F.inputs.shape, "input"), (F.outputs.shape, "output")):
            if self.channel is not None and self.channel >= shape[0]:
                raise PlaceIndexError(
                    f"video: the {what} of {self.title} has {shape[0]} channels, and channel {self.channel}"
                    " is none of them; without a channel the sum over all of them is shown"
                )

    @functools.cached_property
    def alignment(self) -> Any:
        """Where outputs lie in the input."""
        return self.lin.F.alignment()

    @property
    def size(self) -> Place:
        """Height and width of x0."""
        _, height, width = self.lin.F.inputs.shape
        return height, width

    @property
    def output_size(self) -> Place:
        """Height and width of the output."""
        _, height, width = self.lin.F.outputs.shape
        return height, width

    @property
    def scale(self) -> int:
        """Output pixels for one input pixel, at least 1."""
        return max(1, round(float(max(self.alignment.scale))))

    def centre(self, kind: str, place: Place) -> Place:
        """Where a filter is centred: a row in the input, a column in the output."""
        output = self.alignment.output_of(place)
        return self.alignment.input_of(output) if kind == "row" else output

    def index(self, kind: str, place: Place) -> tuple[Any, ...]:
        """The index of a row in the outputs, or of a column in the inputs."""
        channel = slice(None) if self.channel is None else self.channel
        return (channel, *(self.alignment.output_of(place) if kind == "row" else place))

    def readings(self, kind: str, places: Sequence[Place]) -> Iterator[Reading]:
        """The rows or columns at several places, in chunks."""
        F = self.lin.F if kind == "row" else self.lin.F.T
        indices = [self.index(kind, place) for place in places]
        found = F.iter_rows(indices, min(CHUNK, F.chunk), "cpu", progress=False)
        for place, (index, values) in zip(places, found):
            yield self._reading(kind, place, index, values.detach())

    def _reading(self, kind: str, place: Place, index: tuple[Any, ...], values: torch.Tensor) -> Reading:
        seen = pictures([values])
        picture = (seen.arrays[0] - 0.5) * 2 * seen.limit if seen.in_colour else seen.arrays[0]
        energy = values.double().square().sum(0)
        y, x = centre = self.centre(kind, place)
        radius = self.radius if kind == "row" else self.radius * self.scale
        near = energy[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
        share = float(near.sum() / energy.sum()) if energy.any() else 0.0
        sums = self._identity(index, values) if kind == "row" else {"sum": float(values.double().sum())}
        return Reading(picture, centre, share, radius, _support(values), sums)

    def _identity(self, index: tuple[Any, ...], row: torch.Tensor) -> dict[str, float]:
        x0, y0, r = (t[0].detach().double().cpu() for t in (self.lin.x0, self.lin.y0, self.lin.residual))
        linear = float((row.double() * x0).sum())
        output, rest = float(y0[index].sum()), float(r[index].sum())
        return {"y0": output, "row_x0": linear, "r": rest, "error": abs(linear + rest - output)}


def measure_scale(subject: Subject, kinds: Sequence[str], places: Sequence[Place]) -> None:
    """Let the symmetric scale of every kind end at the largest magnitude at some places of the walk."""
    step = max(1, len(places) // SAMPLED)
    for kind in kinds:
        subject.limits[kind] = max(r.largest for r in subject.readings(kind, places[::step])) or 1.0


def _support(values: torch.Tensor) -> Rectangle | None:
    where = (values != 0).any(0)
    ys, xs = (where.any(d).nonzero().flatten() for d in (1, 0))
    if not len(ys):
        return None
    return int(ys[0]), int(xs[0]), int(ys[-1]) + 1, int(xs[-1]) + 1
