"""``fxscope report``: a page about the user's own networks, with the chapters that fit their output."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import torch

from ...analysis import layer_contributions
from ...emit.pipeline import transform
from ...errors import FxscopeError
from ...linop import Reader, interpret, prepare
from ...linop.tiles import TiledInterpreter
from ...render import draw as draw_graph
from ...results.provenance import digest
from ...testing.network import verify
from .estimate import expected
from .large import large_images
from .live import Walk
from .live import live as demonstrations
from .networks import Network, check_memory, images_of, middle, read, tile_of
from .outputs import ALL, LAWS, Asked, Shown, frozen, images, scores, tokens
from .page import Chapter, Page, Written
from .side_by_side import side_by_side
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
    pictures = [(name, read(p, least=8)) for name, p in zip(_told_apart([p.name for p in paths]), paths)]
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
    names_of_networks = ", ".join(n.name for n in networks)
    page = Page(out, f"Report: {names_of_networks}", _about(networks, policy, fast), key, FORMATS)
    work = Work(progress)
    asked = Asked(policy, names, tile, fast, work)
    makers: dict[str, Callable[[], Chapter]] = {}
    if live and not fast:
        walk = Walk("report", "Move over the photograph", networks, pictures, policy, names, str(paths[0]))
        makers["live"] = partial(demonstrations, [walk], work)
    if len(networks) > 1:
        makers["side-by-side"] = partial(side_by_side, networks, pictures, asked)
    keys = [_unique(n.name, networks, i) for i, n in enumerate(networks)]
    for i, (name, n) in enumerate(zip(keys, networks)):
        parts = parts_of(n, pictures, asked, f"{i}_" if len(networks) > 1 else "")
        makers |= {f"{name}/{part}": make for part, make in parts.items()}
    if progress:
        missing = [name for name in makers if page.finished(name) is None]
        work.left |= expected(dict(zip(keys, networks)), pictures, asked, missing)
    return page.write(makers, work=work, apart="live")


def _told_apart(names: Sequence[str]) -> list[str]:
    """The names, each with its number where there are several of it: by them photographs are told apart."""
    return [f"{name} ({i + 1})" if names.count(name) > 1 else name for i, name in enumerate(names)]


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


def parts_of(
    n: Network,
    pictures: list[tuple[str, torch.Tensor]],
    asked: Asked | None = None,
    prefix: str = "",
) -> dict[str, Callable[[], Chapter]]:
    """What makes the parts of a network's chapter: the analyses of each image, its graph and the laws."""
    asked, prefix = asked or Asked(), prefix or f"{n.name}_"
    readers: list[Reader] = []
    found: dict[str, Callable[[], Chapter]] = {}
    for i, (title, _) in enumerate(pictures):
        found[title] = partial(_of_image, n, pictures, i, asked, f"{prefix}{i}_", readers)
    if n.kind == "scores" and len(pictures) > 1:
        found[ALL] = partial(_layers_of_all, n, pictures, prefix, asked)
    found[LAWS] = partial(_graph_and_laws, n, pictures[0][1], prefix, asked)
    return found


def _of_image(
    n: Network, pictures: list, number: int, asked: Asked, prefix: str, readers: list[Reader]
) -> Chapter:
    """The analyses that fit the network's output, at one image; its graphs are made once, for ``readers``."""
    chapter, (title, picture) = Chapter(n.title), pictures[number]
    if not number:
        chapter.text(f"From a photograph to x0: {n.preprocess.text}.")
        said = {"weights": n.note, "preprocess": n.preprocess.text, "policy": frozen(asked.policy)}
        chapter.numbers |= said
    about = {"scores": scores, "images": images, "tokens": tokens}[n.kind]
    chapter.heading(title)
    x0 = n.take(picture)
    size = tile_of(n, x0, asked.tile)
    if size is None:
        with asked.work.step(f"{title}: interpreter"):
            if not readers:
                readers.append(prepare(n.module, x0, policy=asked.policy))
            lin = readers[0](x0)
        about(Shown(chapter, n, lin, title, prefix, asked))
    else:
        with asked.work.step(f"{title}: in tiles"):
            tiled = cast(TiledInterpreter, interpret(n.module, x0, policy=asked.policy, tile=size))
            large_images(chapter, n, tiled, title, prefix, asked.work.progress)
    chapter.numbers[title] |= {"x0": digest(x0)}
    return chapter


def _layers_of_all(n: Network, pictures: list, prefix: str, asked: Asked) -> Chapter:
    chapter = Chapter(n.title)
    with asked.work.step(ALL):
        x0 = torch.cat([n.take(p) for _, p in pictures])
        progress = asked.work.progress
        found = layer_contributions(n.module, x0, batch=4, policy=asked.policy, progress=progress)
        chapter.heading(f"All {len(pictures)} images")
        chapter.figure(
            f"{prefix}layers",
            found.plot(),
            "F x0 and the constants of every layer, as shares of the top score, about x = 0; the band is one"
            f" standard deviation over {len(pictures)} images. The largest error of the sums is"
            f" {found.error:.1e}.",
        )
    chapter.numbers["layers"] = found.numbers()
    return chapter


def _graph_and_laws(n: Network, picture: torch.Tensor, prefix: str, asked: Asked) -> Chapter:
    """The rewritten graph and the laws; in a fast report y1 = y0 alone."""
    chapter, x0 = Chapter(n.title), n.take(picture)
    if tile_of(n, x0, asked.tile) is not None:
        x0 = middle(x0[0], 64, 8)[None]
    if asked.fast:
        lin = interpret(n.module, x0, policy=asked.policy)
        error = float((lin(lin.x) - lin.y0).abs().max() / lin.y0.abs().max())
        chapter.numbers["verification"] = {"y1 = y0": error}
        return chapter
    chapter.heading("The rewritten graph")
    with asked.work.step("graph"):
        chapter.figure(
            f"{prefix}graph",
            draw_graph(transform(n.module, policy=asked.policy, example_inputs=(x0,))),
            "The original branch, the interpreter branch, and dashed edges that carry the decisions of each"
            " unit. A box that is pressed shows its rule and its line in the source.",
        )
    with asked.work.step("laws"):
        small = x0 if n.kind != "images" else x0[..., : min(32, x0.shape[2]), : min(32, x0.shape[3])]
        found = verify(copy.deepcopy(n.module), small, policy=asked.policy)
    chapter.heading("The laws")
    _laws(chapter, found, tuple(small.shape[1:]))
    chapter.numbers["verification"] = {
        "ok": found.ok,
        **{law.name: law.error for law in found.laws if not law.skipped},
    }
    return chapter


def _laws(chapter: Chapter, found: Any, shape: tuple[int, ...]) -> None:
    """The laws that were measured in a table, and why the others were not."""
    measured = [law for law in found.laws if not law.skipped]
    holds = f"All {len(measured)} laws that were measured hold" if found.ok else f"{found.broken} do not hold"
    chapter.text(
        "The pictures above are of the network, and no approximation of it, if its interpreter obeys these"
        f" laws. They are measured at an x0 of {' x '.join(map(str, shape))}, in {found.dtype}. {holds}."
    )
    rows = [
        (law.name, law.statement, f"{law.error:.0e}", f"{law.bound:.0e}", law.verdict) for law in measured
    ]
    chapter.table(("law", "what it says", "largest relative error", "bound", "verdict"), rows)
    skipped = "; ".join(f"{law.name} ({law.statement}), {law.skipped}" for law in found.laws if law.skipped)
    if skipped:
        chapter.text(f"Not measured: {skipped}.")
