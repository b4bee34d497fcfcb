"""The paper's findings, measured on networks that others trained, over photographs that packages ship."""

from .claims import findings_of
from .finding import Finding
from .photographs import Photograph, photographs
from .run import NETWORKS, Network, measure

__all__ = ["NETWORKS", "Finding", "Network", "Photograph", "findings_of", "measure", "photographs"]
