"""Rows and columns of the boxes, by the Sugiyama layout of python-igraph.

Both columns have the same layout, mirrored: an operation and its twin are at the same height. x counts from
the side that faces the other column. An edge that passes several layers runs along a trunk, a vertical line
beside the boxes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FxscopeError
from .operations import OUTPUT, Picture

if TYPE_CHECKING:
    import networkx as nx

LANE, SPACE = 14.0, 22.0
Point = tuple[str, int]  # (key, 0) for a box, (key, i) for its trunk i layers further down


@dataclass(frozen=True)
class Layout:
    """Positions of the operations, the same for both columns.

    Attributes
    ----------
    layer : dict
        {key: number of its layer}.
    x : dict
        {key: its centre}, counted from the inner side of the column.
    rows : list
        The keys of every layer.
    trunks : dict
        {key: x of its trunk in every layer below it}.
    width : float
        Width of a column.
    order : dict
        {point: what igraph gives as its x}, of the boxes and of the trunks between them.
    """

    layer: dict[str, int]
    x: dict[str, float]
    rows: list[list[str]]
    trunks: dict[str, list[float]]
    width: float
    order: dict[Point, float]


def layering(picture: Picture) -> tuple[nx.DiGraph, dict[str, int]]:
    """One graph for both columns, and the layer of every key: below all operations whose values it reads."""
    import networkx as nx

    graph = _union(picture)
    layer = {key: i for i, keys in enumerate(nx.topological_generations(graph)) for key in keys}
    if OUTPUT in layer:
        layer[OUTPUT] = 1 + max((i for key, i in layer.items() if key != OUTPUT), default=-1)
    return graph, layer


def layout(graph: nx.DiGraph, layer: dict[str, int], width: float) -> Layout:
    """Place boxes of this width in the layers of a graph."""
    rows, lengths, points, outside = _points(graph, layer)
    order = _sugiyama(graph, layer, points)
    x = _columns(points, order, width)
    x |= _lanes(outside, _sides(points, x, width))
    right = max((x[p] + (LANE if p[1] else width) / 2 for p in x), default=width)
    return Layout(
        layer,
        {k: x[k, 0] for k in layer},
        rows,
        {k: [x[k, i] for i in range(1, n + 1)] for k, n in lengths.items() if n > 0},
        right,
        order,
    )


def order_of(picture: Picture) -> dict[str, float]:
    """What igraph gives as x to every operation of a picture."""
    graph, layer = layering(picture)
    order = _sugiyama(graph, layer, _points(graph, layer)[2])
    return {key: x for (key, trunk), x in order.items() if not trunk}


def _points(graph: nx.DiGraph, layer: dict[str, int]) -> tuple:
    """The keys of every layer, the lengths of trunks, the points that igraph places, and the other trunks."""
    rows: list[list[str]] = [[] for _ in range(1 + max(layer.values(), default=-1))]
    for key in layer:
        rows[layer[key]].append(key)
    lengths = {k: max((layer[t] for t in graph.successors(k)), default=0) - layer[k] - 1 for k in graph}
    trunks = {(k, i): layer[k] + i for k, n in lengths.items() for i in range(1, n + 1)}
    inside = {p for p, row in trunks.items() if len(rows[row]) > 1 and len(rows[layer[p[0]]]) > 1}
    points = {(k, 0): layer[k] for k in layer} | {p: trunks[p] for p in trunks if p in inside}
    return rows, lengths, points, {p: row for p, row in trunks.items() if p not in inside}


def _union(picture: Picture) -> nx.DiGraph:
    """One graph for both columns: the edges of the original and of the interpreter.

    The interpreter's edges are reversed if it runs backwards (an adjoint).
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(key for _, key in sorted(picture.boxes, key=lambda n: picture.boxes[n].order))
    forward = [(s, t) for (branch, s), (_, t) in picture.data if branch != "interpreter"]
    twins = [(s, t) for (branch, s), (_, t) in picture.data if branch == "interpreter"]
    # in a backward graph y2 enters at the position of y1
    backwards = any(source == ("interpreter", OUTPUT) for source, _ in picture.data)
    for edges in (forward + twins, forward + [(t, s) for s, t in twins], forward)[backwards:]:
        graph.clear_edges()
        graph.add_edges_from(edges)
        if nx.is_directed_acyclic_graph(graph):
            break
    return graph


