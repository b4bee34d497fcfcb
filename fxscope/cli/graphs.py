"""The verbs of the rewritten graph: ``transform | inspect | verify | storage``."""

from __future__ import annotations

import sys

import click
import torch

from .. import analysis, export, render
from ..emit.pipeline import transform
from ..errors import TraceFailure, UnsupportedOperator
from ..models import load_model
from ..paper.tour.networks import channels_of
from ..testing import network as laws
from . import options
from .inputs import checked, example, sides
from .shown import say

_DTYPES = {"float32": torch.float32, "float64": torch.float64}


@click.command("transform")
@options.model
@click.option(
    "-o", "--output", required=True, type=click.Path(dir_okay=False), help="FILE.pt2, FILE.ts or FILE.onnx"
)
@click.option("--emit", default="pair", show_default=True, type=click.Choice(["pair", "filter", "residual"]))
@click.option("--probes", default="stacked", show_default=True, type=click.Choice(["flat", "stacked"]))
@options.common
def transform_verb(
    model: str, output: str, emit: str, probes: str, weights: str, policy: str, size: int, as_json: bool
) -> None:
    """Rewrite MODEL, save it, and check the saved file in a fresh process."""
    network = load_model(model, weights)
    x0 = example(network, None, size, torch.float32)
    graph = transform(network, emit, policy=policy, probes=probes, example_inputs=(x0,))
    inputs = (x0,) if emit == "residual" else (x0, x0[None] if probes == "stacked" else x0)
    check = export.save(graph, output, inputs)
    numbers = {"path": check.path, "format": check.format, "errors": check.errors, "ok": check.ok}
    say(numbers, str(check), as_json)


@click.command("inspect")
@options.model
@click.option("--svg", type=click.Path(dir_okay=False), help="draw the rewritten graph into this file")
@click.option("--full", is_flag=True, help="every operation a box, nothing folded")
@options.common
def inspect_verb(
    model: str, svg: str | None, full: bool, weights: str, policy: str, size: int, as_json: bool
) -> None:
    """Print every node of the rewritten graph: class, rule, variant, what is frozen, source line."""
    network = load_model(model, weights)
    try:
        graph = transform(network, policy=policy)
    except (TraceFailure, UnsupportedOperator):  # with an example it may go through torch.export
        x0 = example(network, None, size, torch.float32)
        graph = transform(network, policy=policy, example_inputs=(x0,))
    table = render.summary(graph)
    say(table, str(table), as_json)
    if svg:
        render.draw(graph, not full).save(svg)
        click.echo(f"drawn into {svg}", err=True)


@click.command("verify")
@options.model
@options.optional_image
@click.option("--dtype", default="float64", show_default=True, type=click.Choice(list(_DTYPES)))
@options.common
def verify_verb(
    model: str, image: str | None, dtype: str, weights: str, policy: str, size: int, as_json: bool
) -> None:
    """Check the laws of the linear interpreter of MODEL on IMAGE; exit code 1 where one is broken."""
    network = load_model(model, weights)
    x0 = checked(model, network, example(network, image, size, torch.float32))
    report = laws.verify(network, x0.to(_DTYPES[dtype]), policy=policy, dtype=_DTYPES[dtype])
    say(report, str(report), as_json)
    if not report.ok:
        sys.exit(1)


@click.command("storage")
@options.model
@click.option("--size", default="224x224", show_default=True, help="HxW of x0")
@options.as_json
@options.policy
def storage_verb(model: str, size: str, as_json: bool, policy: str) -> None:
    """Count what one x0 makes MODEL keep: the paper's Table 1, recorded and packed; nothing is run."""
    network = load_model(model)
    found = analysis.storage(network, (1, channels_of(network), *sides(size)), policy=policy)
    say(found, str(found), as_json)


VERBS = (transform_verb, inspect_verb, verify_verb, storage_verb)
