"""Where the energy of rows and columns of images lies (paper, Fig. 5 to 7 and 11 to 15)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from ..graph.arguments import check_place, check_places, checked
from ..results.base import VersionedResult
from ..results.tables import Column, Table, counted, said


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

    def _said(self) -> Iterable[str]:
        return [f"{part:.0%} within {self.radius(part)} px" for part in (0.5, 0.9, 0.99)]

    def _table(self) -> Table:
        rows = [(part, self.radius(part)) for part in (0.5, 0.9, 0.99)]
        return Table((Column("share of the energy", form=".0%"), Column("within", "px")), rows)


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

    def _said(self) -> Iterable[str]:
        apart = [] if self.reference is None else [f"{self.reference:.3g} from the reference"]
        return [f"{said(self.filters)}, which differ by {self.spread:.3g} of their energy", *apart]

    def _table(self) -> Table:
        rows = [("from their mean", self.spread), ("from the reference", self.reference)]
        made = f"{len(self.filters)} filters"
        return Table(
            ("difference", Column("part of the energy")), rows[: 1 + (self.reference is not None)], made
        )


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

    def _said(self) -> Iterable[str]:
        return [f"{self.mean:.2%} of the energy beyond {self.radius} px", counted(len(self.off), "row")]

    def _table(self) -> Table:
        rows = [("mean", self.mean), ("least", float(self.off.min())), ("largest", float(self.off.max()))]
        far = f"beyond {self.radius} px"
        return Table((f"of {len(self.off)} rows", Column("share of the energy", far, ".2%")), rows)


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

    def _said(self) -> Iterable[str]:
        return [f"{self.share:.2%} of the row of {self.place} from {self.window} px at {self.source}"]

    def _table(self) -> Table:
        rows = [
            (f"in the strongest window, {self.window} px at {self.source}", self.share),
            (f"more than {self.radius} px from {self.place}", self.off),
        ]
        return Table(("", Column("share of the row's energy", form=".2%")), rows)


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
