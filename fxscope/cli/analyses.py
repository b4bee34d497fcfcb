"""The verbs of the analyses: ``residual-share | layers | discussion | votes | fgsm | locality | reach``."""

from __future__ import annotations

import click
import torch

from .. import analysis
from ..analysis.adversarial import EPSILONS
from ..errors import FxscopeError
from ..paper.tour.networks import Network, images_of, read
from ..paper.tour.super_resolution import sample
from ..results.records import plain
from . import options
from .inputs import index_of, interpreter_of, names_of, network_of, networks_of, pictures_of
from .shown import draw, say


@click.command("residual-share")
@click.argument("model", nargs=-1, required=True)
@click.option(
    "--images", required=True, multiple=True, type=click.Path(exists=True), help="images, or folders of them"
)
@click.option(
    "--state", type=click.Path(dir_okay=False), help="a file that keeps what is done: run again, it goes on"
)
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1))
@options.many_weights
@options.analysis
def residual_share_verb(
    model: tuple[str, ...],
    images: tuple[str, ...],
    state: str | None,
    batch: int,
    weights: tuple[str, ...],
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """The biases' share of the top score of every MODEL over a folder of images (paper, Tables 3 and 4)."""
    paths = images_of(list(images))
    found: list[analysis.Share] = []
    for each in networks_of(model, weights, scale, size):
        if each.kind != "scores":
            raise FxscopeError(f"{each.name} gives no scores; the residual share is that of the largest one")
        given = ((str(p), each.take(read(p, least=8))) for p in paths)
        found += analysis.residual_share({each.name: each.module}, given, state, batch, policy).models
    table = analysis.ResidualShare(tuple(found))
    say(table, str(table), as_json)
    draw(table.plot, output)


@click.command("layers")
@options.model
@options.many_images
@click.option(
    "--batch-norm",
    default="with",
    show_default=True,
    type=click.Choice(["with", "apart"]),
    help="its shift counted with the layer before it, or apart",
)
@options.weights
@options.analysis
def layers_verb(
    model: str,
    image: tuple[str, ...],
    batch_norm: str,
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """Mean and spread of every layer's share of the top score of MODEL over images (Fig. 4 and 8)."""
    each = network_of(model, weights, scale, size)
    x0 = torch.cat([each.take(p) for _, p in pictures_of(image)])
    found = analysis.layer_contributions(each.module, x0, batch_norm=batch_norm, batch=4, policy=policy)
    rows = zip(["F x0", *found.names], found.mean.tolist(), found.std.tolist())
    lines = [f"{name:40s} {100 * mean:8.2f}% +- {100 * std:.2f}" for name, mean, std in rows]
    lines.append(f"largest error of the sums {found.error:.1e}")
    say(found, "\n".join(lines), as_json)
    draw(found.plot, output)


@click.command("discussion")
@options.model
@options.one_image
@click.option("--label", "labels", multiple=True, type=int, help="a label (default: the two largest scores)")
@options.reading
@options.weights
@options.analysis
def discussion_verb(
    model: str,
    image: str,
    labels: tuple[int, ...],
    reading: str,
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """Every pixel's part in scores of MODEL on IMAGE (eq. 18); each picture sums to its score."""
    lin = interpreter_of(network_of(model, weights, scale, size), image, policy)
    chosen = list(labels) or lin.y0[0].flatten().topk(2).indices.tolist()
    found = lin.pixel_discussion(chosen, reading=reading)
    names = names_of(model, lin.F.outputs.shape[0])
    lines = [f"{names[k] if names else k}: score {float(s):.6g}" for k, s in zip(chosen, found.scores)]
    lines.append(
        f"error of the sums {found.error:.1e}, corrections of {100 * found.added:.1f}% of the layers'"
        " contributions"
    )
    say(found, "\n".join(lines), as_json)
    draw(lambda: found.plot(names=names), output)


@click.command("votes")
@options.model
@options.one_image
@click.option(
    "--top",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="the labels with the largest scores stand for election",
)
@click.option("--all", "every", is_flag=True, help="all labels do")
@options.reading
@options.weights
@options.analysis
def votes_verb(
    model: str,
    image: str,
    top: int,
    every: bool,
    reading: str,
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """The label to which every pixel of IMAGE adds most (Fig. 3)."""
    lin = interpreter_of(network_of(model, weights, scale, size), image, policy)
    scores = lin.y0[0].flatten()
    labels = None if every else scores.argsort(descending=True)[:top].tolist()
    found = lin.pixel_votes(labels, reading=reading)
    names = names_of(model, len(scores))
    lines = [
        f"{names[k] if names else k}: {100 * v:.2f}% of the pixels, score {float(scores[k]):.4g}"
        for k, v in list(found.popularity.items())[:10]
    ]
    say(found, "\n".join(lines), as_json)
    draw(lambda: found.plot(names=names), output)


@click.command("fgsm")
@options.model
@options.many_images
@click.option("--epsilon", multiple=True, type=float, help="a step in 1/255 (default: 1, 2, 4, 8, 16)")
@options.weights
@options.analysis
def fgsm_verb(
    model: str,
    image: tuple[str, ...],
    epsilon: tuple[float, ...],
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """One step of FGSM in pixel space: which labels change (Fig. 8).

    Also the spread of the layers' contributions before and after the step.
    """
    each = network_of(model, weights, scale, size)
    x0 = torch.cat([each.take(p) for _, p in pictures_of(image)])
    epsilons = [e / 255 for e in epsilon] or EPSILONS
    found = analysis.fgsm(each.module, x0, epsilons=epsilons, mean=each.mean, std=each.std)
    before, after = (_spread(each, x, policy) for x in (x0, found.images[-1]))
    lines = [
        f"{255 * e:5.1f}/255: {100 * float(s):.0f}% of the labels change"
        for e, s in zip(found.epsilons, found.success)
    ]
    lines.append(
        f"spread of the contributions {100 * before:.1f}% before, {100 * after:.1f}% after the largest step"
    )
    say(found, "\n".join(lines), as_json)
    draw(found.plot, output)


def _spread(each: Network, x: torch.Tensor, policy: str) -> float:
    """Root mean square of the layers' standard deviations over the images."""
    found = analysis.layer_contributions(each.module, x, batch=4, policy=policy)
    return float(found.std.square().mean().sqrt())


@click.command("locality")
@options.model
@options.one_image
@click.option(
    "--places",
    default=16,
    show_default=True,
    type=click.IntRange(min=1),
    help="how many places, drawn at random",
)
@options.weights
@options.analysis
def locality_verb(
    model: str,
    image: str,
    places: int,
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """Locality of rows, and invariance of columns (Fig. 11 and 13).

    Energy of rows against distance, off-diagonal share, and how far columns differ from place to place.
    """
    each = _of_images(network_of(model, weights, scale, size))
    lin, s = interpreter_of(each, image, policy), each.scale
    at = sample(lin.x0.shape[2:], places)
    rows = lin.F.rows([(0, y * s + s // 2, x * s + s // 2) for y, x in at])
    columns = lin.F.columns([(0, y, x) for y, x in at])
    energy, off = analysis.energy_against_distance(rows, at), analysis.diagonal(rows, at)
    spread = analysis.invariance(columns, [(y * s, x * s) for y, x in at], 5 * s).spread
    numbers = {"energy": energy.numbers(), "off_diagonal": off.mean, "column_spread": spread}
    text = (
        f"50, 90, 99% of a row's energy within {energy.radius(0.5)}, {energy.radius(0.9)},"
        f" {energy.radius(0.99)} px; {100 * off.mean:.2g}% beyond {off.radius} px; columns differ by"
        f" {100 * spread:.2g}% of their energy"
    )
    say(plain(numbers), text, as_json)
    draw(energy.plot, output)


@click.command("reach")
@options.model
@options.one_image
@click.option("--at", help="index of the output, C,Y,X (default: a quarter of the image)")
@click.option(
    "--bound", default=84, show_default=True, help="pixels to each side that the convolutions reach"
)
@options.weights
@options.analysis
def reach_verb(
    model: str,
    image: str,
    at: str | None,
    bound: int,
    weights: str | None,
    output: str | None,
    as_json: bool,
    policy: str,
    scale: str | None,
    size: int | None,
) -> None:
    """One row under the variants of instance norm: stats, scale, taylor.

    It is compared with the reach of the convolutions.
    """
    each = _of_images(network_of(model, weights, scale, size))
    x0 = each.take(pictures_of([image])[0][1])
    index = index_of(at) if at else (0, x0.shape[2] * each.scale // 4, x0.shape[3] * each.scale // 4)
    found = analysis.reach(each.module, x0, index, (index[1] // each.scale, index[2] // each.scale), bound)
    lines = [
        f"{k:7s} furthest {v} px, {100 * found.beyond[k]:.3g}% of the energy beyond {bound}"
        for k, v in found.furthest.items()
    ]
    say(found, "\n".join(lines), as_json)
    draw(found.plot, output)


def _of_images(found: Network) -> Network:
    """The network itself; raise ``FxscopeError`` if its output is no image."""
    if found.kind != "images":
        raise FxscopeError(f"{found.name} gives {found.kind}, and this is about networks of images")
    return found


VERBS = (
    residual_share_verb,
    layers_verb,
    discussion_verb,
    votes_verb,
    fgsm_verb,
    locality_verb,
    reach_verb,
)
