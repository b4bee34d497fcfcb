"""The verbs of the analyses: from ``residual-share`` and ``layers`` to ``locality`` and ``reach``."""

from __future__ import annotations

from typing import Any

import click
import torch

from .. import analysis
from ..analysis.adversarial import EPSILONS
from ..analysis.sampled import sampled, zoom
from ..analysis.zero import LEVELS
from ..errors import PolicyError
from ..linop import Reader, prepare
from ..paper.tour.networks import Network
from . import options, types
from .inputs import (
    Photographs,
    boxed,
    example,
    ground_of,
    interpreter_of,
    names_of,
    network_of,
    networks_of,
    place_in,
    take,
)
from .options import Asked, verb
from .running import usage
from .shown import answer, origin_of


@verb(
    "residual-share",
    options.many_models,
    options.many_weights,
    options.seed,
    options.device,
    options.key,
    options.common,
    options.output,
    about="scores",
)
@click.option("--images", required=True, multiple=True, type=types.IMAGES, help="images, or folders of them")
@click.option("--state", type=types.NewFile(), help="a file that keeps what is done: run again, it goes on")
@click.option("--batch", default=8, show_default=True, type=click.IntRange(min=1))
@options.zero
def residual_share_verb(
    asked: Asked, images: tuple[str, ...], state: str | None, batch: int, zero: str
) -> None:
    """The biases' share of the top score of every MODEL over a folder of images (paper, Tables 3 and 4)."""
    photographs = Photographs(images)
    found: list[analysis.Share] = []
    networks = networks_of(asked)
    for each in networks:
        name = each.name if [n.name for n in networks].count(each.name) == 1 else each.title
        given = ((file, take(each, file, picture)) for file, picture in photographs)
        about = _about(zero, each)
        found += analysis.residual_share(
            {name: each.module}, given, state, batch, asked.policy, **about
        ).models
    table = analysis.ResidualShare(tuple(found))
    answer(asked, table, str(table), lambda: table.plot(text=origin_of(asked)), photographs.skipped)


@verb("layers", options.model, options.many_images, options.analysis, about="scores")
@click.option(
    "--batch-norm",
    default="with",
    show_default=True,
    type=click.Choice(["with", "apart"]),
    help="its shift counted with the layer before it, or apart",
)
@options.zero
def layers_verb(asked: Asked, batch_norm: str, zero: str) -> None:
    """Mean and spread of every layer's share of the top score of MODEL over images (Fig. 4 and 8)."""
    each, photographs = network_of(asked), Photographs(asked.image)
    x0 = photographs.batch(each)
    found = analysis.layer_contributions(
        each.module, x0, batch_norm=batch_norm, batch=4, policy=asked.policy, **_about(zero, each)
    )
    answer(asked, found, str(found), lambda: found.plot(text=origin_of(asked)), photographs.skipped)


def _about(zero: str, each: Network) -> dict[str, Any]:
    """The arguments of an analysis that say where zero lies for a network."""
    known = dict(zip(("mean", "std"), each.preprocess.affine)) if zero in LEVELS else {}
    return {"zero": None if zero == "own" else zero, **known}


@verb("discussion", options.model, options.one_image, options.analysis, about="scores")
@click.option("--label", "labels", multiple=True, type=int, help="a label (default: the two largest scores)")
@options.reading
@options.names
def discussion_verb(asked: Asked, labels: tuple[int, ...], reading: str) -> None:
    """Every pixel's part in scores of MODEL on IMAGE (eq. 18); each picture sums to its score."""
    _, lin = interpreter_of(asked)
    count = lin.F.outputs.shape[0]
    for label in labels:
        if not 0 <= label < count:
            raise usage(f"there is no label {label}; they are 0 to {count - 1}", "--label")
    chosen = list(labels) or lin.y0[0].flatten().topk(min(2, count)).indices.tolist()
    found = lin.pixel_discussion(chosen, reading=reading)
    names = names_of(asked, asked.choice, count)
    text = found._table(names).text()
    over = {"names": names, "photograph": ground_of(lin)}
    answer(asked, found, text, lambda: found.plot(text=origin_of(asked, lin), **over))


@verb("votes", options.model, options.one_image, options.analysis, about="scores")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="so many labels with the largest scores stand for election (default: 10)",
)
@click.option("--all", "every", is_flag=True, help="all labels do")
@click.option("--reading", default="conserving", show_default=True, type=click.Choice(analysis.READINGS))
@options.names
def votes_verb(asked: Asked, top: int | None, every: bool, reading: str) -> None:
    """The label to which every pixel of IMAGE adds most (Fig. 3)."""
    if every and top is not None:
        raise usage("--top and --all exclude each other: some labels stand for election, or all")
    _, lin = interpreter_of(asked)
    scores = lin.y0[0].flatten()
    labels = None if every else scores.argsort(descending=True)[: top or 10].tolist()
    found = lin.pixel_votes(labels, reading=reading)
    names = names_of(asked, asked.choice, len(scores))
    text = found._table(names).text()
    over = {"names": names, "photograph": ground_of(lin)}
    answer(asked, found, text, lambda: found.plot(text=origin_of(asked, lin), **over))


