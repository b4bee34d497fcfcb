"""The findings of the longer study that the package ships: ``python -m fxscope.paper.findings`` kept them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from .claims import Lines, findings_of
from .finding import Finding
from .run import Network

KEPT = Path(__file__).with_name("kept.json")


@dataclass(frozen=True)
class Kept:
    """Findings of an earlier run.

    Parameters
    ----------
    version : str
        The version of fxscope that measured.
    photographs : int
        How many were measured.
    findings : dict
        {claim: finding}.
    """

    version: str
    photographs: int
    findings: dict[str, Finding]

    @classmethod
    def of(cls, measured: Mapping[Network, Lines]) -> Kept:
        """From the lines of every network."""
        lines = [line for part in measured.values() for line in part]
        versions = sorted({line["fxscope"] for line in lines})
        count = len({line["photograph"] for line in lines})
        return cls(" and ".join(versions), count, {f.claim: f for f in findings_of(measured)})

    def to_json(self) -> str:
        """The text of ``KEPT``."""
        return json.dumps(asdict(self), indent=1) + "\n"


@cache
def kept() -> Kept:
    """What the package ships."""
    data = json.loads(KEPT.read_text(encoding="utf-8"))
    return Kept(**{**data, "findings": {claim: Finding(**f) for claim, f in data["findings"].items()}})
