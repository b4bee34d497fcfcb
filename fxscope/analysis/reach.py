"""How far a row of a network of images reaches, under each variant of instance norm."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..graph.arguments import checked
from ..linop import interpret
from ..results.base import VersionedResult
from ..results.provenance import of_network, picture
from ..results.tables import Column, Table
from .images import distance

if TYPE_CHECKING:
    from ..linop import LinearInterpreter

INSTANCE_NORMS = ("stats", "scale", "taylor")


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
    _photograph: Any = field(default=None, repr=False, compare=False)

    @property
    def rows(self) -> dict[str, torch.Tensor]:
        """{variant: row (C, H, W)}."""
        return self._rows

    def _said(self) -> Iterable[str]:
        each = (f"{name} {far} px" for name, far in self.furthest.items())
        return [f"y0[{', '.join(map(str, self.index))}]", *each, f"convolutions {self.bound} px"]

    def _table(self) -> Table:
        columns = (
            "instance norm",
            Column("furthest", "px"),
            Column(f"beyond {self.bound} px", "of the energy", ".3%"),
            Column("error", form=".1e"),
        )
        rows = [(n, far, self.beyond[n], self.error[n]) for n, far in self.furthest.items()]
        at = f"the row of y0[{', '.join(map(str, self.index))}], around {self.place}"
        return Table(columns, rows, at)


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
    origin = of_network(model, None, x0) | {"error": max(error.values())}
    about: dict[str, Any] = {"_photograph": picture(x0), "_provenance": origin}
    return Reach(tuple(index), place, bound, furthest, beyond, error, rows, **about)


def _sum_error(lin: LinearInterpreter, row: torch.Tensor, index: tuple) -> float:
    y = float(lin.y0[0][index])
    return abs(float((row.double() * lin.x0[0]).sum()) + float(lin.residual[0][index]) - y) / max(
        abs(y), 1e-12
    )