@verb("votes-study", options.model, options.many_images, options.analysis, about="scores")
@click.option(
    "--boxes",
    required=True,
    type=click.Path(exists=True, dir_okay=False),
    help="JSON, {name of an image file, without its suffix: [left, top, right, bottom]} in pixels",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="so many labels with the largest scores of an image stand for election (default: all labels)",
)
@click.option("--reading", default="conserving", show_default=True, type=click.Choice(analysis.READINGS))
def votes_study_verb(asked: Asked, boxes: str, top: int | None, reading: str) -> None:
    """Whether the votes of MODEL focus on the objects of images, against boxes drawn beforehand (Fig. 3)."""
    each, photographs = network_of(asked), Photographs(asked.image)
    given = boxed(each, photographs, boxes)
    found = analysis.votes_study(each.module, given, top=top, reading=reading, policy=asked.policy)
    answer(asked, found, str(found), lambda: found.plot(text=origin_of(asked)), photographs.skipped)


@verb("faithfulness", options.model, options.many_images, options.compared, about="scores")
@click.option(
    "--depths", default=8, show_default=True, type=click.IntRange(min=1), help="steps of the cascade"
)
@click.option(
    "--top",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="so many labels with the largest scores stand for election in the votes",
)
def faithfulness_verb(asked: Asked, depths: int, top: int) -> None:
    """Whether rows, discussions and votes of MODEL on images mean anything.

    They are compared under random weights, deleted pixels and noise, for every --policy.
    """
    each, photographs = network_of(asked), Photographs(asked.image)
    x0 = photographs.batch(each)
    found = analysis.faithfulness(
        each.module, x0, policies=asked.policies, depths=depths, top=top, seed=asked.seed
    )
    answer(asked, found, str(found), lambda: found.plot(text=origin_of(asked)), photographs.skipped)


@verb("fgsm", options.model, options.many_images, options.analysis, about="scores")
@click.option(
    "--epsilon", multiple=True, type=types.Above(), help="a step in 1/255 (default: 1, 2, 4, 8, 16)"
)
def fgsm_verb(asked: Asked, epsilon: tuple[float, ...]) -> None:
    """One step of FGSM in pixel space: which labels change (Fig. 8).

    Also the spread of the layers' contributions before and after the step.
    """
    each, photographs = network_of(asked), Photographs(asked.image)
    x0 = photographs.batch(each)
    epsilons = [e / 255 for e in epsilon] or EPSILONS
    mean, std = each.preprocess.affine
    found = analysis.fgsm(each.module, x0, epsilons=epsilons, mean=mean, std=std)
    reader = prepare(each.module, x0[:4], policy=asked.policy)
    before, after = (_spread(reader, x) for x in (x0, found.images[-1]))
    spread = (
        f"spread of the contributions {100 * before:.1f}% before, {100 * after:.1f}% after the largest step,"
        " as shares about x = 0"
    )
    text = f"{found}\n{spread}"
    answer(asked, found, text, lambda: found.plot(text=origin_of(asked)), photographs.skipped)


def _spread(reader: Reader, x: torch.Tensor) -> float:
    """Root mean square of the layers' standard deviations over the images."""
    found = analysis.layer_contributions(reader, x, batch=4)
    return float(found.std.square().mean().sqrt())


@verb("locality", options.model, options.one_image, options.analysis, about="images")
@click.option(
    "--places",
    default=16,
    show_default=True,
    type=click.IntRange(min=1),
    help="how many places, drawn at random",
)
def locality_verb(asked: Asked, places: int) -> None:
    """Locality of rows, and invariance of columns (Fig. 11 and 13).

    Energy of rows against distance, off-diagonal share, and how far columns differ from place to place.
    """
    _, lin = interpreter_of(asked)
    at, outs = sampled(lin, places)
    rows, columns = lin.F.rows([(0, *o) for o in outs]), lin.F.columns([(0, *p) for p in at])
    energy, off = analysis.energy_against_distance(rows, at), analysis.diagonal(rows, at)
    spread = analysis.invariance(columns, outs, zoom(lin, 5)).spread
    numbers = {"energy": energy.numbers(), "off_diagonal": off.mean, "column_spread": spread}
    text = (
        f"50, 90, 99% of a row's energy within {energy.radius(0.5)}, {energy.radius(0.9)},"
        f" {energy.radius(0.99)} px; {100 * off.mean:.2g}% beyond {off.radius} px; columns differ by"
        f" {100 * spread:.2g}% of their energy"
    )
    over = {"photograph": ground_of(lin), "places": at}
    answer(asked, numbers, text, lambda: energy.plot(text=origin_of(asked, lin), **over))


@verb("reach", options.model, options.one_image, options.analysis, about="images")
@click.option("--at", type=types.Index(), help="index of the output, C,Y,X (default: a quarter of the image)")
@click.option(
    "--bound",
    default=84,
    show_default=True,
    type=click.IntRange(min=0),
    help="pixels to each side that the convolutions reach",
)
def reach_verb(asked: Asked, at: tuple[int, ...] | None, bound: int) -> None:
    """One row under the variants of instance norm: stats, scale, taylor.

    It is compared with the reach of the convolutions.
    """
    each = network_of(asked)
    x0 = example(asked, each)
    with torch.no_grad():
        shape = tuple(each.module(x0).shape[1:])
    index = place_in(at, shape, "the output") if at else (0, shape[1] // 4, shape[2] // 4)
    try:
        found = analysis.reach(each.module, x0, index, bound=bound)
    except PolicyError as error:  # its variants are of instance norm, and one matches nothing
        raise usage(f"{asked.choice.model} has no instance norm, whose variants are compared") from error
    over = {"photograph": each.show(x0[0])}
    answer(asked, found, str(found), lambda: found.plot(text=origin_of(asked), **over))


VERBS = (
    residual_share_verb,
    layers_verb,
    discussion_verb,
    votes_verb,
    votes_study_verb,
    faithfulness_verb,
    fgsm_verb,
    locality_verb,
    reach_verb,
)
