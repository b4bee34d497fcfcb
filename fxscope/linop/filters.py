"""``Filters``: rows or columns of F with provenance, plotting and file I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch.utils import _pytree as pytree

from ..results.base import Result
from ..results.provenance import caption
from ..results.tables import Column, Table, counted
from .scale import norms


@dataclass(frozen=True, repr=False)
class Filters(Result):
    """Rows or columns of F (paper, eq. 7 to 9), from ``lin.F.filters(rows=[...])`` or ``columns=[...]``.

    Attributes
    ----------
    kind : {"row", "column"}
        Rows are receptive filters, in output units per input unit; columns are projective filters.
    indices : tuple of str
        The R indices as text.
    values : torch.Tensor or structure of tensors
        (R, *inputs) for rows, (R, *outputs) for columns.
    origin : dict
        Provenance: model, hashes of weights and image, policy, dtype, verification error, versions.
    places : tuple of ((int, int) or None), optional
        Of a network from images to images: (y, x) of the input on which each row is centred, or of the output
        on which each column is, as ``lin.F.alignment()`` tells.
    """

    description: ClassVar[str] = "rows or columns"
    kind: str
    indices: tuple[str, ...]
    values: Any
    origin: dict[str, Any]
    places: tuple[tuple[int, int] | None, ...] = ()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, which: int) -> Any:
        return pytree.tree_map(lambda t: t[which], self.values)

    def numbers(self) -> dict[str, Any]:
        """Sum, norm and largest magnitude of each filter, as plain numbers."""
        flat = torch.cat([t.flatten(1) for t in pytree.tree_leaves(self.values)], 1)
        said = {
            "kind": self.kind,
            "indices": list(self.indices),
            "sum": flat.double().sum(1).tolist(),
            "norm": norms(flat).tolist(),
        }
        return {
            **said,
            "largest": flat.abs().amax(1).tolist(),
            "interpretation": self.interpretation,
            "origin": self.origin,
        }

    def _said(self) -> Iterable[str]:
        first = " ".join(self.indices[:4]) + (" ..." if len(self) > 4 else "")
        return [counted(len(self), self.kind), *caption(self.origin).split(", "), first]

    def _table(self) -> Table:
        found = self.numbers()
        columns: list[Column | str] = [
            self.kind,
            *(Column(name, "output per input") for name in ("sum", "norm", "largest")),
        ]
        numbers = (found[name] for name in ("sum", "norm", "largest"))
        return Table(columns, list(zip(self.indices, *numbers)), caption(self.origin))
