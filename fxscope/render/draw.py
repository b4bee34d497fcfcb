"""Draw a rewritten graph: the original branch on the left, the interpreter branch on the right."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path

import torch.fx as fx

from ..errors import FxscopeError
from ..graph.arguments import check_graph, checked
from ..graph.ir import emitted
from ..results.files import write_text
from .cards import Card, cards_of, clickable
from .fold import fold as folded
from .operations import operations
from .svg import write


@dataclass(frozen=True)
class Drawing:
    """An SVG picture, which a notebook shows and ``save`` writes to a file.

    Parameters
    ----------
    svg : str
        The text of the picture; it needs no other file.
    boxes : dict
        {"branch key": (x, y, width, height)} of every box, in pixels.
    title : str
        The class of the model.
    cards : tuple of Card
        One card for each box, which a click on the box opens in a page.
    """

    svg: str
    boxes: dict[str, tuple[float, float, float, float]]
    title: str = ""
    cards: tuple[Card, ...] = ()

    def clickable(self, page_style: bool = False) -> str:
        """The picture as HTML, in which a click on a box opens its card. No script is needed.

        A card has the rule, the formula, the source line and the generated code.

        Parameters
        ----------
        page_style : bool
            Leave out the drawing's own style sheet, because the page has that of all drawings
            (``render.style.site_style``).

        Returns
        -------
        str
            An HTML fragment.
        """
        return clickable(self.svg, self.cards, page_style)

    def save(self, path: str | Path) -> None:
        """Write the picture to a ``.svg`` file, or to a ``.html`` page in which boxes can be clicked.

        Parameters
        ----------
        path : str or Path
            The file.

        Raises
        ------
        FxscopeError
            If the suffix is another one.
        """
        path = Path(path)
        if path.suffix.lower() not in (".svg", ".html", ".htm"):
            raise FxscopeError(f"a drawing is saved as .svg or .html, not as {path.suffix or path.name!r}")
        write_text(path, self.svg if path.suffix.lower() == ".svg" else self._page())

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


@checked
def draw(gm: fx.GraphModule, fold: bool | int = True) -> Drawing:
    """Draw a graph: a rewritten one in two columns, one for each branch; another graph in one column.

    An operation and its twin are at the same height, and have the colour of what is frozen. The hover text of
    a box has the rule, formula, parameters, source line and generated code; ``.clickable()`` and
    ``.save("graph.html")`` show them on a click.

    Parameters
    ----------
    gm : torch.fx.GraphModule
        The result of ``fxscope.transform``, or any other graph.
    fold : bool or int
        True draws the first of several equal modules, and each of the others as one box. A number draws every
        module at that depth of the module path as one box. False draws every operation.

    Returns
    -------
    Drawing
        The SVG picture.

    Raises
    ------
    FxscopeError
        If ``gm`` is no graph, ``fold`` is another value, or python-igraph is not installed.

    Examples
    --------
    >>> import torch, fxscope
    >>> drawing = fxscope.draw(fxscope.transform(torch.nn.ReLU()))
    >>> drawing.svg[:4]
    '<svg'
    """
    picture = folded(operations(check_graph("draw", gm)), fold)
    form = emitted(gm).get("form", "")
    title = type(gm).__name__.removesuffix(f"_{form}")
    linearised = emitted(gm).get("linearised", ())
    if linearised:
        title += f"; linearised by their derivative: {', '.join(linearised)}"
    svg, g = write(picture, title, form)
    return Drawing(
        svg, {" ".join(name): rectangle for name, rectangle in g.rectangles.items()}, title, cards_of(picture)
    )
