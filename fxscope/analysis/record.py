"""What every result shares: plain JSON of its fields, and itself as a table in a notebook."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from typing import Any

import torch


class Result:
    """Base of the records: ``numbers`` are the figures of merit, which the table and the JSON show."""

    def numbers(self) -> dict[str, Any]:
        """The measured numbers by name; tensors of pictures are left out."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if not f.name.startswith("_") and not _picture(getattr(self, f.name))}

    def to_json(self) -> str:
        return json.dumps({"kind": type(self).__name__, **plain(self.numbers())}, indent=2)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(_short(v))}</td></tr>" for k, v in plain(self.numbers()).items())
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"


def plain(value: Any) -> Any:
    """Numbers, lists and dicts that JSON holds; a number that is not finite becomes null."""
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if dataclasses.is_dataclass(value):
        return plain({f.name: getattr(value, f.name) for f in dataclasses.fields(value) if not f.name.startswith("_")})
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _picture(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.dim() > 2


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    text = json.dumps(value)
    return text if len(text) <= 90 else text[:87] + "..."
