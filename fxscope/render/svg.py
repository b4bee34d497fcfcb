"""Write a picture as SVG text that needs no other file, for light and dark pages."""

from __future__ import annotations

import html
import itertools
import zlib
from collections import Counter

from .crossing import Caption, freeze_ways
from .geometry import BOLD, HEADING, LINE, MARGIN, PADDING, REGULAR, STACK, Geometry, geometry, stack
from .legend import legend
from .operations import OUTPUT, Box, Picture
from .palette import FAMILIES
from .paths import Way, data_ways
from .style import style

TITLE = 9.2  # width of a letter of the title, in pixels
CODE = 12  # lines of generated code in the hover text
_drawings = itertools.count(1)
_HEADINGS = {"original": "original branch", "interpreter": "interpreter branch"}
_FORMS = {
    "pair": "x1 to y1 = F(x0) x1 + r(x0)",
    "filter": "x1 to y1 = F(x0) x1",
    "residual": "y1 = r(x0)",
    "adjoint": "upwards, y2 to x2 = F(x0)ᵀ y2",
    "row": "upwards, from one output to its row",
    "argmax": "upwards, from the largest output to its row",
}


def write(picture: Picture, title: str, form: str = "") -> tuple[str, Geometry]:
    """The SVG text of a picture, and its geometry."""
    g = geometry(picture)
    top = MARGIN + 24
    entries, height, least = legend(picture, MARGIN, top, g.width - 2 * MARGIN)
    stack(g, picture, top + height + HEADING * (len(g.inner) > 1))
    freezes, captions = freeze_ways(picture, g)
    g.top = top + height
    name = f"fx{zlib.crc32(repr([title, *picture.boxes]).encode()):08x}-{next(_drawings)}"
    head = [_text(MARGIN, MARGIN + 8, title, "title"), *entries]
    backwards = any(source == ("interpreter", OUTPUT) for source, _ in picture.data)
    body = [
        *_headings(g, form, g.top + 18),
        *(_way(way, "data", name) for way in data_ways(picture, g)),
        *(_way(way, "freeze", name) for way in freezes),
        *(_box(box, g, box_id(name, i)) for i, box in enumerate(picture.boxes.values())),
        *(_shape(box, g, backwards) for box in picture.boxes.values() if box.shape),
        *(_caption(caption) for caption in captions),
    ]
    g.least = max(least + MARGIN, MARGIN + TITLE * len(title), _reach(g, form)) + MARGIN
    text = "\n".join([*head, '<g class="body">', *body, "</g>"])
    return _page(name, title, _described(picture, form), text, max(g.width, g.least), g.height), g


def box_id(name: str, number: int) -> str:
    """The id of a box in the SVG: the id of the drawing, and the number of the box."""
    return f"{name}-b{number}"


def _described(picture: Picture, form: str) -> str:
    """What a screen reader says of the picture."""
    counts = {branch: sum(b == branch for b, _ in picture.boxes) for branch in picture.branches()}
    boxes = " and ".join(
        f"{count} boxes" + (f" in the {_HEADINGS[branch]}" if branch in _HEADINGS else "")
        for branch, count in counts.items()
    )
    carried = sum(picture.freezes.values(), Counter())
    edges = ", ".join(f"{count} × {label}" for label, count in sorted(carried.items()))
    return f"A graph{f' of the form {form}' if form else ''}: {boxes}" + (
        f"; freeze edges between them: {edges}." if edges else "."
    )


def _page(name: str, title: str, description: str, body: str, width: float, height: float) -> str:
    arrows = "".join(_arrow(name, kind) for kind in ("data", *FAMILIES))
    return (
        f'<svg id="{name}" class="fxscope-drawing" xmlns="http://www.w3.org/2000/svg" role="img"'
        f' aria-labelledby="{name}-title" aria-describedby="{name}-desc"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}"'
        f' height="{height:.0f}" font-family="system-ui, sans-serif" font-size="12">\n<title'
        f' id="{name}-title">{html.escape(title)}</title><desc'
        f' id="{name}-desc">{html.escape(description)}</desc>\n<style>{style(name)}</style>\n'
        f"<defs>{arrows}</defs>\n"
        '<rect class="page"'
        f' width="100%" height="100%"/>\n{body}\n</svg>'
    )


def _arrow(name: str, kind: str) -> str:
    return (
        f'<marker id="{name}-{kind}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8"'
        ' markerHeight="8" markerUnits="userSpaceOnUse" orient="auto-start-reverse"><path d="M0 0.5L8 4L0'
        ' 7.5z"/></marker>'
    )