def _sugiyama(graph: nx.DiGraph, layer: dict[str, int], points: dict[Point, int]) -> dict[Point, float]:
    """The x that igraph gives to every point: the boxes, and the trunks between them."""
    try:
        import igraph
    except ModuleNotFoundError as error:
        raise FxscopeError(
            "fxscope.draw lays graphs out with python-igraph, which is not installed: pip install"
            " 'fxscope[draw]'"
        ) from error
    links = [((key, i - 1), (key, i)) for key, i in points if i]
    links += [((a, layer[b] - layer[a] - 1), (b, 0)) for a, b in graph.edges]
    index = {point: i for i, point in enumerate(points)}
    drawn = igraph.Graph(
        n=len(points), edges=[(index[a], index[b]) for a, b in links if a in index], directed=True
    )
    coordinates = drawn.layout_sugiyama(layers=list(points.values()), maxiter=200).coords
    return {point: coordinates[i][0] for point, i in index.items()}


def _columns(points: dict[Point, int], order: dict[Point, float], width: float) -> dict[Point, float]:
    """X in pixels. A box alone in its layer is innermost; other layers keep the columns of igraph."""
    rows: list[list[Point]] = [[] for _ in range(1 + max(points.values(), default=-1))]
    for point in sorted(points, key=order.__getitem__):
        rows[points[point]].append(point)
    x: dict[Point, float] = {}
    for single, found in itertools.groupby(rows, key=lambda row: len(row) < 2):
        run = list(found)
        if single:
            x |= {row[0]: width / 2 for row in run if row}
        else:
            x |= _squeezed(run, order, width)
    return x


def _squeezed(rows: list[list[Point]], order: dict[Point, float], width: float) -> dict[Point, float]:
    """The columns of igraph, at the smallest distances that boxes and trunks allow."""
    columns: dict[float, list[tuple[Point | None, Point]]] = {}
    for row in rows:
        for before, point in zip([None, *row], row):
            if before is not None and order[point] <= order[before]:
                order[point] = order[before] + 0.01  # igraph may give two points of a layer the same x
            columns.setdefault(order[point], []).append((before, point))
    at: dict[float, float] = {}
    nearest = 0.0
    for column in sorted(columns):
        nearest = at[column] = max(
            nearest, *(_beside(before, point, at, order, width) for before, point in columns[column])
        )
    return {point: at[order[point]] for row in rows for point in row}


def _beside(before: Point | None, point: Point, at: dict, order: dict, width: float) -> float:
    half = (LANE if point[1] else width) / 2
    if before is None:
        return half
    return (
        at[order[before]]
        + (LANE if before[1] else width) / 2
        + half
        + (LANE if point[1] and before[1] else SPACE)
    )


def _sides(points: dict[Point, int], x: dict[Point, float], width: float) -> dict[int, float]:
    """{layer: x of its outer side}."""
    sides: dict[int, float] = {}
    for point, row in points.items():
        sides[row] = max(sides.get(row, 0.0), x[point] + (0 if point[1] else width / 2) + SPACE / 2)
    return sides


def _lanes(trunks: dict[Point, int], sides: dict[int, float]) -> dict[Point, float]:
    """X of the trunks beside the boxes: each trunk is one straight line, and short trunks are inside."""
    spans: dict[str, list[int]] = {}
    for (key, _), row in trunks.items():
        spans.setdefault(key, []).append(row)
    lanes: dict[str, float] = {}
    for key in sorted(spans, key=lambda k: (len(spans[k]), spans[k][0])):
        lanes[key] = max(sides.get(row, 0.0) for row in spans[key]) + LANE / 2
        sides.update(dict.fromkeys(spans[key], lanes[key] + LANE / 2))
    return {point: lanes[point[0]] for point in trunks}
