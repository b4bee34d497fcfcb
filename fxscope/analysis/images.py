"""Rows and columns of networks from images to images: locality, invariance, off-diagonals, reach (paper, Fig. 5 to 7, 11 to 15)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import nn

from ..errors import FxscopeError
from ..linop import interpret
from ..results.base import Result

if TYPE_CHECKING:
    from ..linop import LinearInterpreter

INSTANCE_NORMS = ("stats", "scale", "taylor")


@dataclass(frozen=True)
class Energy(Result):
    """Energy of filters against the distance from their place, the mean over K of them.

    share   (R + 1,) of the energy within r = 0, 1, ... pixels (the larger of both axes' distances)
    """

    share: torch.Tensor

    def radius(self, part: float = 0.9) -> int:
        """The smallest distance that holds a part of the energy."""
        return int((self.share < part - 1e-12).sum())

    def numbers(self) -> dict[str, Any]:
        return {
            "radius_50": self.radius(0.5),
            "radius_90": self.radius(0.9),
            "radius_99": self.radius(0.99),
            "share": self.share,
        }


def energy_against_distance(filters: torch.Tensor, places: Sequence[tuple[int, int]]) -> Energy:
    """Share of the energy of rows (K, C, H, W) within a distance of their places (y, x) in the filters' own pixels."""
    energy = filters.double().square().sum(1)
    size = max(energy.shape[1:])
    found = torch.zeros(len(energy), size, dtype=torch.float64)
    for k, (each, place) in enumerate(zip(energy, places)):
        found[k].index_add_(0, distance(each.shape, place).flatten(), each.flatten())
    shares = found.cumsum(1) / found.sum(1, keepdim=True).clamp_min(1e-300)
    return Energy(shares.mean(0))


def distance(shape: Sequence[int], place: tuple[int, int]) -> torch.Tensor:
    """(H, W) of max(|y - y0|, |x - x0|)."""
    y, x = torch.arange(shape[-2]) - place[0], torch.arange(shape[-1]) - place[1]
    return torch.maximum(y.abs()[:, None], x.abs()[None, :])


@dataclass(frozen=True)
class Invariance(Result):
    """How far the filters of different places differ once they are laid over one another.

    spread  sum |f_i - mean f|^2 / sum |f_i|^2: 0 for a space-invariant filter (bicubic)
    reference   sum |f_i - f|^2 / sum |f_i|^2 against a reference filter f;  None without one
    """

    spread: float
    reference: float | None
    filters: torch.Tensor


def invariance(
    columns: torch.Tensor,
    places: Sequence[tuple[int, int]],
    radius: int,
    reference: torch.Tensor | None = None,
) -> Invariance:
    """Columns (K, C, H, W) cut to ``radius`` around their places (y, x) in output pixels, and compared.

    reference   the same cut of a known filter, (C, 2 radius + 1, 2 radius + 1)
    """
    cut = torch.stack([crop_around(c, p, radius) for c, p in zip(columns, places)]).double()
    total = cut.square().sum()
    apart = None if reference is None else float((cut - reference.double()).square().sum() / total)
    return Invariance(float((cut - cut.mean(0)).square().sum() / total), apart, cut)


def crop_around(image: torch.Tensor, place: tuple[int, int], radius: int) -> torch.Tensor:
    """(C, 2 radius + 1, 2 radius + 1) around a place, zeros outside of the image."""
    y, x = place
    return F.pad(image, (radius,) * 4)[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1]


@dataclass(frozen=True)
class Diagonal(Result):
    """Where the energy of rows lies: ``off`` is the share outside of ``radius`` pixels around their own places, (K,)."""

    off: torch.Tensor
    radius: int

    @property
    def mean(self) -> float:
        return float(self.off.mean())

    def numbers(self) -> dict[str, Any]:
        return {"radius": self.radius, "mean": self.mean, "largest": float(self.off.max()), "off": self.off}


def diagonal(rows: torch.Tensor, places: Sequence[tuple[int, int]], radius: int = 8) -> Diagonal:
    """Off-diagonal energy of rows (K, C, H, W) whose outputs lie over the input places (y, x)."""
    energy = rows.double().square().sum(1)
    outside = torch.stack([distance(e.shape, p) > radius for e, p in zip(energy, places)])
    return Diagonal((energy * outside).flatten(1).sum(1) / energy.flatten(1).sum(1).clamp_min(1e-300), radius)


@dataclass(frozen=True)
class Source(Result):
    """Where an output place takes from beyond its neighbourhood.

    place   (y, x) of the output;  source  (y, x), the centre of the strongest window elsewhere;  share  that window's part of the row's
    energy;  off  of everything beyond ``radius``;  energy  (H, W) of the row
    """

    place: tuple[int, int]
    source: tuple[int, int]
    window: int
    share: float
    off: float
    radius: int
    row: torch.Tensor


def copy_move(row: torch.Tensor, place: tuple[int, int], radius: int = 8, window: int = 9) -> Source:
    """The off-diagonal source of one output: the window, further than ``radius`` from its place, that holds most of the row's energy.

    row  (C, H, W);  the paper's copy-move strategy (Fig. 7 and 13) shows as a large ``share``
    """
    energy = row.double().square().sum(0)
    far = energy * (distance(energy.shape, place) > radius)
    sums = (
        F.avg_pool2d(far[None, None], window, 1, window // 2, count_include_pad=True)[0, 0] * window * window
    )
    y, x = divmod(int(sums.argmax()), energy.shape[1])
    total = float(energy.sum()) or 1.0
    return Source(
        tuple(place),
        (y, x),
        window,
        float(sums[y, x]) / total,
        float(far.sum()) / total,
        radius,
        row.unsqueeze(0),
    )


@dataclass(frozen=True)
class Reach(Result):
    """How far one row reads, under each reading of instance norm.

    bound    pixels to each side that the convolutions alone allow;  furthest  distance of the furthest coefficient that is not 0
    beyond   share of the row's energy outside of the bound;  rows  {reading: (C, H, W)}
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
        return self._rows


def reach(
    model: nn.Module,
    x0: torch.Tensor,
    index: tuple,
    place: tuple[int, int] | None = None,
    bound: int = 84,
    readings: Sequence[str] = INSTANCE_NORMS,
) -> Reach:
    """One row of F under every reading of instance norm: ``stats`` (Fig. 2, pointwise), ``scale`` (the mean stays linear), ``taylor``.

    index  of the output, (c, y, x);  place  (y, x) of the input under it (default: the same)
    bound  of the convolutions alone: 84 for CycleGAN's generator with 9 blocks, whose field is 169 pixels (READINGS 2)
    """
    place = tuple(index[-2:]) if place is None else place
    rows, furthest, beyond, error = {}, {}, {}, {}
    for reading in readings:
        lin = interpret(model, x0, policy={"instance_norm": reading})
        row = lin.F.row(index)
        away = distance(row.shape, place)
        energy = row.double().square().sum(0)
        rows[reading] = row
        furthest[reading] = int(away[energy > 0].max()) if bool((energy > 0).any()) else 0
        beyond[reading] = float(energy[away > bound].sum() / energy.sum())
        error[reading] = _sum_error(lin, row, index)
    return Reach(tuple(index), place, bound, furthest, beyond, error, rows)


def _sum_error(lin: LinearInterpreter, row: torch.Tensor, index: tuple) -> float:
    y = float(lin.y0[0][index])
    return abs(float((row.double() * lin.x0[0]).sum()) + float(lin.residual[0][index]) - y) / max(
        abs(y), 1e-12
    )


def rows_at(lin: LinearInterpreter, places: Sequence[tuple], progress: bool = True) -> torch.Tensor:
    """Rows of F at output indices (c, y, x); raises where the network gives scores."""
    if len(lin.F.outputs.shape) != 3:
        raise FxscopeError(f"rows at places need an image as output, got shape {tuple(lin.F.outputs.shape)}")
    return lin.F.rows(list(places), progress)
