"""The rewritten graph as a picture: the original branch on the left, its interpreter on the right."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import torch.fx as fx

from ..errors import FxscopeError
from ..graph.ir import emitted
from .cards import Card, cards_of, clickable
from .fold import fold as folded
from .operations import graph_module, operations
from .svg import write


@dataclass(frozen=True)
class Drawing:
    """An SVG that shows itself in a notebook and saves itself to a file.

    svg    the text of the picture, self-contained
    boxes  {"branch key": (x, y, width, height)}, where every box is
    title  what is drawn
    cards  of every box: what a click on it opens in a page
    """

    svg: str
    boxes: dict[str, tuple[float, float, float, float]]
    title: str = ""
    cards: tuple[Card, ...] = ()

    def clickable(self, page_style: bool = False) -> str:
        """The picture as HTML in which a click on a box opens its card, without a script.

        A card holds rule, formula, source line and generated code.

        Parameters
        ----------
        page_style : bool
            The page has the style sheet of all drawings (``render.style.site_style``); leave out the
            drawing's own.
        """
        return clickable(self.svg, self.cards, page_style)

    def save(self, path: str | Path) -> None:
        """Write the picture as ``.svg``, or as a page of its own as ``.html``."""
        path = Path(path)
        if path.suffix.lower() not in (".svg", ".html", ".htm"):
            raise FxscopeError(f"a drawing is saved as .svg or .html, not as {path.suffix or path.name!r}")
        path.write_text(self.svg if path.suffix.lower() == ".svg" else self._page(), encoding="utf-8")

    def _page(self) -> str:
        head = (
            '<meta charset="utf-8"><meta name="color-scheme" content="light'
            f' dark"><title>{html.escape(self.title)}</title>'
        )
        return f"<!doctype html>\n<html lang=en><head>{head}</head><body>{self.clickable()}</body></html>\n"

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        return f'<div style="overflow:auto;max-height:90vh">{self.svg}</div>'

    def __repr__(self) -> str:
        return f"Drawing({self.title!r}, {len(self.boxes)} boxes)"


def draw(gm: fx.GraphModule, fold: bool | int = True) -> Drawing:
    """Draw a graph: two columns for a rewritten one, one for a graph that was only traced.

    An operation and its linear twin are at the same height, in the colour of what is frozen. Hover over a box
    for rule, formula, parameters, source line and generated code. A click opens them in ``.clickable()`` and
    in ``.save("graph.html")``.

    Parameters
    ----------
    gm : torch.fx.GraphModule
        What ``fxscope.transform`` returns, or any other graph.
    fold : bool or int
        True draws the first of repeated modules, and each of the others as one box. An int draws every module
        at that depth of the module path as one box. False draws every operation.

    Returns
    -------
    Drawing
        The SVG, which shows itself in a notebook.

    Raises
    ------
    FxscopeError
        If python-igraph, which lays the graph out, is not installed.
    """
    picture = folded(operations(graph_module(gm, "draw")), fold)
    form = emitted(gm).get("form", "")
    title = type(gm).__name__.removesuffix(f"_{form}")
    svg, g = write(picture, title, form)
    return Drawing(
        svg, {" ".join(name): rectangle for name, rectangle in g.rectangles.items()}, title, cards_of(picture)
    )
