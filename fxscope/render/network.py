"""The networkx graph that ``to_networkx`` gives, in a file of its own: networkx is imported for it alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

import networkx as nx

from ..results.display import Displayed
from ..results.tables import Table


class Network(nx.DiGraph, Displayed):
    """A graph as a networkx graph, which shows itself: nodes of each branch, edges of each kind."""

    _drawn: Callable[[], str] | None = None

    def _said(self) -> Iterable[str]:
        return [self.name, f"{self.number_of_nodes()} nodes", f"{self.number_of_edges()} edges"]

    def _table(self) -> Table:
        nodes = Counter(branch or "no branch" for _, branch in self.nodes(data="branch"))
        edges = Counter(
            (kind or "no kind", label or "")
            for kind, label in ((edge.get("kind"), edge.get("label")) for *_, edge in self.edges(data=True))
        )
        rows = [("nodes", branch, "", count) for branch, count in nodes.items()]
        rows += [("edges", kind, label, count) for (kind, label), count in edges.most_common()]
        return Table(("", "branch or kind", "what is frozen", "how many"), rows)

    def _picture(self) -> str:
        return self._drawn() if self._drawn else ""  # copies and subgraphs have no drawing

    __repr__ = Displayed.__repr__
