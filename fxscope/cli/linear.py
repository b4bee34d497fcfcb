"""The verbs of the operator F at one photograph: ``row | column | svd | contributions``."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import click
import torch.distributed as dist

from .. import plot
from ..errors import FxscopeError
from ..linop.svd import METHODS, SVD
from ..linop.tiles import TiledInterpreter
from . import options, types
from .inputs import (
    aligned,
    at_output,
    ground_of,
    interpreter_at,
    names_of,
    output_index,
    place_in,
    score_named,
)
from .options import Asked, verb
from .running import usage
from .shown import answer, origin_of


@verb("row", options.at_a_photograph)
@options.at
@options.top
@options.saved
def row_verb(asked: Asked, at: tuple[int, ...] | None, top: bool, saved: str | None) -> None:
    """One row of F: how an output of MODEL reads IMAGE (its receptive filter)."""
    lin = interpreter_at(asked)
    index = output_index(lin, at, top)
    found = lin.F.filters(rows=[index], progress=False)
    row, (value, r) = found[0], at_output(lin, index)
    linear = float((row * lin.x0[0]).sum())
    error, nonzero = abs(linear + r - value), int(row.count_nonzero())
    place, source = aligned(lin, index)
    numbers = {
        "index": index,
        "place": place,
        "place_from": source or None,
        "y0": value,
        "row_x0": linear,
        "r": r,
        "error": error,
        "nonzero": nonzero,
        "energy": float(row.double().square().sum()),
    }
    text = (
        f"y0{list(index)} = {value:.6g} = <row, x0> {linear:+.6g} + r {r:+.6g}  (error {error:.1e});"
        f" {nonzero} of {row.numel()} coefficients are not 0{_centred('the input', place, source)}"
    )
    if saved:
        found.save(saved)
    said: dict[str, Any] = {"of": score_named(asked, lin, index), "photograph": ground_of(lin)}
    answer(asked, numbers, text, lambda: plot.row(row, place, text=origin_of(asked, lin), **said))


@verb("column", options.at_a_photograph)
@options.at
@options.saved
def column_verb(asked: Asked, at: tuple[int, ...] | None, saved: str | None) -> None:
    """One column of F: where a pixel of IMAGE goes in the output of MODEL (its projective filter)."""
    lin = interpreter_at(asked)
    shape = lin.F.inputs.shape
    index = place_in(at, shape, "x0") if at else (0, *(s // 2 for s in shape[1:]))
    found = lin.F.filters(columns=[index], progress=False)
    column = found[0]
    if asked.output and column.dim() < 2:
        raise FxscopeError(
            f"the outputs of {asked.choice.model} are {column.numel()} scores and no image: there is no"
            " picture of a column; leave out -o"
        )
    total, energy = float(column.sum()), float(column.double().square().sum())
    nonzero = int(column.count_nonzero())
    place, source = aligned(lin, index, column=True)
    text = (
        f"column {list(index)}: sum {total:.6g}, energy {energy:.6g}; {nonzero} of {column.numel()}"
        f" coefficients are not 0{_centred('the output', place, source)}"
    )
    numbers = {
        "index": index,
        "place": place,
        "place_from": source or None,
        "sum": total,
        "energy": energy,
        "nonzero": nonzero,
    }
    if saved:
        found.save(saved)
    said: dict[str, Any] = {"of": f"x0{list(index)}", "photograph": ground_of(lin, column=True)}
    answer(asked, numbers, text, lambda: plot.column(column, place, text=origin_of(asked, lin), **said))


def _centred(where: str, place: tuple[int, int] | None, source: str) -> str:
    """Where a filter is centred, and what tells it: the graph, some filters, or the ratio of the sizes."""
    return "" if place is None else f"; centred on {place} of {where} (by the {source})"


@verb("svd", options.at_a_photograph)
@click.option(
    "-k", "count", default=6, show_default=True, type=click.IntRange(min=1), help="how many triplets"
)
@click.option("--method", type=click.Choice(list(METHODS)), help="default: what fits")
@click.option(
    "--tol",
    default=1e-5,
    show_default=True,
    type=types.Above(),
    help="largest residual, relative to the singular value",
)
@options.saved
def svd_verb(asked: Asked, count: int, method: str | None, tol: float, saved: str | None) -> None:
    """The largest singular values of F, with eigen-inputs and eigen-outputs.

    They tell what passes through MODEL at IMAGE, and how much. A large IMAGE is read in tiles if --tile says
    how large they are: each of many products goes through all of them.
    """
    if asked.tile == "auto":
        asked = replace(asked, tile=None)
    processes = int(os.environ.get("WORLD_SIZE", "1"))  # which torchrun sets
    if processes > 1 and not isinstance(asked.tile, int):
        raise usage(f"{processes} processes share rows of tiles: say how large a tile is", "--tile")
    lin = interpreter_at(asked)
    if count > min(lin.F.shape):
        raise usage(f"F has {min(lin.F.shape)} triplets, and {count} are asked for", "-k")
    options: dict[str, Any] = {"method": method, "tol": tol, "seed": asked.seed}
    if isinstance(lin, TiledInterpreter) and processes > 1:
        found, is_first = over_processes(lin, count, options)
        if not is_first:
            return
    else:
        found = lin.F.svd(count, **options)
    if saved:
        found.save(saved)
    scores = lin.F.outputs.shape if not isinstance(lin, TiledInterpreter) else ()
    names = names_of(asked, asked.choice, scores[0]) if len(scores) == 1 and asked.outputs is None else None
    over = {"photograph": ground_of(lin), "output": ground_of(lin, column=True), "names": names}
    answer(asked, found, str(found), lambda: found.plot(text=origin_of(asked, lin), **over))


@verb("contributions", options.at_a_photograph)
@options.at
@options.top
def contributions_verb(asked: Asked, at: tuple[int, ...] | None, top: bool) -> None:
    """What F x0 and every additive constant of MODEL add to one output; they sum to it exactly."""
    lin = interpreter_at(asked)
    index = output_index(lin, at, top)
    found = lin.contributions(index)
    title = score_named(asked, lin, index)
    answer(
        asked,
        found,
        found._table(first=None).text(),
        lambda: found.plot(text=origin_of(asked, lin), photograph=ground_of(lin), of=title),
    )


def over_processes(lin: TiledInterpreter, count: int, options: dict[str, Any]) -> tuple[SVD, bool]:
    """The triplets over all processes of torchrun, and whether this is the one that answers."""
    dist.init_process_group("nccl" if lin.x0.device.type == "cuda" else "gloo")
    try:
        return lin.svd(count, **options), dist.get_rank() == 0
    finally:
        dist.destroy_process_group()


VERBS = (row_verb, column_verb, svd_verb, contributions_verb)
