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
from ...analysis import energy_against_distance, layer_contributions, pixel_votes
from ...analysis.sampled import zoom
from ...analysis.zero import OWN
from ...emit.pipeline import transform
from ...errors import FxscopeError
from ...linop import LinearInterpreter, Reader, interpret, prepare
from ...linop.tiles import TiledInterpreter, side_of
from ...passes.policy import Policy
from ...plot import analysis as draw
from ...plot.bars import NAMED
from ...render import draw as draw_graph
from ...results.progress import steps
from ...results.provenance import digest
from ...testing.network import verify
from .large import large_images
from .live import Walk
from .live import live as demonstrations
from .networks import BUDGET, Network, check_memory, images_of, memory_of, middle, read
from .page import Chapter, Page, Written
from .super_resolution import eigen_images, probe_places

VOTERS = 10  # number of labels that the pixels vote for in a report


def report(
    networks: Network | Sequence[Network],
    images: str | Sequence[str],
    out: str | Path = "fxscope-report",
    names: Sequence[str] | None = None,
    progress: bool = True,
    policy: Any = "freeze",
    live: bool = True,
    tile: int | str | None = "auto",
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
        Show a progress bar.
    policy : str or dict
        What is frozen, as ``interpret`` takes it. The page says which.
    live : bool
        Begin with a demonstration that computes rows and columns in the reader's browser.
    tile : int or "auto", optional
        A network of images reads a photograph in tiles of so many pixels to a side; "auto" does so where the
        whole would need more than 4 GiB, and None never. The page says what is of all of the photograph.

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
        "policy": _frozen(policy),
        "names": list(names or ()),
        "tile": tile,
    }
    page = Page(
        out,
        f"Report: {', '.join(n.name for n in networks)}",
        "If the decisions of all nonlinear units on an image x0 are frozen, the network is one affine map,"
        f" y1 = F(x0) x1 + r(x0). What is frozen: policy {_frozen(policy)}.",
        key,
        ("pdf", "svg", "png"),
    )
    makers: dict[str, Callable[[], Chapter]] = {}
    if live:
        walk = Walk("report", "Move over the photograph", networks, pictures, policy, names, str(paths[0]))
        makers["live"] = partial(demonstrations, [walk], progress)
    makers |= {
        _unique(n.name, networks, i): partial(
            chapter_of, n, pictures, progress, names, f"{i}_" if len(networks) > 1 else "", policy, tile
        )
        for i, n in enumerate(networks)
    }
    if len(networks) > 1:
        makers["side-by-side"] = partial(_side_by_side, networks, pictures, policy, tile)
    return page.write(makers, progress)


def _frozen(policy: Any) -> str:
    """A policy in words: the preset, and what is chosen otherwise."""
    found = Policy.of(policy)
    others = ", ".join(f"{key}: {variant}" for key, variant in found.choices.items())
    return f"{found.preset} ({others})" if others else found.preset


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
    progress: bool = False,
    names: Any = None,
    prefix: str = "",
    policy: Any = "freeze",
    tile: int | str | None = "auto",
) -> Chapter:
    """The chapter of one network: the analyses that fit its output, then its graph and the laws."""
    chapter = Chapter(n.title)
    chapter.text(f"x0: {n.preprocess.text}")
    prefix = prefix or f"{n.name}_"
    reader: Reader | None = None
    about = {"scores": _scores, "images": _images, "tokens": _tokens}[n.kind]
    with steps(len(pictures), f"images of {n.name}", progress) as bar:
        for i, (title, picture) in enumerate(pictures):
            chapter.heading(title)
            x0, own = n.take(picture), f"{prefix}{i}_"
            size = _tile(n, x0, tile)
            if size is None:
                reader = reader or prepare(n.module, x0, policy=policy)
                about(chapter, n, reader(x0), title, own, progress, names)
            else:
                lin = interpret(n.module, x0, policy=policy, tile=size)
                large_images(chapter, n, cast(TiledInterpreter, lin), title, own, progress)
            chapter.numbers[title] |= {"x0": digest(x0)}
            bar.update(1)
    chapter.numbers |= {"preprocess": n.preprocess.text, "policy": _frozen(policy)}
    if n.kind == "scores" and len(pictures) > 1:
        _layers_of_all(chapter, n, pictures, prefix, progress, policy)
    first = n.take(pictures[0][1])
    if _tile(n, first, tile) is not None:
        first = middle(first[0], 64, 8)[None]
    _graph_and_laws(chapter, n, first, prefix, policy)
    return chapter


