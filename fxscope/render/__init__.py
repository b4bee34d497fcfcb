"""The rewritten graph for people: a table, a networkx graph, a picture."""

from .cards import Card
from .draw import Drawing, draw
from .networkx import crossings, to_networkx
from .summary import Summary, summary

__all__ = ["Card", "Drawing", "Summary", "crossings", "draw", "summary", "to_networkx"]
