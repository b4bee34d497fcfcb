"""Cards: the text that a page shows when a box of a drawing is clicked. No script is needed."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

from .operations import Box, Picture


@dataclass(frozen=True)
class Card:
    """The text of one box of a drawing.

    Parameters
    ----------
    name : str
        The operation or the kind of twin, its place in the model, and the branch.
    lines : tuple of str
        Role, rule and variant; formula; module; source line; frozen states; parameters.
    code : tuple of str
        The lines of generated code that the box stands for.
    """

    name: str
    lines: tuple[str, ...]
    code: tuple[str, ...]


def cards_of(picture: Picture) -> tuple[Card, ...]:
    """One card for each box of a picture, in the order of the boxes."""
    return tuple(_card(box) for box in picture.boxes.values())


def _card(box: Box) -> Card:
    branch = {"original": "original branch", "interpreter": "interpreter branch"}.get(box.branch, "")
    lines = box.hover + (["no twin: runs on x0 only"] if box.alone else [])
    return Card(
        f"{box.name} {box.place}".strip() + (f" ({branch})" if branch else ""), tuple(lines), tuple(box.code)
    )


def clickable(svg: str, cards: tuple[Card, ...], page_style: bool = False) -> str:
    """A drawing as HTML: each box links to its card, and CSS shows the card that the link targets."""
    ids = re.findall(r'<g id="([^"]+-b\d+)"', svg)
    known = {name: card for name, card in zip(ids, cards) if card.lines or card.code}

    def linked(box: re.Match) -> str:
        return f'<a href="#{box[1]}-card">{box[0]}</a>' if box[1] in known else box[0]

    svg = re.sub(r'<g id="([^"]+-b\d+)" class="box.*?</g>', linked, svg, flags=re.S)
    svg = re.sub(r"<style>.*?</style>\n?", "", svg, flags=re.S) if page_style else svg
    style = "" if page_style else f"<style>{STYLE}</style>"
    opened = "".join(_html(name, card) for name, card in known.items())
    return f'{style}<div class="fxscope-graph"><div class="fxscope-canvas">{svg}</div>{opened}</div>'


def _html(name: str, card: Card) -> str:
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in card.lines)
    code = f"<pre>{html.escape(chr(10).join(card.code))}</pre>" if card.code else ""
    return (
        f'<div class="fxscope-card" id="{name}-card"><a class="fxscope-close" href="#!"'
        f' aria-label="close">×</a><p><b>{html.escape(card.name)}</b></p>{lines}{code}</div>'
    )


STYLE = (
    ".fxscope-canvas{overflow:auto}"
    ".fxscope-card{display:none}"
    ".fxscope-card:target{display:block;position:fixed;right:1rem;bottom:1rem;z-index:50;"
    "box-sizing:border-box;"
    "max-width:min(46rem,calc(100vw - 2rem));max-height:60vh;overflow:auto;"
    "padding:.7rem 2.4rem .7rem 1rem;border:1px solid"
    " #8888;border-radius:8px;background:Canvas;color:CanvasText;box-shadow:0 6px 28px #0006;font:13px/1.45"
    " system-ui,sans-serif}"
    ".fxscope-card p{margin:0 0 .25rem;overflow-wrap:anywhere}"
    ".fxscope-card pre{margin:.5rem 0 0;font:12px/1.45"
    " ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere}"
    ".fxscope-close{position:absolute;right:.7rem;top:.2rem;"
    "font-size:1.4rem;text-decoration:none;color:inherit}"
)
