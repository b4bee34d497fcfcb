"""The base of the records: JSON of their fields, and a table in a notebook."""

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
    """Base of the records: its fields are numbers, which its JSON and its table in a notebook show.

    interpretation   the version of the interpretation that the numbers are of
    """

    interpretation: int = dataclasses.field(default=VERSION, kw_only=True)

    def numbers(self) -> dict[str, Any]:
        """The fields by name, without private ones and without pictures (tensors of over two dimensions)."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if _figure(self, f.name)}

    def to_json(self) -> str:
        """The numbers as JSON text, with the kind of the record and the version of the interpretation."""
        head = {"kind": type(self).__name__, KEY: self.interpretation}
        return json.dumps({**head, **plain(self.numbers())}, indent=2)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(_short(v))}</td></tr>"
            for k, v in plain(self.numbers()).items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def _figure(record: Result, name: str) -> bool:
    value = getattr(record, name)
    picture = isinstance(value, torch.Tensor) and value.dim() > 2
    return not name.startswith("_") and name != KEY and not picture


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = json.dumps(value)
    return text if len(text) <= 90 else text[:87] + "..."