def _tile(n: Network, x0: torch.Tensor, tile: int | str | None) -> int | None:
    """The pixels to a side of the tiles in which a network reads x0; None where it reads it whole."""
    if tile is None or n.kind != "images":
        return None
    if tile == "auto":
        return side_of(n.module, x0) if memory_of(n, tuple(x0.shape)) > BUDGET else None
    return int(tile)


def _scores(
    chapter: Chapter,
    n: Network,
    lin: LinearInterpreter,
    title: str,
    prefix: str,
    progress: bool,
    names: Any,
) -> None:
    order = lin.y0[0].argsort(descending=True)[:VOTERS].tolist()
    top = order[0]
    parts = lin.contributions(top)
    chapter.figure(
        f"{prefix}contributions",
        parts.plot(),
        f"The contributions of F x0 and of every additive constant to the largest score, {_said(names, top)}"
        f" = {float(parts.output):.4g}; they sum to it with an error of {parts.error:.1e}.",
    )
    found = lin.pixel_discussion(order[:2], progress=progress)
    chapter.figure(
        f"{prefix}discussion",
        found.plot(names=names),
        "The contribution of each pixel to the two largest scores,"
        f" {' and '.join(_said(names, k) for k in order[:2])} (variant 'weighted'). Each sums to its score"
        f" with a relative error of {found.error:.0e}; the corrections amount to {100 * found.added:.0f}% of"
        " the layers' contributions.",
    )
    votes = pixel_votes(lin, order, progress=progress)
    first, share = next(iter(votes.popularity.items()))
    chapter.figure(
        f"{prefix}votes",
        votes.plot(names=names, photograph=n.show(lin.x0[0])),
        f"The label to whose score each pixel contributes most, among the {len(order)} largest scores. The"
        f" most popular is {_said(names, first)}, with {100 * share:.0f}% of the pixels.",
    )
    chapter.numbers[title] = {
        "top": top,
        "score": float(parts.output),
        "residual_share": float(parts.residual / parts.output),
        "zero": OWN,
        "sum_error": parts.error,
        "discussion": found.numbers(),
        "votes": votes.numbers(),
    }


def _images(
    chapter: Chapter,
    n: Network,
    lin: LinearInterpreter,
    title: str,
    prefix: str,
    progress: bool,
    names: Any,
) -> None:
    x0, r, y0 = lin.x0, lin.residual[0], lin.y0[0]
    filtered = lin.F @ x0[0]
    share, error = float(r.norm() / y0.norm()), float((filtered + r - y0).abs().max() / y0.abs().max())
    if y0.shape[0] in (1, 3):
        chapter.figure(
            f"{prefix}output",
            plot.images({"input": n.show(x0[0]), "output": n.show(y0)}),
            "The input image and the output.",
        )
    chapter.figure(
        f"{prefix}parts",
        plot.images({"F x0": filtered, "r": r}, signed=True),
        f"The output as F x0 + r, on one scale, with an error of {error:.1e}. The norm of r is"
        f" {100 * share:.1f}% of that of the output, about x = 0.",
    )
    places = probe_places(x0[0].mean(0))
    chapter.figure(
        f"{prefix}places",
        draw.marked({"input": n.show(x0[0])}, places),
        "The places of the rows and columns: a strong edge (1), the flattest place (2) and the middle (3).",
    )
    rows, centres = _filters(chapter, lin, places, prefix)
    energy = energy_against_distance(torch.stack(rows), centres)
    chapter.figure(
        f"{prefix}energy",
        energy.plot(),
        f"The share of the rows' energy within a distance; 90% is within {energy.radius(0.9)} pixels.",
    )
    chapter.numbers[title] = {
        "residual_share": share,
        "zero": OWN,
        "sum_error": error,
        "energy": energy.numbers(),
    }
    eigen_images(chapter, {n.name: lin}, prefix.rstrip("_"))
    chapter.findings.clear()  # those of the paper are the tour's


