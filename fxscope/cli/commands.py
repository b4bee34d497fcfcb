"""The verbs of the analyses and the pages: ``residual-share | layers | discussion | votes | fgsm | locality | reach | tour | report``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
import torch

from ..errors import FxscopeError

READINGS = ("weighted", "per-layer", "literal")
RANGES = ("imagenet", "unit", "byte", "symmetric")


def register(cli: click.Group) -> None:
    """Add the verbs to the command line."""
    for command in (
        residual_share_command,
        layers_command,
        discussion_command,
        votes_command,
        fgsm_command,
        locality_command,
        reach_command,
        tour_command,
        report_command,
    ):
        cli.add_command(command)


def _options(function):
    for option in (
        click.option(
            "--size",
            type=click.IntRange(min=1),
            help=(
                "side of the square that the network takes (default: 224 for torchvision, all of the image"
                " for networks of images)"
            ),
        ),
        click.option(
            "--range",
            "scale",
            type=click.Choice(RANGES),
            help="what the network takes: normalised, 0..1, 0..255 or -1..1 (default: its family's)",
        ),
        click.option("--policy", default="freeze", show_default=True, help="freeze, detach or taylor"),
        click.option("--json", "as_json", is_flag=True, help="print JSON"),
        click.option(
            "-o", "--output", type=click.Path(dir_okay=False), help="draw into FILE.png, .svg or .pdf"
        ),
    ):
        function = option(function)
    return function


_weights = click.option(
    "--weights", help="a checkpoint (safetensors, or a weights_only .pt), or DEFAULT for torchvision's own"
)
_many_weights = click.option(
    "--weights",
    multiple=True,
    help="a checkpoint a network, in their order, or DEFAULT for torchvision's own",
)


def _network(spec: str, weights: str | None, scale: str | None, size: int | None) -> Any:
    from ..paper.tour import network
    from .main import load_model

    note = (
        ""
        if not weights
        else "torchvision's weights"
        if weights == "DEFAULT"
        else f"weights {weights.rsplit('/', 1)[-1]}"
    )
    return network(spec, load_model(spec, weights), note, scale, size)


def _networks(
    specs: Sequence[str], weights: Sequence[str], scale: str | None = None, size: int | None = None
) -> list:
    if weights and len(weights) != len(specs):
        raise FxscopeError(
            f"{len(specs)} networks and {len(weights)} --weights: give one for each, in their order"
        )
    return [_network(s, w, scale, size) for s, w in zip(specs, weights or [None] * len(specs))]


def _pictures(paths: Sequence[str]) -> list[tuple[str, torch.Tensor]]:
    from ..paper.tour.networks import images_of, read

    return [(p.name, read(p, least=8)) for p in images_of(list(paths))]


def _reading(found: Any, image: str, policy: str) -> Any:
    from ..linop import interpret
    from ..paper.tour.networks import check_memory

    x0 = found.take(_pictures([image])[0][1])
    check_memory(found, tuple(x0.shape))
    return interpret(found.module, x0, policy=policy)


def _done(found: Any, text: str, as_json: bool, output: str | None, figure: Any = None) -> None:
    click.echo(found.to_json() if as_json else text)
    if output:
        (figure or found.plot)().savefig(output, dpi=200)
        click.echo(f"drawn into {output}", err=True)


def names_of(spec: str, count: int) -> list[str] | None:
    """ImageNet's names for a torchvision classifier of 1000 labels; None elsewhere."""
    if not spec.startswith("torchvision:") or count != 1000:
        return None
    import torchvision

    return list(torchvision.models.ResNet18_Weights.DEFAULT.meta["categories"])


@click.command("residual-share")
@click.argument("model", nargs=-1, required=True)
@click.option(
    "--images", required=True, multiple=True, type=click.Path(exists=True), help="images, or folders of them"
)
@click.option(
    "--state", type=click.Path(dir_okay=False), help="a file that keeps what is done: run again, it goes on"
)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1))
@_many_weights
@_options
def residual_share_command(model, images, state, batch, weights, output, as_json, policy, scale, size):
    """The biases' share of the top score of every MODEL over a folder of images (the paper's Tables 3 and 4)."""
    from ..analysis import ResidualShare, residual_share
    from ..paper.tour.networks import images_of, read

    paths = images_of(list(images))
    found = []
    for each in _networks(model, weights, scale, size):
        if each.kind != "scores":
            raise FxscopeError(f"{each.name} gives no scores; the residual share is that of the largest one")
        given = ((str(p), each.take(read(p, least=8))) for p in paths)
        found += residual_share({each.name: each.module}, given, state, batch, policy).models
    table = ResidualShare(tuple(found))
    _done(table, str(table), as_json, output)


