"""What every result shares: plain JSON of its fields, and itself as a table in a notebook."""

from __future__ import annotations

import dataclasses
import html
import json
from typing import Any

import torch

from ..graph.interpretation import KEY, VERSION
from .records import plain
from .registry import Drawn


@dataclasses.dataclass(frozen=True)
class Result(Drawn):
    """Base of the records: ``numbers`` are the figures of merit, which the table and the JSON show; each is of a version of the interpretation."""

    interpretation: int = dataclasses.field(default=VERSION, kw_only=True)

    def numbers(self) -> dict[str, Any]:
        """The measured numbers by name; tensors of pictures are left out."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if _figure(self, f.name)}

    def to_json(self) -> str:
        return json.dumps(
            {"kind": type(self).__name__, KEY: self.interpretation, **plain(self.numbers())}, indent=2
        )

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(_short(v))}</td></tr>"
            for k, v in plain(self.numbers()).items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def _figure(record: Result, name: str) -> bool:
    value = getattr(record, name)
    return (
        not name.startswith("_") and name != KEY and not (isinstance(value, torch.Tensor) and value.dim() > 2)
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = json.dumps(value)
    return text if len(text) <= 90 else text[:87] + "..."
