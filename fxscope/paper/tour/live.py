"""The live demonstrations of a page: networks that compute rows and columns in the reader's browser."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ... import plot
from ...analysis.images import crop_around
from ...errors import FxscopeError, said
from ...linop import LinearInterpreter, prepare
from ...viewer import SIDE, Held, Subject, View, demonstration, held, shared
from .networks import Network
from .page import Chapter
from .super_resolution import probe_places
from .work import Work

LIMIT = 15  # MB of all demonstrations of a page with their runtime: with its figures it can still be mailed
MOST = 4  # photographs of a demonstration, and rows of its still picture
RADIUS = 12  # pixels around the place of a still row
WEIGHT = 1.2  # bytes in the page for a byte of weights: packed, and written in letters


@dataclass(frozen=True)
class Walk:
    """A demonstration: networks side by side at the same photographs.

    Parameters
    ----------
    name : str
        The id of its figure.
    title : str
        Its heading.
    networks : sequence of Network
        Those that are small enough are shown, and of the others it is said where they can be seen.
    pictures : sequence of (name, photograph)
        The photographs (3, H, W) in [0, 1].
    policy : str or dict
        What is frozen.
    names : sequence of str, optional
        Names of the labels.
    image : str
        The photograph as the command line is given it.
    """

    name: str
    title: str
    networks: Sequence[Network]
    pictures: Sequence[tuple[str, torch.Tensor]]
    policy: Any = "freeze"
    names: Sequence[str] | None = None
    image: str = ""


def live(walks: Sequence[Walk], work: Work | None = None) -> Chapter:
    """The chapter of live demonstrations, which together take at most ``LIMIT`` MB of the page."""
    chapter = Chapter("Live")
    left = LIMIT * 1e6 - len(shared())
    for walk in walks:
        chapter.heading(walk.title)
        left -= _add(chapter, walk, left, work or Work(False))
    return chapter


def _add(chapter: Chapter, walk: Walk, left: float, work: Work) -> int:
    """Add a demonstration; the bytes that it takes."""
    taken, lacking = _taken(walk)
    same = [i for i in range(len(walk.pictures)) if all(x[i].shape == x[0].shape for x in taken.values())]
    pictures = [(_name(walk, i), walk.pictures[i][1]) for i in same[:MOST]]
    shown: list[tuple[Network, LinearInterpreter, Held]] = []
    for n in walk.networks:
        if n.name not in taken:
            continue
        with work.step(f"demonstration of {n.name}"):
            try:
                views = _views(n, walk, [(_name(walk, i), taken[n.name][i]) for i in same[:MOST]])
                part = _fitting(n, walk, views, left - sum(p.nbytes for *_, p in shown))
                shown.append((n, views[0].lin, part))
            except Exception as error:  # networks fail to run, to be exported and to fit in many ways
                lacking[n.name] = _reason(error)
    if shown:
        _figure(chapter, walk, pictures, shown)
    for n in walk.networks:
        if n.name in lacking:
            chapter.html(_elsewhere(n, walk, lacking[n.name]))
    total = sum(p.nbytes for *_, p in shown)
    chapter.numbers[walk.name] = {"shown": [n.name for n, *_ in shown], "bytes": total, "left_out": lacking}
    return total


def _name(walk: Walk, number: int) -> str:
    """The name of a photograph, with its number where another one has the same: they are told apart by it."""
    name = walk.pictures[number][0]
    again = sum(other == name for other, _ in walk.pictures) > 1
    return f"{name} ({number + 1})" if again else name


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, FxscopeError) else said(error)


def _taken(walk: Walk) -> tuple[dict[str, list[torch.Tensor]], dict[str, str]]:
    """{network: x0 of all photographs}, and why some networks take none."""
    found, lacking = {}, {}
    for n in walk.networks:
        try:
            if n.kind not in ("scores", "images"):
                raise FxscopeError(
                    f"it gives {n.kind}, and a photograph can be walked over for scores or images"
                )
            found[n.name] = [_x0(n, picture) for _, picture in walk.pictures]
        except Exception as error:
            lacking[n.name] = _reason(error)
    return found, lacking


def _x0(n: Network, picture: torch.Tensor) -> torch.Tensor:
    """x0 of a photograph; of a large one for a network of images, its middle."""
    x0 = n.take(picture)
    if n.kind != "images":
        return x0
    (height, width), (h, w) = x0.shape[2:], (min(side, SIDE) for side in x0.shape[2:])
    top, left = (height - h) // 2, (width - w) // 2
    return x0[..., top : top + h, left : left + w].contiguous()


def _views(n: Network, walk: Walk, taken: list[tuple[str, torch.Tensor]]) -> list[View]:
    reader = prepare(n.module, taken[0][1], policy=walk.policy)
    return [View(name, reader(x0)) for name, x0 in taken]


def _fitting(n: Network, walk: Walk, views: list[View], left: float) -> Held:
    """The network in the page; raises ``FxscopeError`` if it needs more than the bytes that are left."""
    weights = sum(p.numel() * p.element_size() for p in n.module.parameters())
    if weights * WEIGHT <= left:  # its graphs are made for as long as a minute
        labels = list(walk.names) if walk.names and n.kind == "scores" else None
        found = held(Subject(n.name, n.note, views, n.preprocess, labels))
        if found.nbytes <= left:
            return found
    raise FxscopeError(
        f"its weights are {weights / 1e6:.1f} MB, and {max(left, 0) / 1e6:.1f} of the {LIMIT} MB are left"
        " that the demonstrations of a page may take"
    )


def _figure(
    chapter: Chapter,
    walk: Walk,
    pictures: Sequence[tuple[str, torch.Tensor]],
    shown: list[tuple[Network, LinearInterpreter, Held]],
) -> None:
    names = [name for name, _ in pictures]
    parts = [part for *_, part in shown]
    which = ", ".join(n.name for n, *_ in shown)
    sides = ", ".join(dict.fromkeys(f"{i.x0.shape[3]} x {i.x0.shape[2]}" for _, i, _ in shown))
    size = sum(part.nbytes for part in parts) / 1e6
    caption = (
        f"{which} on {', '.join(names)} at {sides} pixels. The picture is still until it is pressed; then the"
        f" networks ({size:.1f} MB in this page) run in your browser, which sends nothing: move over the"
        " photograph to see which pixels an output reads (a row of F) or where a pixel goes (a column)."
    )
    chapter.live(f"live_{walk.name}", _still(shown), caption, which, demonstration(names, parts))


def _still(shown: list[tuple[Network, LinearInterpreter, Held]]) -> Any:
    """The photograph, and a row of each network around its place."""
    n, lin, _ = next((s for s in shown if s[1].x0.shape[1] == 3), shown[0])
    figures = {"photograph": n.show(lin.x0[0])}
    for n, each, _ in shown[:MOST]:
        row = _row(each)
        size = float(row.abs().max()) or 1.0
        figures[f"row, {n.name}"] = 0.5 + 0.5 * row.sign() * (row.abs() / size).sqrt()
    return plot.images(figures)


def _row(lin: LinearInterpreter) -> torch.Tensor:
    """The row of the largest score, or of the output pixel at a strong edge, with what is around it."""
    if lin.y0.dim() == 2:
        return lin.F.row(int(lin.y0.argmax()))
    edge, *_ = probe_places(lin.x0[0].mean(0))
    row = lin.F.row((0, *lin.F.alignment().output_of(edge)))
    return crop_around(row, edge, min(RADIUS, min(row.shape[1:]) // 2))


def _elsewhere(n: Network, walk: Walk, reason: str) -> str:
    """Why a network is not shown, and the command that shows it."""
    text = f"<p>{html.escape(n.title)} is not in this demonstration: {html.escape(reason)}."
    if n.kind not in ("scores", "images") or not n.spec:
        return f"{text}</p>"
    command = html.escape(" ".join(["fxscope view", *(w for w in (n.spec, walk.image) if w)]))
    return (
        f"{text} <code>{command}</code>, with the options that this page was made with, shows it live, at any"
        " size: it computes on your machine.</p>"
    )
