"""Marks that hide nothing: corners around a place, and boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

Box = tuple[int, int, int, int]  # top, bottom, left, right; bottom and right are not inside


def corners(axis: Any, y: float, x: float, half: float, colour: str = "k", outline: str = "w") -> Any:
    """Draw the four corners of a square around a place, with an outline that shows on any ground.

    It is one line, whose mean is the place.
    """
    from matplotlib.patheffects import Normal, Stroke

    leg, gap = 0.7 * half, np.array([[np.nan, np.nan]])
    lines: list[np.ndarray] = []
    for v in (-1, 1):
        for h in (-1, 1):
            a, b = x + h * half, y + v * half
            lines += [np.array([[a - h * leg, b], [a, b], [a, b - v * leg]]), gap]
    points = np.concatenate(lines)
    effects = [Stroke(linewidth=2.2, foreground=outline), Normal()]
    limits = axis.get_xlim(), axis.get_ylim()  # which a line at the border would widen
    style = {"color": colour, "linewidth": 0.9, "solid_capstyle": "butt", "clip_on": False}
    (line,) = axis.plot(*points.T, path_effects=effects, **style)
    line.set_gid("place")
    axis.set(xlim=limits[0], ylim=limits[1])
    return line


def mark(axis: Any, y: float, x: float, side: float, inches: float = 1.5, colour: str = "k") -> Any:
    """Draw corners around a place in a panel of ``side`` pixels: outside of its pixel, and large enough."""
    pixel = 72 * inches / side  # points of a pixel
    return corners(axis, y, x, max(0.5 + 1.2 / pixel, 4.5 / pixel), colour, "k" if colour == "w" else "w")


def outline(axis: Any, box: Box, dashed: bool = False, colour: str = "k") -> Any:
    """Draw a box around pixels, with an outline that shows on any ground."""
    from matplotlib.patches import Rectangle
    from matplotlib.patheffects import Normal, Stroke

    top, bottom, left, right = box
    style: dict[str, Any] = {
        "fill": False,
        "linewidth": 0.8,
        "edgecolor": colour,
        "linestyle": (0, (4, 2)) if dashed else "-",
    }
    found = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **style)
    found.set_path_effects([Stroke(linewidth=2, foreground="w", alpha=0.7), Normal()])
    return axis.add_patch(found)


def support(strength: np.ndarray) -> Box:
    """The smallest box that holds every pixel that is not zero."""
    ys, xs = np.nonzero(strength)
    if not len(ys):
        return 0, strength.shape[0], 0, strength.shape[1]
    return int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1


def around(shape: tuple[int, ...], y: float, x: float, reach: int) -> Box:
    """A square around a place, cut at the borders."""
    y, x = int(y), int(x)
    return max(0, y - reach), min(shape[0], y + reach + 1), max(0, x - reach), min(shape[1], x + reach + 1)


def area(box: Box) -> int:
    """The number of pixels in a box."""
    return (box[1] - box[0]) * (box[3] - box[2])


def energy_in(strength: np.ndarray, box: Box) -> float:
    """The share of the energy inside of a box."""
    energy = np.square(strength / (strength.max() or 1.0))
    top, bottom, left, right = box
    return float(energy[top:bottom, left:right].sum() / (energy.sum() or 1.0))


def reach_of(strength: np.ndarray, y: float, x: float, share: float) -> int:
    """How far the square around a place reaches that holds a share of the energy."""
    energy = np.square(strength / (strength.max() or 1.0))
    rows, columns = np.indices(strength.shape)
    distance = np.maximum(np.abs(rows - int(y)), np.abs(columns - int(x))).ravel()
    held = np.bincount(distance, energy.ravel()).cumsum()
    return int(np.searchsorted(held, share * held[-1] * (1 - 1e-12)))


def show(axis: Any, box: Box) -> None:
    """Show a part of a picture alone."""
    top, bottom, left, right = box
    axis.set_xlim(left - 0.5, right - 0.5)
    axis.set_ylim(bottom - 0.5, top - 0.5)