@click.command("layers")
@click.argument("model")
@click.argument("image", nargs=-1, required=True)
@click.option(
    "--batch-norm",
    default="with",
    show_default=True,
    type=click.Choice(["with", "apart"]),
    help="its shift counted with the layer before it, or apart",
)
@_weights
@_options
def layers_command(model, image, batch_norm, weights, output, as_json, policy, scale, size):
    """Mean and spread of every layer's share of the top score of MODEL over images or folders (Fig. 4 and 8)."""
    from ..analysis import layer_contributions

    each = _network(model, weights, scale, size)
    found = layer_contributions(
        each.module,
        torch.cat([each.take(p) for _, p in _pictures(image)]),
        batch_norm=batch_norm,
        batch=4,
        policy=policy,
    )
    rows = zip(["F x0", *found.names], found.mean.tolist(), found.std.tolist())
    _done(
        found,
        "\n".join(f"{n:40s} {100 * m:8.2f}% +- {100 * s:.2f}" for n, m, s in rows)
        + f"\nlargest error of the sums {found.error:.1e}",
        as_json,
        output,
    )


@click.command("discussion")
@click.argument("model")
@click.argument("image")
@click.option("--label", "labels", multiple=True, type=int, help="a label (default: the two largest scores)")
@click.option("--reading", default="weighted", show_default=True, type=click.Choice(READINGS))
@_weights
@_options
def discussion_command(model, image, labels, reading, weights, output, as_json, policy, scale, size):
    """Every pixel's part in scores of MODEL on IMAGE (eq. 18); each picture sums to its score."""
    lin = _reading(_network(model, weights, scale, size), image, policy)
    chosen = list(labels) or lin.y0[0].flatten().topk(2).indices.tolist()
    found = lin.pixel_discussion(chosen, reading=reading)
    names = names_of(model, lin.F.outputs.shape[0])
    text = (
        "\n".join(f"{names[k] if names else k}: score {float(s):.6g}" for k, s in zip(chosen, found.scores))
        + f"\nerror of the sums {found.error:.1e}, corrections of {100 * found.added:.1f}% of the layers'"
        " contributions"
    )
    _done(found, text, as_json, output, lambda: found.plot(names=names))


@click.command("votes")
@click.argument("model")
@click.argument("image")
@click.option(
    "--top",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="the labels with the largest scores stand for election",
)
@click.option("--all", "every", is_flag=True, help="all labels do")
@click.option("--reading", default="weighted", show_default=True, type=click.Choice(READINGS))
@_weights
@_options
def votes_command(model, image, top, every, reading, weights, output, as_json, policy, scale, size):
    """The label to which every pixel of IMAGE adds most (Fig. 3)."""
    lin = _reading(_network(model, weights, scale, size), image, policy)
    scores = lin.y0[0].flatten()
    found = lin.pixel_votes(
        None if every else scores.argsort(descending=True)[:top].tolist(), reading=reading
    )
    names = names_of(model, len(scores))
    text = "\n".join(
        f"{names[k] if names else k}: {100 * v:.2f}% of the pixels, score {float(scores[k]):.4g}"
        for k, v in list(found.popularity.items())[:10]
    )
    _done(found, text, as_json, output, lambda: found.plot(names=names))


@click.command("fgsm")
@click.argument("model")
@click.argument("image", nargs=-1, required=True)
@click.option("--epsilon", multiple=True, type=float, help="a step in 1/255 (default: 1, 2, 4, 8, 16)")
@_weights
@_options
def fgsm_command(model, image, epsilon, weights, output, as_json, policy, scale, size):
    """One clean step of FGSM in pixel space: which labels change, and the contributions' spread before and after (Fig. 8)."""
    from ..analysis import fgsm, layer_contributions
    from ..analysis.adversarial import EPSILONS

    each = _network(model, weights, scale, size)
    x0 = torch.cat([each.take(p) for _, p in _pictures(image)])
    found = fgsm(
        each.module, x0, epsilons=[e / 255 for e in epsilon] or EPSILONS, mean=each.mean, std=each.std
    )
    spread = [
        float(layer_contributions(each.module, x, batch=4, policy=policy).std.square().mean().sqrt())
        for x in (x0, found.images[-1])
    ]
    text = "\n".join(
        f"{255 * e:5.1f}/255: {100 * float(s):.0f}% of the labels change"
        for e, s in zip(found.epsilons, found.success)
    )
    _done(
        found,
        f"{text}\nspread of the contributions {100 * spread[0]:.1f}% before, {100 * spread[1]:.1f}% after the"
        " largest step",
        as_json,
        output,
    )