def _filters(
    chapter: Chapter, lin: LinearInterpreter, places: list[tuple[int, int]], prefix: str
) -> tuple[list[torch.Tensor], list[tuple[int, int]]]:
    """Add the figure of the rows and columns at the places, and return the rows and their centres."""
    panels, rows, lines = {}, [], lin.F.alignment()
    outs = [(y, x) for y, x in map(lines.output_of, places)]
    centres = [(y, x) for y, x in map(lines.input_of, outs)]
    for said, (y, x), out in zip(("edge", "flat", "middle"), centres, outs):
        rows.append(lin.F.row((0, *out)))
        panels[f"row, {said}\n({y}, {x})"] = _around(rows[-1], (y, x))
    for said, (y, x), out in zip(("edge", "flat", "middle"), centres, outs):
        panels[f"column, {said}\n({y}, {x})"] = _around(lin.F.column((0, y, x)), out, zoom(lin, 12))
    chapter.figure(
        f"{prefix}filters",
        draw.grid(panels, 3),
        "Receptive filters (rows) and projective filters (columns) at a strong edge, a flat place and the"
        " middle, zoomed around the place, which is marked by a cross.",
    )
    return rows, centres


def _around(filter: torch.Tensor, place: tuple[int, int], radius: int = 12) -> torch.Tensor:
    from ...analysis.images import crop_around

    return crop_around(filter, place, min(radius, max(filter.shape[1:]) // 2))


def _tokens(
    chapter: Chapter,
    n: Network,
    lin: LinearInterpreter,
    title: str,
    prefix: str,
    progress: bool,
    names: Any,
) -> None:
    """Bars by token, of |F x0| and |r|, and by layer for the largest output of the first token."""
    filtered, r, y0 = lin.F @ lin.x0[0], lin.residual[0], lin.y0[0]
    error = float((filtered + r - y0).abs().max() / y0.abs().max())
    chapter.figure(
        f"{prefix}tokens",
        draw.tokens(filtered.norm(dim=1), r.norm(dim=1)),
        f"The norms of F x0 and of r at each of the {len(y0)} output tokens; their sum is the output to"
        f" {error:.1e}.",
    )
    index = (0, int(y0[0].argmax()))
    parts = lin.contributions(index)
    layers = {"F x0": float(parts.linear), **_named_layers(parts)}
    chapter.figure(
        f"{prefix}layers",
        draw.by_layer(layers, float(parts.output)),
        "The contributions of F x0 and of the constants of every layer to the largest output of the first"
        f" token, {index}, which is {float(parts.output):.4g}; they sum to it with an error of"
        f" {parts.error:.1e}.",
    )
    chapter.numbers[title] = {
        "index": index,
        "output": float(parts.output),
        "layers": layers,
        "linear_norms": filtered.norm(dim=1),
        "residual_norms": r.norm(dim=1),
        "sum_error": max(error, parts.error),
        "residual_share": float(r.norm() / y0.norm()),
        "zero": OWN,
    }


def _named_layers(parts: Any) -> dict[str, float]:
    """{layer: value}, where module paths are cut so that at most ``NAMED`` layers remain."""
    whole = parts.by_layer()
    deepest = max((name.count(".") + 1 for name in whole), default=1)
    return next(
        (found for depth in range(deepest, 0, -1) if len(found := parts.by_layer(depth)) <= NAMED), whole
    )


def _layers_of_all(
    chapter: Chapter, n: Network, pictures: list, prefix: str, progress: bool, policy: Any
) -> None:
    x0 = torch.cat([n.take(p) for _, p in pictures])
    found = layer_contributions(n.module, x0, batch=4, policy=policy, progress=progress)
    chapter.heading(f"All {len(pictures)} images")
    chapter.figure(
        f"{prefix}layers",
        found.plot(),
        "F x0 and the masked biases of every layer, as shares of the top score, about x = 0; the band"
        f" deviation over {len(pictures)} images. The largest error of the sums is {found.error:.1e}.",
    )
    chapter.numbers["layers"] = found.numbers()


def _graph_and_laws(chapter: Chapter, n: Network, x0: torch.Tensor, prefix: str, policy: Any) -> None:
    chapter.heading("The rewritten graph and the laws")
    chapter.figure(
        f"{prefix}graph",
        draw_graph(transform(n.module, policy=policy, example_inputs=(x0,))),
        "The original branch, the interpreter branch, and dashed edges that carry the decisions of each"
        " unit.",
    )
    small = x0 if n.kind != "images" else x0[..., : min(32, x0.shape[2]), : min(32, x0.shape[3])]
    found = verify(copy.deepcopy(n.module), small, policy=policy)
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
    if all(_tile(n, n.take(picture), tile) is None for n in networks):
        return picture
    chapter.text("The photograph is large: its middle, of 256 pixels to a side, is compared.")
    return middle(picture, 256, 8)


def _said(names: Any, label: int) -> str:
    return f"label {label}" if names is None else str(names[label])
