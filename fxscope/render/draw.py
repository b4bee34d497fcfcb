"""Draw a rewritten graph: the original branch on the left, the interpreter branch on the right."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.fx as fx

from ..errors import FxscopeError
from ..graph.arguments import check_graph, checked
from ..graph.ir import emitted
from ..results.files import write_text
from ..results.pictures import of_svg
from . import page
from .cards import Card, cards_of
from .fold import every_group, groups_of, merge
from .measured import measure
from .operations import operations
from .scene import Scene
from .svg import write

DARK = r"\(prefers-color-scheme:\s*dark\)"  # in a notebook it stands on white, whatever the colours are
ROOM = "overflow:auto;max-height:70vh;background:#fff;border-radius:4px"


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
    scene : Scene, optional
        What a page needs to lay the graph out again when a module is expanded or folded.
    """

    svg: str
    boxes: dict[str, tuple[float, float, float, float]]
    title: str = ""
    cards: tuple[Card, ...] = ()
    scene: Scene | None = field(default=None, repr=False, compare=False)

    def clickable(self, page_style: bool = False, rules: str = "") -> str:
        """The picture as HTML, as wide as its place, in which a click on a box opens its card.

        A card has the rule, the formula, the source line and the generated code. No script is needed. With
        ``render.page.script()`` in the page the picture can be zoomed and searched, and modules expanded.

        Parameters
        ----------
        page_style : bool
            Leave out the drawing's own style sheet, because the page has that of all drawings
            (``render.style.site_style`` and ``render.page.sheet()``).
        rules : str
            The address of the pages of rules, as ``"../rules/cards/"``: each card then links to that of its
            rule. "" if the page has none.

        Returns
        -------
        str
            An HTML fragment.
        """
        return page.fragment(self.svg, self.cards, self.scene, page_style, rules)

    def save(self, path: str | Path) -> None:
        """Write the picture to a ``.svg`` file, or to a ``.html`` page to zoom, search, expand and click in.

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
        text = self.svg if path.suffix.lower() == ".svg" else page.whole(self.title, self.clickable())
        write_text(path, text)

    def _repr_svg_(self) -> str:
        return self.svg

    def _repr_html_(self) -> str:
        light = re.sub(DARK, "(max-width:0)", self.svg)
        said = re.search(r"<desc[^>]*>(.*?)</desc>", light, re.S)
        alt = html.unescape(said[1]) if said else ""
        return (
            f'<div style="{ROOM}" role="group" aria-label="drawing of the graph" tabindex="0">'
            f"{of_svg(light, f'{self.title}. {alt}', fit=False)}</div>"
        )

    def __repr__(self) -> str:
        return f"Drawing({self.title!r}, {len(self.boxes)} boxes)"


@checked
def draw(gm: fx.GraphModule, fold: bool | int = True, example: torch.Tensor | tuple | None = None) -> Drawing:
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
        module at that depth of the module path as one box. False draws every operation. In a page each module
        can be expanded and folded again.
    example : torch.Tensor or tuple, optional
        What the graph is called with; one tensor is x0, and x1 too. The graph is run once, and the shape of
        every result stands on its edges, its multiply-adds on the cards.

    Returns
    -------
    Drawing
        The SVG picture.

    Raises
    ------
    FxscopeError
        If ``gm`` is no graph or does not run on ``example``, ``fold`` is another value, or python-igraph is
        not installed.

    Examples
    --------
    >>> import torch, fxscope
    >>> drawing = fxscope.draw(fxscope.transform(torch.nn.ReLU()))
    >>> drawing.svg[:4]
    '<svg'
    """
    whole = operations(check_graph("draw", gm))
    if example is not None:
        measure(gm, whole, example)
    groups = groups_of(whole, fold)
    picture = merge(whole, groups)
    form = emitted(gm).get("form", "")
    title = type(gm).__name__.removesuffix(f"_{form}")
    linearised = emitted(gm).get("linearised", ())
    if linearised:
        title += f"; linearised by their derivative: {', '.join(linearised)}"
    svg, g = write(picture, title, form)
    return Drawing(
        svg,
        {" ".join(name): rectangle for name, rectangle in g.rectangles.items()},
        title,
        cards_of(picture),
        Scene(whole, picture, tuple(groups), tuple(every_group(whole, groups)), g, form),
    )
