"""``LocalRow`` and ``LocalColumn``: rows and columns on the box outside of which they are 0."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from ...results.base import VersionedResult
from ...results.tables import Column, Table, said


@dataclass(frozen=True, repr=False)
class _OnBox(VersionedResult):
    """A filter on a box of the whole tensor.

    Parameters
    ----------
    values : torch.Tensor
        The filter on the box, (C, h, w), in output units per input unit.
    box : tuple of slice
        The box in the whole tensor, one slice for each dimension of (C, H, W).
    """

    values: torch.Tensor
    box: tuple[slice, ...]

    def numbers(self) -> dict[str, Any]:
        """The box as (first, end) of every dimension, and plain numbers."""
        return super().numbers() | {"box": _ends(self.box)}

    def _said(self) -> Iterable[str]:
        within = " x ".join(f"{s.start}:{s.stop}" for s in self.box)
        return [f"{said(self.values)} at {within}", f"norm {float(self.values.double().norm()):.4g}"]

    def _table(self) -> Table:
        ends = zip(("channels", "rows", "columns"), _ends(self.box))
        rows = [(name, f"{first} to {end - 1}") for name, (first, end) in ends]
        numbers = {n: v for n, v in super().numbers().items() if isinstance(v, float)}
        norm = ("norm", float(self.values.double().norm()))
        return Table(("", Column("value")), [*rows, norm, *numbers.items()])

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        header, tensors = super()._parts()
        return header | {"box": _ends(self.box)}, tensors

    @classmethod
    def _whole(cls, header: dict[str, Any], tensors: dict[str, Any]) -> Self:
        return super()._whole(header | {"box": tuple(slice(*ends) for ends in header["box"])}, tensors)


@dataclass(frozen=True, repr=False)
class LocalRow(_OnBox):
    """A row of F on its receptive field; outside of it the row is 0.

    Attributes
    ----------
    values : torch.Tensor
        The row on the field, (C, h, w), in output units per input unit.
    box : tuple of slice
        The field in x0, one slice for each dimension of (C, H, W).
    y0 : float
        The output.
    r : float
        The residual of the output: <values, x0[box]> + r = y0.
    """

    description: ClassVar[str] = "row of a crop"
    y0: float
    r: float


@dataclass(frozen=True, repr=False)
class LocalColumn(_OnBox):
    """A column of F on the outputs that depend on its input; elsewhere the column is 0.

    Attributes
    ----------
    values : torch.Tensor
        The column on these outputs, (C, h, w), in output units per input unit.
    box : tuple of slice
        Their box in y0, one slice for each dimension of (C, H, W).
    """

    description: ClassVar[str] = "column of a crop"


def _ends(box: tuple[slice, ...]) -> list[list[int]]:
    return [[s.start, s.stop] for s in box]