def headings(form: str) -> dict[str, tuple[str, str]]:
    """{branch: its heading and the line below}."""
    left = "x0 to y0" if form in ("", "pair") else "x0 to what is frozen"
    below = {"original": left, "interpreter": _FORMS.get(form, "x1 to y1")}
    return {branch: (heading, below[branch]) for branch, heading in _HEADINGS.items()}


def _headings(g: Geometry, form: str, y: float) -> list[str]:
    parts = []
    for branch, (heading, below) in headings(form).items():
        if branch in g.inner:
            x = _left(g, branch)
            parts += [_text(x, y, heading, "heading"), _text(x, y + LINE, below, "muted")]
    return parts


def _reach(g: Geometry, form: str) -> float:
    """X at which the longest line below a heading ends."""
    below = {branch: line for branch, (_, line) in headings(form).items() if branch in g.inner}
    return max((_left(g, branch) + REGULAR * len(line) for branch, line in below.items()), default=0.0)


def _left(g: Geometry, branch: str) -> float:
    """X at which the innermost box of a column begins."""
    return g.inner[branch] - (g.box_width if g.sign[branch] < 0 else 0)


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'


def _way(way: Way, kind: str, name: str) -> str:
    tip = f' marker-{"start" if way.up else "end"}="url(#{name}-{way.label or "data"})"'
    return f'<path class="{f"{kind} {way.label}".rstrip()}"{"" if way.joins else tip} d="{way.d}"/>'


def _caption(caption: Caption) -> str:
    text = f"{caption.label} ×{caption.count}" if caption.count > 1 else caption.label
    width = REGULAR * (len(text) + 2)
    return (
        f'<rect class="page" x="{caption.x - width / 2:.1f}" y="{caption.y - 6:.1f}" width="{width:.1f}"'
        f' height="12"/><text class="caption {caption.label}" x="{caption.x:.1f}"'
        f' y="{caption.y + 4:.1f}">{text}</text>'
    )


def _box(box: Box, g: Geometry, name: str) -> str:
    """A box with its hover text; its border is dashed if the operation has no twin."""
    x, y, w, h = g.rectangles[box.branch, box.key]
    kind = f"box {box.kind}{' alone' if box.alone else ''}"
    shifts, inset = {0: (), 1: (STACK,)}.get(box.stack, (STACK, STACK / 2)), STACK if box.stack else 0
    cards = "".join(
        f'<rect x="{x + d:.1f}" y="{y + d:.1f}" width="{w - inset:.1f}" height="{h - inset:.1f}" rx="5"/>'
        for d in (*shifts, 0)
    )
    hover = html.escape(
        "\n".join(box.hover + (["no twin: runs on x0 only"] if box.alone else []) + box.code[:CODE])
    )
    label = _label(box, x + PADDING, y + LINE, w - 2 * PADDING - inset)
    return f'<g id="{name}" class="{kind}"><title>{hover}</title>{cards}{label}</g>'


def _shape(box: Box, g: Geometry, backwards: bool) -> str:
    """The shape of a result, beside the start of its edges."""
    x, y, w, h = g.rectangles[box.branch, box.key]
    above = backwards and box.branch == "interpreter"
    if above and not g.row((box.branch, box.key)):
        return ""  # x2, which leads nowhere
    return _text(x + w / 2 + 5, y - 5 if above else y + h + 11, box.shape, "shape")


def _label(box: Box, x: float, y: float, room: float) -> str:
    """Name, place, and the second line of a folded box. Text that does not fit is in the hover text only."""
    name = ending(box.name, room, BOLD)
    left = room - BOLD * len(name) - REGULAR
    place = beginning(box.place, left) if box.stack else ending(box.place, left)
    parts = f'<tspan class="name">{html.escape(name)}</tspan>' + (
        f'<tspan class="muted" dx="6">{html.escape(place)}</tspan>' if place else ""
    )
    return f'<text x="{x:.1f}" y="{y:.1f}">{parts}</text>' + (
        _text(x, y + LINE, _detail(box.detail, room), "muted") if box.detail else ""
    )


def _detail(text: str, room: float) -> str:
    head, like, path = text.partition(", as ")
    return head + like + ending(path, room - REGULAR * len(head + like))


def ending(text: str, room: float, letter: float = REGULAR) -> str:
    """The longest ending of a text that fits; the end of a place in a model tells the most."""
    fits = int(room / letter)
    return text if len(text) <= fits else "…" + text[len(text) - fits + 1 :].lstrip(".") if fits > 3 else ""


def beginning(text: str, room: float) -> str:
    """The longest beginning of a text that fits."""
    fits = int(room / REGULAR)
    return text if len(text) <= fits else f"{text[: fits - 1]}…" if fits > 6 else ""
