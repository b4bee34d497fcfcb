"""The verbs of the rewritten graph: ``inspect | verify | storage``."""

from __future__ import annotations

from typing import Any

import click

from .. import analysis, render
from ..emit.pipeline import transform
from ..errors import TraceFailure, UnknownRank, UnsupportedOperator
from ..images.conventions import channels_of
from ..testing import network as laws
from . import options, types
from .inputs import example, part_of_output, subject_of
from .options import Asked, verb
from .running import note
from .shown import answer


@verb("inspect", options.network, options.outputs, options.unknown, options.common)
@click.option(
    "--svg",
    type=types.NewFile(".svg", ".html", ".htm", needs=("igraph", "draw")),
    help="draw the rewritten graph into this file",
)
@click.option("--full", is_flag=True, help="every operation a box, nothing folded")
@click.option("--shapes", is_flag=True, help="run the graph once, and draw the shape of every tensor")
def inspect_verb(asked: Asked, svg: str | None, full: bool, shapes: bool) -> None:
    """Print every node of the rewritten graph: class, rule, variant, what is frozen, source line."""
    network, place = asked.choice.loaded.module, None
    if asked.outputs is not None:
        found = subject_of(asked, asked.choice)
        network, place = part_of_output(asked, found, example(asked, found))
    given: dict[str, Any] = {"policy": asked.policy, "outputs": place, "unknown": asked.unknown}
    try:
        graph = transform(network, **given)
    except (TraceFailure, UnknownRank, UnsupportedOperator):  # with an example it may go through torch.export
        graph = transform(network, **given, example_inputs=(example(asked, subject_of(asked, asked.choice)),))
    table = render.summary(graph)
    answer(asked, table, str(table))
    if svg:
        x0 = example(asked, subject_of(asked, asked.choice)) if shapes else None
        render.draw(graph, not full, x0).save(svg)
        note(f"drawn into {svg}")


@verb(
    "verify",
    options.model,
    options.optional_image,
    options.weights,
    options.seed,
    options.device,
    options.outputs,
    options.unknown,
    options.common,
)
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(list(types.DTYPES)))
def verify_verb(asked: Asked, dtype: str) -> None:
    """Check the laws of the linear interpreter of MODEL on IMAGE; exit code 1 where one is broken."""
    found = subject_of(asked, asked.choice)
    x0 = example(asked, found)
    network, place = part_of_output(asked, found, x0)
    report = laws.verify(
        network,
        x0.to(types.DTYPES[dtype]),
        policy=asked.policy,
        outputs=place,
        unknown=asked.unknown,
        dtype=types.DTYPES[dtype],
    )
    answer(asked, report, str(report))
    if not report.ok:
        raise click.exceptions.Exit(1)


@verb("storage", options.model, options.policy, options.as_json)
@click.option("--size", "sides", default="224x224", show_default=True, type=types.Sides(), help="HxW of x0")
def storage_verb(asked: Asked, sides: tuple[int, int]) -> None:
    """Count what one x0 makes MODEL keep: the paper's Table 1, recorded and packed; nothing is run."""
    network = asked.choice.loaded.module
    found = analysis.storage(network, (1, channels_of(network), *sides), policy=asked.policy)
    answer(asked, found, str(found))


VERBS = (inspect_verb, verify_verb, storage_verb)
