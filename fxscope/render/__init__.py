"""The rewritten graph for people: a table, a networkx graph, a picture."""

from .draw import Drawing, draw
from .networkx import crossings, to_networkx
from .summary import Summary, summary

__all__ = ["Drawing", "Summary", "crossings", "draw", "summary", "to_networkx"]
