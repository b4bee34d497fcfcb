"""Graphs in a notebook: the drawing where it is small enough, and what the summary counts."""

from __future__ import annotations

import torch.fx as fx

from ..graph.ir import emitted
from ..graph.registry import provides
from ..results.display import html_of
from ..results.tables import Table, said
from .draw import draw
from .summary import summary

MOST = 130_000  # letters of a drawing in a notebook


@provides(fx.GraphModule, "html")
def html(gm: fx.GraphModule) -> str:
    """A graph in a notebook; what cannot be drawn, or is too large, says so."""
    return html_of(gm.__repr__, lambda: counted(gm).html(), lambda: drawn(gm))


def counted(gm: fx.GraphModule) -> Table:
    """Form, nodes of each branch, nonlinearities and frozen states of a graph."""
    found, about = summary(gm), emitted(gm)
    rows = [
        ("form", about.get("form", "")),
        ("policy", about.get("policy", "")),
        ("nodes", said(found.nodes)),
        ("nonlinearities", _counts(found.nonlinearities)),
        ("frozen states", _counts(found.freezes)),
        ("constant outputs", ", ".join(found.constant)),
        ("linearised by their derivative", ", ".join(found.linearised)),
        ("sizes", found.specialised),
    ]
    note = "fxscope.draw(graph).save('graph.html') draws it, fxscope.summary(graph) lists every operation."
    return Table(("", ""), [row for row in rows if row[1]], notes=(note,))


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def drawn(gm: fx.GraphModule) -> str:
    """The drawing, with whole modules as boxes where all of it is too large; "" where these are too many."""
    for fold in (True, 2, 1):
        drawing = draw(gm, fold)
        if len(drawing.svg) <= MOST:
            return drawing._repr_html_()
    return ""
