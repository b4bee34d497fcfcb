"""The paper's findings, measured on networks that others trained, over photographs that packages ship."""

from .claims import findings_of
from .finding import Finding
from .longer import Kept, kept
from .photographs import Photograph, photographs
from .run import NETWORKS, Network, measure
from .verdict import Verdict, judge

__all__ = [
    "NETWORKS",
    "Finding",
    "Kept",
    "Network",
    "Photograph",
    "Verdict",
    "findings_of",
    "judge",
    "kept",
    "measure",
    "photographs",
]
