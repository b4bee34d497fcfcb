"""The verbs that write pages: ``tour | report``."""

from __future__ import annotations

import json

import click
import torch

from ..paper import tour as pages
from ..paper.tour import Network, Written
from . import options
from .inputs import names_of, networks_of


@click.command("tour")
@click.argument("image", nargs=-1)
@click.option(
    "--model", multiple=True, help="a network in place of the stand-ins, in the chapter that its output fits"
)
@options.many_weights
@options.folder("fxscope-tour")
@click.option(
    "--chapter",
    multiple=True,
    help="classification, super-resolution, image-to-image, storage or verification alone",
)
@options.numbers_as_json
def tour_verb(
    image: tuple[str, ...],
    model: tuple[str, ...],
    weights: tuple[str, ...],
    out: str,
    chapter: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write one page with everything the paper shows; interrupted and run again it goes on."""
    _say(pages.tour(image, out, networks_of(model, weights), chapter), as_json)


@click.command("report")
@options.model
@options.many_images
@click.option("--and", "others", multiple=True, help="another network, side by side")
@options.many_weights
@options.side
@options.scale
@options.folder("fxscope-report")
@options.numbers_as_json
def report_verb(
    model: str,
    image: tuple[str, ...],
    others: tuple[str, ...],
    weights: tuple[str, ...],
    size: int | None,
    scale: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Write the page about one's own network on one's own images, with figures as PDF and SVG."""
    networks = networks_of([model, *others], weights, scale, size)
    _say(pages.report(networks, list(image), out, _names(model, networks)), as_json)


def _names(spec: str, networks: list[Network]) -> list[str] | None:
    """The labels' names, where one of the networks is a classifier."""
    if all(n.kind != "scores" for n in networks):
        return None
    first = networks[0]
    with torch.no_grad():
        count = first.module(first.take(torch.zeros(3, 64, 64))).shape[-1]
    return names_of(spec, count)


def _say(written: Written, as_json: bool) -> None:
    click.echo(json.dumps(written.numbers, indent=2) if as_json else f"the page is {written.page}")


VERBS = (tour_verb, report_verb)
