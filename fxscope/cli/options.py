"""The options that several verbs share, each defined once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ..analysis.discussion import READINGS
from ..paper.tour.networks import RANGES

Decorator = Callable[[Any], Any]


def together(*options: Decorator) -> Decorator:
    """One decorator of several options; the last one comes first in the help."""

    def add(function: Any) -> Any:
        for option in options:
            function = option(function)
        return function

    return add


model = click.argument("model")
one_image = click.argument("image")
optional_image = click.argument("image", required=False)
many_images = click.argument("image", nargs=-1, required=True)

weights = click.option(
    "--weights", help="a checkpoint (safetensors, or a weights_only .pt), or DEFAULT for torchvision's own"
)
many_weights = click.option(
    "--weights",
    multiple=True,
    help="a checkpoint a network, in their order, or DEFAULT for torchvision's own",
)
policy = click.option("--policy", default="freeze", show_default=True, help="freeze, detach or taylor")
as_json = click.option("--json", "as_json", is_flag=True, help="print JSON")
numbers_as_json = click.option("--json", "as_json", is_flag=True, help="print the numbers as JSON")
output = click.option(
    "-o", "--output", type=click.Path(dir_okay=False), help="draw into FILE.png, .svg or .pdf"
)
side = click.option(
    "--size",
    type=click.IntRange(min=1),
    help=(
        "side of the square that the network takes (default: 224 for torchvision, all of the image"
        " for networks of images)"
    ),
)
cut = click.option(
    "--size",
    default=64,
    show_default=True,
    help="side of the square of the photograph that is used, in pixels",
)
scale = click.option(
    "--range",
    "scale",
    type=click.Choice(list(RANGES)),
    help="what the network takes: normalised, 0..1, 0..255 or -1..1 (default: its family's)",
)
at = click.option(
    "--at",
    help=(
        "index of the un-batched tensor, as C,Y,X or a class (default: the middle of an image, the"
        " largest score)"
    ),
)
top = click.option("--top", is_flag=True, help="the largest output")
reading = click.option("--reading", default="weighted", show_default=True, type=click.Choice(READINGS))


def folder(default: str) -> Decorator:
    """``--out``, the folder of a page."""
    return click.option(
        "--out",
        default=default,
        show_default=True,
        type=click.Path(file_okay=False),
        help="folder of the page",
    )


common = together(weights, policy, cut, as_json)
at_an_index = together(at, output, common)
analysis = together(side, scale, policy, as_json, output)
