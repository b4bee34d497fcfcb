"""``Filters``: rows or columns of F with where they come from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils import _pytree as pytree

from ..graph.interpretation import of
from ..results.records import read, write
from ..results.registry import Drawn
from .scale import norms


@dataclass(frozen=True)
class Filters(Drawn):
    """Rows or columns of F (paper, eq. 7 to 9): ``lin.F.filters(rows=[...])``, ``lin.F.filters(columns=[...])``.

    kind     "row" (receptive filters, output units per input unit) or "column" (projective filters)
    indices  what they are of, as text, R of them;   values   (R, *inputs) of rows, (R, *outputs) of columns
    origin   model, hashes of weights and image, policy, dtype, verification error, versions
    """

    kind: str
    indices: tuple[str, ...]
    values: Any
    origin: dict[str, Any]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, which: int) -> Any:
        return pytree.tree_map(lambda t: t[which], self.values)

    @property
    def interpretation(self) -> int:
        """The version of the interpretation that these are of."""
        return of(self.origin)

    def numbers(self) -> dict[str, Any]:
        """Sum, norm and largest magnitude of each."""
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

    def to_json(self) -> str:
        return json.dumps(self.numbers(), indent=2)

    def save(self, path: str | Path) -> Path:
        """Everything into one .safetensors file."""
        return write(
            path,
            "filters",
            {"kind": self.kind, "indices": list(self.indices), "origin": self.origin},
            {"values": self.values},
        )

    @classmethod
    def load(cls, path: str | Path, device: Any = "cpu") -> Filters:
        """What ``save`` wrote; raises ``FxscopeError`` where the file is something else."""
        header, found = read(path, "filters", "rows or columns", device)
        return cls(header["kind"], tuple(header["indices"]), found["values"], header["origin"])

    def __repr__(self) -> str:
        return (
            f"Filters({len(self)} {self.kind}s of {self.origin.get('model', 'an operator')},"
            f" {', '.join(self.indices[:4])}{', ...' if len(self) > 4 else ''})"
        )

    def _repr_html_(self) -> str:
        found = self.numbers()
        body = "".join(
            f"<tr><td>{i}</td><td>{s:.4g}</td><td>{n:.4g}</td><td>{m:.4g}</td></tr>"
            for i, s, n, m in zip(self.indices, found["sum"], found["norm"], found["largest"])
        )
        return f"<table><caption>{self!r}</caption><tr><th>{self.kind}</th><th>sum</th><th>norm</th><th>largest</th></tr>{body}</table>"
