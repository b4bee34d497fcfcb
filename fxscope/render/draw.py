"""The rewritten graph as a picture: original branch on the left, interpreter on the right, freeze edges between them."""

from __future__ import annotations

import html
import itertools
from dataclasses import dataclass
from pathlib import Path

import torch.fx as fx

from ..errors import FxscopeError
from .operations import Box, Boxes, operations

EDGE_COLOURS = {"mask": "#d1495b", "index": "#2e86ab", "stats": "#3a7d44", "gate": "#b5651d", "constant": "#7d5ba6"}
BOX_COLOURS = {"mask": "#f6d5d9", "slope": "#f6d5d9", "select": "#cfe3ee", "gather": "#cfe3ee", "choose": "#cfe3ee", "normalize": "#d3e8d6", "gate": "#f1dec9", "module": "#e4e0ef", "input": "#fff3b0"}
WIDTH, HEIGHT, ROW, LANE, GAP = 230, 26, 44, 18, 190
_ids = itertools.count()


@dataclass(frozen=True)
class Drawing:
    """An SVG that shows itself in a notebook and saves itself to a file."""

    svg: str
    boxes: dict[str, tuple[float, float, float, float]]

    def save(self, path: "str | Path") -> None:
        """Write the SVG."""
        Path(path).write_text(self.svg)

    def _repr_html_(self) -> str:
        return self.svg


def draw(gm: fx.GraphModule, fold: bool | int = True) -> Drawing:
    """Draw a rewritten graph.

    fold    True: modules are folded into boxes at the depth that keeps the picture under 40 rows; an int: fold below that
            depth of the module path; False: every operation is a box
    Layout by python-igraph's Sugiyama layers. Boxes show rule, variant, place and source line on hover.
    """
    boxes = _folded(gm, fold)
    rows = _rows(boxes)
    return _svg(boxes, rows)


def _folded(gm: fx.GraphModule, fold: bool | int) -> Boxes:
    if fold is False:
        return operations(gm, None)
    if fold is not True:
        return operations(gm, int(fold))
    for depth in (None, 4, 3, 2, 1):
        boxes = operations(gm, depth)
        if sum(b.branch == "original" for b in boxes.boxes.values()) <= 40:
            return boxes
    return boxes


def _rows(boxes: Boxes) -> dict[tuple, tuple[int, int]]:
    """(row, column) of every box of the original branch by Sugiyama layers; an interpreter's box stands beside its original."""
    try:
        import igraph
    except ModuleNotFoundError as error:
        raise FxscopeError("drawing needs python-igraph: pip install 'fxscope[draw]'") from error
    keys = [k for k, b in boxes.boxes.items() if b.branch == "original"]
    names = list(dict.fromkeys([k[1:] for k in keys] + [k[1:] for k in boxes.boxes]))
    index = {n: i for i, n in enumerate(names)}
    edges = {(index[a[1:]], index[b[1:]]) for a, b in boxes.edges if a[0] == b[0] and a[1:] != b[1:]}
    graph = igraph.Graph(n=len(names), edges=sorted(edges), directed=True)
    layout = graph.layout_sugiyama(maxiter=200)
    coordinates = layout.coords[: len(names)]
    levels = sorted({round(y, 3) for _, y in coordinates})
    rows: dict[tuple, tuple[int, int]] = {}
    taken: dict[int, int] = {}
    for name, (_, y) in sorted(zip(names, coordinates), key=lambda item: (item[1][1], item[1][0])):
        level = levels.index(round(y, 3))
        rows[name] = (level, taken.get(level, 0))
        taken[level] = taken.get(level, 0) + 1
    return rows


def _svg(boxes: Boxes, rows: dict) -> Drawing:
    columns = 1 + max(c for _, c in rows.values())
    span = columns * (WIDTH + 16)
    lanes = _lanes(boxes, rows)
    margin = 30 + LANE * (max(lanes.values(), default=0) + 1)
    right = margin + span + GAP
    place = {}
    for key in boxes.boxes:
        row, column = rows[key[1:]]
        x = margin + column * (WIDTH + 16) if key[0] == "original" else right + column * (WIDTH + 16)
        place[key] = (x, 60 + row * ROW)
    width, height = right + span + margin, 90 + ROW * (1 + max(r for r, _ in rows.values()))
    number = next(_ids)
    parts = [_head(width, height, number), _columns(margin, right), _legend(width)]
    parts += [_edge(a, b, label, place, lanes.get((a, b)), number, right, span) for (a, b), label in boxes.edges.items()]
    parts += [_box(box, *place[key]) for key, box in boxes.boxes.items()]
    return Drawing("\n".join([*parts, "</svg>"]), {" ".join(k): (*place[k], WIDTH, HEIGHT) for k in place})


