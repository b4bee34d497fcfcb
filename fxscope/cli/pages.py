"""The verbs that write pages: ``tour | report | page``."""

from __future__ import annotations

import click
import torch

from ..linop import prepare
from ..paper import tour as pages
from ..paper.tour import CHAPTERS, Network, Written
from ..viewer import LIMIT, SIDE, Subject, View, note, write, write_folder
from . import options, types
from .inputs import Photographs, checked, names_of, networks_of, take
from .options import Asked, verb
from .running import usage
from .shown import answer

live = click.option(
    "--live/--no-live",
    default=True,
    show_default=True,
    help="begin with a demonstration that computes in the reader's browser",
)


@verb("tour", options.many_weights, options.seed, options.as_json, live)
@click.argument("images", metavar="IMAGE...", nargs=-1, type=types.IMAGES)
@click.option(
    "--model",
    multiple=True,
    type=types.Model(),
    help="a network in place of the stand-ins, in the chapter that its output fits",
)
@options.folder("fxscope-tour")
@click.option(
    "--chapter",
    "chapters",
    multiple=True,
    type=click.Choice(CHAPTERS),
    help="this chapter alone (or several)",
)
def tour_verb(asked: Asked, images: tuple[str, ...], out: str, chapters: tuple[str, ...], live: bool) -> None:
    """Write one page with everything the paper shows; interrupted and run again it goes on.

    What is frozen is what the paper freezes; fxscope report has --policy.
    """
    photographs = Photographs(images, least=64)
    files = photographs.files() if images else []
    written = pages.tour(files, out, networks_of(asked, limit=None), chapters, live=live)
    _answer(asked, written, photographs)


@verb(
    "report",
    options.model,
    options.many_images,
    options.other_models,
    options.many_weights,
    options.seed,
    options.key,
    options.policy,
    options.picture,
    options.names,
    options.tile,
    options.as_json,
    live,
)
@options.folder("fxscope-report")
@click.option(
    "--fast",
    is_flag=True,
    help="leave out what takes longest: demonstration, graph, most laws and votes, large eigen-images",
)
def report_verb(asked: Asked, out: str, live: bool, fast: bool) -> None:
    """Write the page about one's own network on one's own images, with figures as PDF and SVG.

    Says how long it will take, which step runs, and how long the rest will take.
    """
    photographs, networks = Photographs(asked.image), networks_of(asked)
    _take_all(networks, photographs)
    names = _names(asked, networks, photographs)
    options = {"policy": asked.policy, "live": live, "tile": asked.tile, "fast": fast}
    written = pages.report(networks, photographs.files(), out, names, **options)
    _answer(asked, written, photographs)


def _take_all(networks: list[Network], photographs: Photographs) -> None:
    """Make every x0 once, for what the answer says of it; none is kept, for it may be large."""
    for name, picture in photographs:
        for each in networks:
            take(each, name, picture)


def _names(asked: Asked, networks: list[Network], photographs: Photographs) -> list[str] | None:
    """The labels' names, where all networks that give scores are of the same labels."""
    found = []
    for choice, network in zip(asked.choices, networks):
        if network.kind == "scores":
            _, picture = next(iter(photographs))
            with torch.no_grad():
                count = network.module(network.take(picture)).shape[-1]
            found.append(names_of(asked, choice, count))
    return found[0] if found and None not in found else None


@verb(
    "page",
    options.model,
    options.many_images,
    options.other_models,
    options.many_weights,
    options.seed,
    options.key,
    options.many_policies,
    options.picture,
    options.names,
    options.as_json,
)
@click.option("--half", is_flag=True, help="store weights in float16, where rows hold to a hundredth")
@click.option("-o", "file", type=types.NewFile(".html"), help="FILE.html  [default: fxscope-page.html]")
@click.option(
    "--folder", type=types.Folder(), help="a folder for a web server, with weights apart, in place of a file"
)
@click.option(
    "--smaller",
    type=click.IntRange(min=1),
    help="also at so many pixels to each side, for a look at a network of images that is slow",
)
@click.option(
    "--svd", "count", default=0, type=click.IntRange(min=0), help="also so many eigen-inputs of each network"
)
@click.option("--votes", is_flag=True, help="also which of the largest scores each pixel votes for")
@click.option(
    "--limit", default=float(LIMIT), show_default=True, type=types.Above(), help="the most MB of the page"
)
def page_verb(
    asked: Asked,
    half: bool,
    file: str | None,
    folder: str | None,
    smaller: int | None,
    count: int,
    votes: bool,
    limit: float,
) -> None:
    """Write one file that computes any row and column of F in the reader's browser, offline.

    With --folder it is a folder for a web server, whose page has threads and WebGPU where the browser allows.
    """
    if file and folder:
        raise usage("give either -o FILE.html or --folder DIR")
    photographs, networks = Photographs(asked.image), networks_of(asked, limit=SIDE)
    names = _names(asked, networks, photographs)
    subjects = []
    for network in networks:
        taken = [(name, take(network, name, picture)) for name, picture in photographs]
        for _, x0 in taken:
            checked(asked, network, x0)
        subjects += [_subject(network, policy, taken, names, count, half, votes) for policy in asked.policies]
    target = folder or file or "fxscope-page.html"
    if folder:
        written = write_folder(folder, subjects, half, smaller)
        way = "put it on a web server (docs/how-to/live-page.md)"
        text = f"the folder is {folder}, {written / 1e6:.1f} MB: {way}"
    else:
        written = write(target, subjects, limit, half, smaller)
        text = f"the page is {target}, {written / 1e6:.1f} MB: open it in a browser"
    sizes = {s.name: list(s.views[0].lin.x0.shape[2:]) for s in subjects}
    numbers = {"page": target, "bytes": written, "photographs": len(subjects[0].views), "sizes": sizes}
    answer(asked, numbers, text, skipped=photographs.skipped)


def _subject(
    network: Network,
    policy: str,
    taken: list[tuple[str, torch.Tensor]],
    names: list[str] | None,
    count: int,
    half: bool,
    votes: bool,
) -> Subject:
    """A network under a policy at every photograph, its graphs made once."""
    reader = prepare(network.module, taken[0][1], policy=policy)
    views = [View(name, reader(x0), count, votes=votes) for name, x0 in taken]
    labels = names if network.kind == "scores" else None
    said = note(f"{network.note}, policy {policy}", half)
    return Subject(network.name, said, views, network.preprocess, labels)


def _answer(asked: Asked, written: Written, photographs: Photographs) -> None:
    text = "\n".join([*written.results, f"the page is {written.page}"])
    answer(asked, written.numbers, text, skipped=photographs.skipped)


VERBS = (tour_verb, report_verb, page_verb)
