"""The way of the probe over a photograph: a place for every frame, and the legs of which it consists."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import WrongArgument
from ...graph.arguments import check_place

WALKS = ("spiral", "scan", "points")
TURNS = 3  # of a spiral
LINES = 6  # of a scan, at most
MARGIN = 0.9  # of the half of each side, which a spiral reaches

Place = tuple[int, int]


@dataclass(frozen=True)
class Leg:
    """A part of a walk: its title, and its frames from ``first`` up to ``end``."""

    title: str
    first: int
    end: int


@dataclass(frozen=True)
class Walk:
    """The place (y, x) of every frame, and the legs."""

    places: list[Place]
    legs: list[Leg]

    def distinct(self) -> list[Place]:
        """The places at which the probe arrives, one after the other: it may rest there for some frames."""
        return [p for i, p in enumerate(self.places) if i == 0 or p != self.places[i - 1]]

    def cues(self, longest: int) -> list[Leg]:
        """The legs in equal parts of at most ``longest`` frames."""
        found = []
        for leg in self.legs:
            count = -(-(leg.end - leg.first) // longest)
            ends = [leg.first + (leg.end - leg.first) * i // count for i in range(count + 1)]
            found += [Leg(leg.title, a, b) for a, b in itertools.pairwise(ends)]
        return found


def walk(kind: str, size: tuple[int, int], frames: int, points: Sequence[Place] | None) -> Walk:
    """A walk of so many frames over a picture of this height and width."""
    if kind not in WALKS:
        raise WrongArgument(f"video: the walk is one of {', '.join(WALKS)}; got {kind!r}")
    if (kind == "points") != bool(points):
        raise WrongArgument(
            "video: the walk 'points' goes to the places of points, such as points=[(12, 30), (40, 8)]; the"
            " other walks take none"
        )
    if frames < 2:
        raise WrongArgument(
            f"video: a walk has at least 2 frames, and these seconds and fps make {frames}: give more seconds"
        )
    if kind == "points":
        return _between(list(points or []), size, frames)
    return _spiral(size, frames) if kind == "spiral" else _scan(size, frames)


def _spiral(size: tuple[int, int], frames: int) -> Walk:
    """From the middle outwards at a constant speed: the radius grows as the root of time."""
    places, turns = [], []
    for i in range(frames):
        radius = math.sqrt(i / (frames - 1))
        angle = 2 * math.pi * TURNS * radius
        y, x = radius * math.sin(angle), radius * math.cos(angle)
        places.append((_nearest(y * MARGIN, size[0]), _nearest(x * MARGIN, size[1])))
        turns.append(min(int(radius * TURNS), TURNS - 1))
    return Walk(places, _legs([f"turn {i + 1} of {TURNS}" for i in range(TURNS)], turns))


def _nearest(share: float, size: int) -> int:
    """The pixel at a share of the way from the middle, -1 to 1, to either border."""
    return min(max(round((size - 1) / 2 * (1 + share)), 0), size - 1)


def _scan(size: tuple[int, int], frames: int) -> Walk:
    """Line by line, there and back."""
    lines = min(LINES, size[0], frames)
    ys = [(2 * i + 1) * size[0] // (2 * lines) for i in range(lines)]
    places, numbers = [], []
    for i in range(frames):
        number, rest = divmod(i * lines, frames)
        x = round((size[1] - 1) * rest / max(1, frames - lines))
        x = min(x, size[1] - 1)
        places.append((ys[number], size[1] - 1 - x if number % 2 else x))
        numbers.append(number)
    return Walk(places, _legs([f"line {i + 1} of {lines}, y = {y}" for i, y in enumerate(ys)], numbers))


def _between(points: list[Place], size: tuple[int, int], frames: int) -> Walk:
    """To each point in half of its time, where it then rests for the other half."""
    for point in points:
        check_place("video", point, size)
    if frames < len(points):
        raise WrongArgument(f"video: {len(points)} points in {frames} frames; give more seconds")
    places, numbers = [], []
    for i in range(frames):
        number, rest = divmod(i * len(points), frames)
        share = min(1.0, 2 * (rest + len(points)) / frames) if number else 1.0
        before, point = points[max(0, number - 1)], points[number]
        y, x = (round(a + (b - a) * share) for a, b in zip(before, point))
        places.append((y, x))
        numbers.append(number)
    titles = [f"point {i} of {len(points)}, {tuple(map(int, p))}" for i, p in enumerate(points, 1)]
    return Walk(places, _legs(titles, numbers))


def _legs(titles: list[str], numbers: list[int]) -> list[Leg]:
    """The legs that have frames; ``numbers`` has the leg of every frame."""
    starts = {n: numbers.index(n) for n in sorted(set(numbers))}
    return [Leg(titles[n], first, first + numbers.count(n)) for n, first in starts.items()]
