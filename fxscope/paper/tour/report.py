"""``fxscope report``: a page about the user's own networks, with the chapters that fit their output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import torch

from ... import plot
from ...analysis import layer_contributions
from ...emit.pipeline import transform
from ...errors import FxscopeError
from ...linop import Reader, interpret, prepare
from ...linop.tiles import TiledInterpreter
from ...plot import analysis as draw
from ...render import draw as draw_graph
from ...results.provenance import digest
from ...testing.network import verify
from .estimate import expected
from .large import large_images
from .live import Walk
from .live import live as demonstrations
from .networks import Network, check_memory, images_of, middle, read, tile_of
from .outputs import Asked, Shown, frozen, images, scores, tokens
from .page import Chapter, Page, Written
from .work import Work

FORMATS = ("pdf", "svg", "png")


def report(
    networks: Network | Sequence[Network],
    images: str | Sequence[str],
    out: str | Path = "fxscope-report",
    names: Sequence[str] | None = None,
    progress: bool = True,
    policy: Any = "freeze",
    live: bool = True,
    tile: int | str | None = "auto",
    fast: bool = False,
) -> Written:
    """Write a page about one network, or several side by side, on the user's own images.

    Scores get contributions, discussions and votes. Images get F x0 and r, rows, columns, energy against
    distance and eigen-images. Tokens get bars by token and by layer. All get the rewritten graph and the
    laws. Figures are PDF, SVG and PNG files beside the page.

    Parameters
    ----------
    networks : Network or sequence of Network
        What ``network`` returns.
    images : str or sequence of str
        Image files, and folders of them.
    out : path
        The folder of the page.
    names : sequence of str, optional
        Names of the labels, for a classifier. The default is their numbers.
    progress : bool
        Say on stderr how long it will take, which step runs and how long the rest will take; a report of
        less than ten seconds says nothing.
    policy : str or dict
        What is frozen, as ``interpret`` takes it. The page says which.
    live : bool
        Begin with a demonstration that computes rows and columns in the reader's browser.
    tile : int or "auto", optional
        A network of images reads a photograph in tiles of so many pixels to a side; "auto" does so where the
        whole would need more than 4 GiB, and None never. The page says what is of all of the photograph.
    fast : bool
        Leave out what takes longest: the demonstration, the graph, all laws but y1 = y0, the votes of all
        but three labels, and eigen-images of more than the middle 64 pixels. The page says so.

    Returns
    -------
    Written
        The path of the page, its numbers and findings.

    Raises
    ------
    ImageError
        If a file is no image, a folder is empty, or an interpreter would need more than 4 GiB, and there are
        no tiles.
    NotLocal
        If a photograph is to be read in tiles, and an output depends on all of it.
    """
    networks = [networks] if isinstance(networks, Network) else list(networks)
    paths = images_of([images] if isinstance(images, str) else list(images))
    if not networks or not paths:
        raise FxscopeError("a report needs a network and an image")
    pictures = [(p.name, read(p, least=8)) for p in paths]
    for n in networks:
        if tile is None or n.kind != "images":
            check_memory(n, max((tuple(n.take(p).shape) for _, p in pictures), key=lambda s: s[2] * s[3]))
    key = {
        "images": [[p.name, sha256(p.read_bytes()).hexdigest()] for p in paths],
        "networks": [
            [n.title, n.kind, n.scale, n.preprocess.as_data(), digest(repr(n.module), *_state(n.module))]
            for n in networks
        ],
        "policy": frozen(policy),
        "names": list(names or ()),
        "tile": tile,
        "fast": fast,
    }
    page = Page(
        out, f"Report: {', '.join(n.name for n in networks)}", _about(networks, policy, fast), key, FORMATS
    )
    work = Work(progress)
    asked = Asked(policy, names, tile, fast, work)
    makers: dict[str, Callable[[], Chapter]] = {}
    if live and not fast:
        walk = Walk("report", "Move over the photograph", networks, pictures, policy, names, str(paths[0]))
        makers["live"] = partial(demonstrations, [walk], work)
    keys = [_unique(n.name, networks, i) for i, n in enumerate(networks)]
    for i, (name, n) in enumerate(zip(keys, networks)):
        makers[name] = partial(chapter_of, n, pictures, asked, f"{i}_" if len(networks) > 1 else "")
    if len(networks) > 1:
        makers["side-by-side"] = partial(_side_by_side, networks, pictures, policy, tile)
    if progress:
        left = {name: n for name, n in zip(keys, networks) if page.finished(name) is None}
        work.left |= expected(left, pictures, asked, "live" in makers and page.finished("live") is None)
    return page.write(makers, work=work, last="live")  # the libraries of ONNX stay in memory


def _about(networks: Sequence[Network], policy: Any, fast: bool) -> str:
    whose = ", ".join(n.title for n in networks)
    drawn = " With random weights a network has learned nothing: what it prefers is chance."
    return (
        "If the decisions of all nonlinear units on an image x0 are frozen, the network is one affine map,"
        f" y1 = F(x0) x1 + r(x0). What is frozen: policy {frozen(policy)}. The weights are in brackets:"
        f" {whose}."
        + drawn * any(n.random for n in networks)
        + fast
        * (
            " This is a fast report, without the demonstration, the graph, all laws but y1 = y0, the votes of"
            " all but three labels, and eigen-images of more than the middle 64 pixels."
        )
    )


def _state(module: torch.nn.Module) -> Iterator[str | torch.Tensor]:
    """Names and values of all weights and buffers."""
    for name, value in module.state_dict().items():
        yield name
        if isinstance(value, torch.Tensor):
            yield value


def _unique(name: str, networks: Sequence[Network], at: int) -> str:
    return name if sum(n.name == name for n in networks) == 1 else f"{name}-{at}"


def chapter_of(
    n: Network,
    pictures: list[tuple[str, torch.Tensor]],
    asked: Asked | None = None,
    prefix: str = "",
) -> Chapter:
    """The chapter of one network: the analyses that fit its output, then its graph and the laws."""
    asked = asked or Asked()
    chapter = Chapter(n.title)
    chapter.text(f"x0: {n.preprocess.text}")
    prefix = prefix or f"{n.name}_"
    reader: Reader | None = None
    about = {"scores": scores, "images": images, "tokens": tokens}[n.kind]
    for i, (title, picture) in enumerate(pictures):
        chapter.heading(title)
        x0, own = n.take(picture), f"{prefix}{i}_"
        size = tile_of(n, x0, asked.tile)
        if size is None:
            with asked.work.step(f"{title}: interpreter"):
                reader = reader or prepare(n.module, x0, policy=asked.policy)
                lin = reader(x0)
            about(Shown(chapter, n, lin, title, own, asked))
        else:
            with asked.work.step(f"{title}: in tiles"):
                tiled = cast(TiledInterpreter, interpret(n.module, x0, policy=asked.policy, tile=size))
                large_images(chapter, n, tiled, title, own, asked.work.progress)
        chapter.numbers[title] |= {"x0": digest(x0)}
    said = {"weights": n.note, "preprocess": n.preprocess.text, "policy": frozen(asked.policy)}
    chapter.numbers |= said
    if n.kind == "scores" and len(pictures) > 1:
        with asked.work.step("layers of all images"):
            _layers_of_all(chapter, n, pictures, prefix, asked)
    _graph_and_laws(chapter, n, pictures[0][1], prefix, asked)
    return chapter


def _layers_of_all(chapter: Chapter, n: Network, pictures: list, prefix: str, asked: Asked) -> None:
    x0 = torch.cat([n.take(p) for _, p in pictures])
    progress = asked.work.progress
    found = layer_contributions(n.module, x0, batch=4, policy=asked.policy, progress=progress)
    chapter.heading(f"All {len(pictures)} images")
    chapter.figure(
        f"{prefix}layers",
        found.plot(),
        "F x0 and the masked biases of every layer, as shares of the top score, about x = 0; the band is one"
        f" standard deviation over {len(pictures)} images. The largest error of the sums is"
        f" {found.error:.1e}.",
    )
    chapter.numbers["layers"] = found.numbers()


def _graph_and_laws(chapter: Chapter, n: Network, picture: torch.Tensor, prefix: str, asked: Asked) -> None:
    """The rewritten graph and the laws; in a fast report y1 = y0 alone, which every figure has checked."""
    x0 = n.take(picture)
    if tile_of(n, x0, asked.tile) is not None:
        x0 = middle(x0[0], 64, 8)[None]
    if asked.fast:
        errors = [
            v["sum_error"] for v in chapter.numbers.values() if isinstance(v, dict) and "sum_error" in v
        ]
        chapter.numbers["verification"] = {"y1 = y0": max(errors)}
        return
    chapter.heading("The rewritten graph and the laws")
    with asked.work.step("graph"):
        chapter.figure(
            f"{prefix}graph",
            draw_graph(transform(n.module, policy=asked.policy, example_inputs=(x0,))),
            "The original branch, the interpreter branch, and dashed edges that carry the decisions of each"
            " unit.",
        )
    with asked.work.step("laws"):
        small = x0 if n.kind != "images" else x0[..., : min(32, x0.shape[2]), : min(32, x0.shape[3])]
        found = verify(copy.deepcopy(n.module), small, policy=asked.policy)
        chapter.html(found._table().html())
    chapter.numbers["verification"] = {
        "ok": found.ok,
        **{law.name: law.error for law in found.laws if not law.skipped},
    }


def _side_by_side(
    networks: list[Network], pictures: list, policy: Any, tile: int | str | None = None
) -> Chapter:
    """The numbers of several networks on the same images in a table; contributions by depth in a figure."""
    chapter = Chapter("Side by side")
    scores = [n for n in networks if n.kind == "scores"]
    if len(scores) > 1:
        found = {
            n.name: layer_contributions(
                n.module,
                torch.cat([n.take(p) for _, p in pictures]),
                batch=4,
                policy=policy,
                progress=False,
            )
            for n in scores
        }
        chapter.figure(
            "layers_side_by_side",
            draw.layers(found),
            "Shares of the top score by depth; the band is one standard deviation over the images.",
        )
        chapter.table(
            ("network", "F x0", "mean depth of the biases", "error"),
            [
                (n, f"{100 * float(f.mean[0]):.1f}%", f"{f.depth:.2f}", f"{f.error:.1e}")
                for n, f in found.items()
            ],
        )
        chapter.numbers = {n: f.numbers() for n, f in found.items()}
    images = [n for n in networks if n.kind == "images"]
    if len(images) > 1:
        _, picture = pictures[0]
        picture = _compared(chapter, images, picture, tile)
        interpreters = {n.name: (n, interpret(n.module, n.take(picture), policy=policy)) for n in images}
        chapter.figure(
            "outputs_side_by_side",
            plot.images({k: n.show(lin.y0[0]) for k, (n, lin) in interpreters.items()}),
            "The outputs for the same photograph.",
        )
        rows = {k: float(lin.residual.norm() / lin.y0.norm()) for k, (_, lin) in interpreters.items()}
        chapter.table(("network", "|r| / |y| about x = 0"), [(k, f"{100 * v:.1f}%") for k, v in rows.items()])
        chapter.numbers |= rows
    if not chapter.blocks:
        chapter.text("The outputs of these networks are of different kinds, so no figure compares them.")
    return chapter


def _compared(
    chapter: Chapter, networks: list[Network], picture: torch.Tensor, tile: int | str | None
) -> torch.Tensor:
    """The photograph on which networks are compared: its middle, if one of them would read it in tiles."""
    if all(tile_of(n, n.take(picture), tile) is None for n in networks):
        return picture
    chapter.text("The photograph is large: its middle, of 256 pixels to a side, is compared.")
    return middle(picture, 256, 8)
