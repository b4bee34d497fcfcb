"""A rewritten graph as a table, as a networkx graph, and as a drawing."""

from . import notebook as notebook  # registers what graphs show
from .cards import Card
from .draw import Drawing, draw
from .networkx import crossings, to_networkx
from .summary import Summary, summary

__all__ = ["Card", "Drawing", "Summary", "crossings", "draw", "summary", "to_networkx"]