@click.command("locality")
@click.argument("model")
@click.argument("image")
@click.option(
    "--places",
    default=16,
    show_default=True,
    type=click.IntRange(min=1),
    help="how many places, drawn at random",
)
@_weights
@_options
def locality_command(model, image, places, weights, output, as_json, policy, scale, size):
    """Energy of rows against distance, off-diagonal share, and how far columns differ from place to place (Fig. 11 and 13)."""
    from ..analysis import diagonal, energy_against_distance, invariance
    from ..paper.tour.super_resolution import sample

    each = _network(model, weights, scale, size)
    _needs_images(each)
    lin = _reading(each, image, policy)
    at = sample(tuple(lin.x0.shape[2:]), places)
    rows = lin.F.rows(
        [(0, y * each.scale + each.scale // 2, x * each.scale + each.scale // 2) for y, x in at]
    )
    energy, off = energy_against_distance(rows, at), diagonal(rows, at)
    columns = invariance(
        lin.F.columns([(0, y, x) for y, x in at]),
        [(y * each.scale, x * each.scale) for y, x in at],
        5 * each.scale,
    )
    numbers = {"energy": energy.numbers(), "off_diagonal": off.mean, "column_spread": columns.spread}
    text = (
        f"50, 90, 99% of a row's energy within {energy.radius(0.5)}, {energy.radius(0.9)},"
        f" {energy.radius(0.99)} px; {100 * off.mean:.2g}% beyond {off.radius} px; columns differ by"
        f" {100 * columns.spread:.2g}% of their energy"
    )
    from ..results.records import plain

    click.echo(json.dumps(plain(numbers)) if as_json else text)
    if output:
        energy.plot().savefig(output, dpi=200)


@click.command("reach")
@click.argument("model")
@click.argument("image")
@click.option("--at", help="index of the output, C,Y,X (default: a quarter of the image)")
@click.option(
    "--bound", default=84, show_default=True, help="pixels to each side that the convolutions reach"
)
@_weights
@_options
def reach_command(model, image, at, bound, weights, output, as_json, policy, scale, size):
    """One row under the three readings of instance norm (READING stats, scale, taylor), against the reach of the convolutions."""
    from ..analysis import reach
    from .main import _place

    each = _network(model, weights, scale, size)
    _needs_images(each)
    x0 = each.take(_pictures([image])[0][1])
    index = _place(at) if at else (0, x0.shape[2] * each.scale // 4, x0.shape[3] * each.scale // 4)
    found = reach(each.module, x0, index, tuple(v // each.scale for v in index[1:]), bound)
    _done(
        found,
        "\n".join(
            f"{k:7s} furthest {v} px, {100 * found.beyond[k]:.3g}% of the energy beyond {bound}"
            for k, v in found.furthest.items()
        ),
        as_json,
        output,
    )


def _needs_images(each: Any) -> None:
    if each.kind != "images":
        raise FxscopeError(f"{each.name} gives {each.kind}, and this is about networks of images")


@click.command("tour")
@click.argument("image", nargs=-1)
@click.option(
    "--model", multiple=True, help="a network in place of the stand-ins, in the chapter that its output fits"
)
@_many_weights
@click.option(
    "--out",
    default="fxscope-tour",
    show_default=True,
    type=click.Path(file_okay=False),
    help="folder of the page",
)
@click.option(
    "--chapter",
    multiple=True,
    help="classification, super-resolution, image-to-image, storage or verification alone",
)
@click.option("--json", "as_json", is_flag=True, help="print the numbers as JSON")
def tour_command(image, model, weights, out, chapter, as_json):
    """Write one page with everything the paper shows; interrupted and run again it goes on."""
    from ..paper.tour import tour

    written = tour(image, out, _networks(model, weights), chapter)
    click.echo(json.dumps(written.numbers, indent=2) if as_json else f"the page is {written.page}")


@click.command("report")
@click.argument("model")
@click.argument("image", nargs=-1, required=True)
@click.option("--and", "others", multiple=True, help="another network, side by side")
@_many_weights
@click.option("--size", type=click.IntRange(min=1), help="side of the square that the network takes")
@click.option(
    "--range", "scale", type=click.Choice(RANGES), help="what the network takes (default: its family's)"
)
@click.option(
    "--out",
    default="fxscope-report",
    show_default=True,
    type=click.Path(file_okay=False),
    help="folder of the page",
)
@click.option("--json", "as_json", is_flag=True, help="print the numbers as JSON")
def report_command(model, image, others, weights, size, scale, out, as_json):
    """Write the page about one's own network on one's own images: the chapters that fit its output, figures as PDF and SVG."""
    from ..paper.tour import report

    networks = _networks([model, *others], weights, scale, size)
    counts = {n.module for n in networks if n.kind == "scores"}
    with torch.no_grad():
        names = (
            names_of(model, networks[0].module(networks[0].take(torch.zeros(3, 64, 64))).shape[-1])
            if counts
            else None
        )
    written = report(networks, list(image), out, names)
    click.echo(json.dumps(written.numbers, indent=2) if as_json else f"the page is {written.page}")
