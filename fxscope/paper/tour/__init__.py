"""The pages: the tour, which shows what the paper shows, and the report on one's own network."""

from .networks import Network, network
from .page import Chapter, Finding, Page, Written
from .report import report
from .tour import CHAPTERS, tour

__all__ = ["CHAPTERS", "Chapter", "Finding", "Network", "Page", "Written", "network", "report", "tour"]