def _lanes(boxes: Boxes, rows: dict) -> dict[tuple, int]:
    """A lane beside the column for every edge that skips rows, so that skip connections do not run through boxes."""
    lanes: dict[tuple, int] = {}
    for branch in ("original", "interpreter"):
        busy: list[list[tuple[int, int]]] = []
        skips = [(rows[a[1:]][0], rows[b[1:]][0], (a, b)) for a, b in boxes.edges if a[0] == b[0] == branch and rows[b[1:]][0] - rows[a[1:]][0] > 1]
        for top, bottom, edge in sorted(skips, key=lambda s: s[1] - s[0]):
            lane = next((i for i, taken in enumerate(busy) if all(bottom <= t or top >= b for t, b in taken)), len(busy))
            busy += [[]] if lane == len(busy) else []
            busy[lane].append((top, bottom))
            lanes[edge] = lane
    return lanes


def _head(width: float, height: float, number: int) -> str:
    style = (
        f"#fx{number} text{{font:12px system-ui,sans-serif;fill:#1b1b1b}} #fx{number} .edge{{fill:none;stroke:#777;stroke-width:1.2}}"
        f"#fx{number} .freeze{{fill:none;stroke-width:1.6;stroke-dasharray:5 3}} #fx{number} .out{{fill:#555;font-weight:600}}"
        f"@media (prefers-color-scheme: dark){{#fx{number} .out{{fill:#ddd}} #fx{number} .edge{{stroke:#aaa}}}}"
    )
    arrow = f'<marker id="fx{number}a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#777"/></marker>'
    return f'<svg id="fx{number}" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" style="max-width:100%"><style>{style}</style><defs>{arrow}</defs>'


def _columns(left: float, right: float) -> str:
    return f'<text class="out" x="{left}" y="48">original branch: x0 to y0</text><text class="out" x="{right}" y="48">interpreter branch: x1 to y1</text>'


def _legend(width: float) -> str:
    return "".join(
        f'<line class="freeze" x1="{20 + 110 * i}" y1="18" x2="{50 + 110 * i}" y2="18" stroke="{c}"/><text class="out" x="{56 + 110 * i}" y="22">{name}</text>' for i, (name, c) in enumerate(EDGE_COLOURS.items())
    )


def _box(box: Box, x: float, y: float) -> str:
    title = html.escape("\n".join(box.hover[:30]))
    text = box.title if len(box.title) <= 34 else box.title[:33] + "…"
    fill = BOX_COLOURS.get(box.kind, "#eceff1")
    return (
        f'<g><title>{title}</title><rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="{fill}" stroke="#888"/>'
        f'<text x="{x + 8}" y="{y + 17}">{html.escape(text)}</text></g>'
    )


def _edge(a: tuple, b: tuple, label: str, place: dict, lane: int | None, number: int, right: float, span: float) -> str:
    (ax, ay), (bx, by) = place[a], place[b]
    if a[0] != b[0]:
        colour = EDGE_COLOURS.get(label, "#777")
        x1, y1, x2, y2 = ax + WIDTH, ay + HEIGHT / 2, bx, by + HEIGHT / 2
        middle = (x1 + x2) / 2
        return f'<path class="freeze" stroke="{colour}" d="M{x1} {y1}C{middle} {y1} {middle} {y2} {x2} {y2}"/><text class="out" x="{middle - 18}" y="{(y1 + y2) / 2 - 4}" style="fill:{colour}">{label}</text>'
    if lane is None:
        return f'<path class="edge" marker-end="url(#fx{number}a)" d="M{ax + WIDTH / 2} {ay + HEIGHT}L{bx + WIDTH / 2} {by - 1}"/>'
    side = -1 if a[0] == "original" else 1
    edge_a, edge_b = (ax, bx) if side < 0 else (ax + WIDTH, bx + WIDTH)
    x = (min(ax, bx) if side < 0 else right + span - 16) + side * LANE * (lane + 1)
    return f'<path class="edge" marker-end="url(#fx{number}a)" d="M{edge_a} {ay + HEIGHT / 2}H{x}V{by + HEIGHT / 2}H{edge_b}"/>'
