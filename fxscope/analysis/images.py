"""Analyses of rows and columns of networks from images to images (paper, Fig. 5 to 7 and 11 to 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from ..graph.arguments import check_place, check_places, checked
from ..linop import interpret
from ..results.base import VersionedResult

if TYPE_CHECKING:
    from ..linop import LinearInterpreter

INSTANCE_NORMS = ("stats", "scale", "taylor")


@dataclass(frozen=True, repr=False)
class Energy(VersionedResult):
    """The share of the energy of filters within a distance of their places, averaged over the filters.

    Parameters
    ----------
    share : torch.Tensor
        (R + 1,), the share within 0, 1, ..., R pixels, where the distance is max(|y - y0|, |x - x0|).
    """

    share: torch.Tensor

    def radius(self, part: float = 0.9) -> int:
        """The smallest distance, in pixels, within which the share is at least ``part``."""
        return int((self.share < part - 1e-12).sum())

    def numbers(self) -> dict[str, Any]:
        """The distances that hold given shares."""
        return {
            "radius_50": self.radius(0.5),
            "radius_90": self.radius(0.9),
            "radius_99": self.radius(0.99),
            "share": self.share,
        }


@checked
def energy_against_distance(filters: torch.Tensor, places: Sequence[tuple[int, int]]) -> Energy:
    """The share of the energy of rows or columns within a distance of their places.

    Parameters
    ----------
    filters : torch.Tensor
        (K, C, H, W), rows or columns of F.
    places : sequence of (int, int)
        K places (y, x), in pixels of the filters.

    Returns
    -------
    Energy
        The mean share over the K filters.

    Examples
    --------
    >>> energy_against_distance(torch.eye(5)[None, None], [(2, 2)]).share.tolist()
    [0.2, 0.6, 1.0, 1.0, 1.0]
    """
    check_places("energy_against_distance", places, filters)
    energy = filters.double().square().sum(1)
    size = max(energy.shape[1:])
    found = torch.zeros(len(energy), size, dtype=torch.float64)
    for k, (each, place) in enumerate(zip(energy, places)):
        found[k].index_add_(0, distance(each.shape, place).flatten(), each.flatten())
    shares = found.cumsum(1) / found.sum(1, keepdim=True).clamp_min(1e-300)
    return Energy(shares.mean(0))


def distance(shape: Sequence[int], place: tuple[int, int]) -> torch.Tensor:
    """(H, W), the distance max(|y - y0|, |x - x0|) of every pixel from a place."""
    y, x = torch.arange(shape[-2]) - place[0], torch.arange(shape[-1]) - place[1]
    return torch.maximum(y.abs()[:, None], x.abs()[None, :])


@dataclass(frozen=True, repr=False)
class Invariance(VersionedResult):
    """How much filters at different places differ after they are aligned.

    Parameters
    ----------
    spread : float
        sum_i |f_i - mean f|^2 / sum_i |f_i|^2; 0 for a space-invariant network such as bicubic interpolation.
    reference : float or None
        sum_i |f_i - f|^2 / sum_i |f_i|^2 for a given filter f.
    filters : torch.Tensor
        (K, C, 2 radius + 1, 2 radius + 1), the aligned filters.
    """

    spread: float
    reference: float | None
    filters: torch.Tensor


@checked
def invariance(
    columns: torch.Tensor,
    places: Sequence[tuple[int, int]],
    radius: int,
    reference: torch.Tensor | None = None,
) -> Invariance:
    """Align columns by cutting a square around their places, and measure how much they differ.

    Parameters
    ----------
    columns : torch.Tensor
        (K, C, H, W).
    places : sequence of (int, int)
        K places (y, x), in output pixels.
    radius : int
        The squares have the side 2 radius + 1.
    reference : torch.Tensor, optional
        A known filter to compare with, (C, 2 radius + 1, 2 radius + 1).

    Returns
    -------
    Invariance
        The differences and the aligned filters.
    """
    check_places("invariance", places, columns)
    cut = torch.stack([crop_around(c, p, radius) for c, p in zip(columns, places)]).double()
    total = cut.square().sum()
    apart = None if reference is None else float((cut - reference.double()).square().sum() / total)
    return Invariance(float((cut - cut.mean(0)).square().sum() / total), apart, cut)


def crop_around(image: torch.Tensor, place: tuple[int, int], radius: int) -> torch.Tensor:
    """A square (C, 2 radius + 1, 2 radius + 1) around a place, with zeros outside of the image."""
    y, x = place
    return F.pad(image, (radius,) * 4)[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1]


@dataclass(frozen=True, repr=False)
class Diagonal(VersionedResult):
    """The share of the energy of rows that is far from their places.

    Parameters
    ----------
    off : torch.Tensor
        (K,), the share of the energy more than ``radius`` pixels from the place of each row.
    radius : int
        In pixels.
    """

    off: torch.Tensor
    radius: int

    @property
    def mean(self) -> float:
        """The mean of ``off``."""
        return float(self.off.mean())

    def numbers(self) -> dict[str, Any]:
        """Radius, mean, largest and all shares."""
        return {"radius": self.radius, "mean": self.mean, "largest": float(self.off.max()), "off": self.off}


@checked
def diagonal(rows: torch.Tensor, places: Sequence[tuple[int, int]], radius: int = 8) -> Diagonal:
    """The off-diagonal energy of rows: the share that is more than ``radius`` pixels from their places.

    Parameters
    ----------
    rows : torch.Tensor
        (K, C, H, W).
    places : sequence of (int, int)
        K places (y, x) in the input, at the positions of the outputs.
    radius : int
        In pixels; the distance is max(|y - y0|, |x - x0|).

    Returns
    -------
    Diagonal
        The share for each row.
    """
    check_places("diagonal", places, rows)
    energy = rows.double().square().sum(1)
    outside = torch.stack([distance(e.shape, p) > radius for e, p in zip(energy, places)])
    return Diagonal((energy * outside).flatten(1).sum(1) / energy.flatten(1).sum(1).clamp_min(1e-300), radius)


@dataclass(frozen=True, repr=False)
class Source(VersionedResult):
    """The strongest source of an output outside of its neighbourhood.

    Parameters
    ----------
    place : (int, int)
        (y, x) of the output, in input pixels.
    source : (int, int)
        (y, x), the centre of the window with most energy outside of the neighbourhood.
    window : int
        Side of the window, in pixels.
    share : float
        The share of the row's energy in this window.
    off : float
        The share of the row's energy more than ``radius`` pixels from ``place``.
    radius : int
        Size of the neighbourhood, in pixels.
    row : torch.Tensor
        (1, C, H, W).
    """

    place: tuple[int, int]
    source: tuple[int, int]
    window: int
    share: float
    off: float
    radius: int
    row: torch.Tensor


@checked
def copy_move(row: torch.Tensor, place: tuple[int, int], radius: int = 8, window: int = 9) -> Source:
    """The window with most of a row's energy outside of the neighbourhood of its output.

    The paper's copy-move strategy (Fig. 7 and 13) shows as a large ``share``.

    Parameters
    ----------
    row : torch.Tensor
        (C, H, W).
    place : (int, int)
        (y, x) of the output, in input pixels.
    radius : int
        The neighbourhood holds the pixels at a distance of at most ``radius``.
    window : int
        Side of the window in pixels, an odd number.

    Returns
    -------
    Source
        The window and its share of the energy.
    """
    check_place("copy_move", place, row.shape)
    energy = row.double().square().sum(0)
    far = energy * (distance(energy.shape, place) > radius)
    sums = (
        F.avg_pool2d(far[None, None], window, 1, window // 2, count_include_pad=True)[0, 0] * window * window
    )
    y, x = divmod(int(sums.argmax()), energy.shape[1])
    total = float(energy.sum()) or 1.0
    return Source(
        (place[0], place[1]),
        (y, x),
        window,
        float(sums[y, x]) / total,
        float(far.sum()) / total,
        radius,
        row.unsqueeze(0),
    )


@dataclass(frozen=True, repr=False)
class Reach(VersionedResult):
    """How far a row reaches under each variant of instance norm.

    Parameters
    ----------
    index : tuple
        The index of the output.
    place : (int, int)
        (y, x) of the input pixel at the position of the output.
    bound : int
        The distance in pixels that the convolutions alone can reach.
    furthest : dict
        {variant: distance of the furthest nonzero coefficient, in pixels}.
    beyond : dict
        {variant: share of the row's energy beyond ``bound``}.
    error : dict
        {variant: |<row, x0> + r - y0| / |y0|}.
    """

    index: tuple
    place: tuple[int, int]
    bound: int
    furthest: dict[str, int]
    beyond: dict[str, float]
    error: dict[str, float]
    _rows: dict[str, torch.Tensor]

    @property
    def rows(self) -> dict[str, torch.Tensor]:
        """{variant: row (C, H, W)}."""
        return self._rows


@checked
def reach(
    model: nn.Module,
    x0: torch.Tensor,
    index: tuple,
    place: tuple[int, int] | None = None,
    bound: int = 84,
    readings: Sequence[str] = INSTANCE_NORMS,
) -> Reach:
    """One row of F under each variant of instance norm.

    The variants are "stats" (mean and deviation frozen, Fig. 2), "scale" (deviation frozen) and "taylor"
    (both differentiated).

    Parameters
    ----------
    model : torch.nn.Module
        A network from images to images.
    x0 : torch.Tensor
        (1, C, H, W).
    index : tuple
        (c, y, x) of the output.
    place : (int, int), optional
        (y, x) of the input pixel at the position of the output. The default is the pixel nearest to it by
        ``lin.F.alignment()``.
    bound : int
        The distance in pixels that the convolutions alone can reach. It is 84 for CycleGAN's generator of 9
        blocks, whose receptive field is 169 pixels.
    readings : sequence of str
        The variants.

    Returns
    -------
    Reach
        The rows, and how far each reaches.
    """
    rows, furthest, beyond, error = {}, {}, {}, {}
    for variant in readings:
        lin = interpret(model, x0, policy={"instance_norm": variant})
        row = lin.F.row(index)
        place = lin.F.alignment().input_of(index[-2:]) if place is None else place
        away = distance(row.shape, place)
        energy = row.double().square().sum(0)
        rows[variant] = row
        furthest[variant] = int(away[energy > 0].max()) if bool((energy > 0).any()) else 0
        beyond[variant] = float(energy[away > bound].sum() / energy.sum())
        error[variant] = _sum_error(lin, row, index)
    assert place is not None  # there is a variant
    return Reach(tuple(index), place, bound, furthest, beyond, error, rows)


def _sum_error(lin: LinearInterpreter, row: torch.Tensor, index: tuple) -> float:
    y = float(lin.y0[0][index])
    return abs(float((row.double() * lin.x0[0]).sum()) + float(lin.residual[0][index]) - y) / max(
        abs(y), 1e-12
    )
