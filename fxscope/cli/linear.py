"""The verbs of the operator F at one photograph: ``row | column | svd | contributions``."""

from __future__ import annotations

import click

from .. import plot
from ..errors import FxscopeError
from . import options
from .inputs import index_of, interpreter_at, output_index
from .shown import draw, origin_of, say


@click.command("row")
@options.model
@options.optional_image
@options.top
@options.at_an_index
def row_verb(
    model: str,
    image: str | None,
    at: str | None,
    top: bool,
    output: str | None,
    weights: str | None,
    policy: str,
    size: int,
    as_json: bool,
) -> None:
    """One row of F: how an output of MODEL reads IMAGE (its receptive filter)."""
    lin = interpreter_at(model, image, weights, policy, size)
    index = output_index(lin, at, top)
    row, value = lin.F.row(index), float(lin.y0[0][index])
    linear, r = float((row * lin.x0[0]).sum()), float(lin.residual[0][index])
    error, nonzero = abs(linear + r - value), int(row.count_nonzero())
    numbers = {
        "index": index,
        "y0": value,
        "row_x0": linear,
        "r": r,
        "error": error,
        "nonzero": nonzero,
        "energy": float(row.double().square().sum()),
    }
    text = (
        f"y0{list(index)} = {value:.6g} = <row, x0> {linear:+.6g} + r {r:+.6g}  (error {error:.1e});"
        f" {nonzero} of {row.numel()} coefficients are not 0"
    )
    say(numbers, text, as_json)
    draw(lambda: plot.row(row, text=origin_of(model, lin)), output)


@click.command("column")
@options.model
@options.optional_image
@options.at_an_index
def column_verb(
    model: str,
    image: str | None,
    at: str | None,
    output: str | None,
    weights: str | None,
    policy: str,
    size: int,
    as_json: bool,
) -> None:
    """One column of F: where a pixel of IMAGE goes in the output of MODEL (its projective filter)."""
    lin = interpreter_at(model, image, weights, policy, size)
    index = index_of(at) if at else (0, *(s // 2 for s in lin.F.inputs.shape[1:]))
    column = lin.F.column(index)
    total, energy = float(column.sum()), float(column.double().square().sum())
    nonzero = int(column.count_nonzero())
    text = (
        f"column {list(index)}: sum {total:.6g}, energy {energy:.6g}; {nonzero} of {column.numel()}"
        " coefficients are not 0"
    )
    say({"index": index, "sum": total, "energy": energy, "nonzero": nonzero}, text, as_json)
    if output and column.dim() < 2:
        raise FxscopeError(
            f"the outputs of {model} are {column.numel()} scores and no image: there is no picture of a"
            " column; leave out -o"
        )
    draw(lambda: plot.column(column, text=origin_of(model, lin)), output)


@click.command("svd")
@options.model
@options.optional_image
@click.option("-k", "count", default=6, show_default=True, help="how many triplets")
@click.option("--method", help="lanczos, dense, power, randomized or scipy (default: what fits)")
@click.option(
    "--tol", default=1e-5, show_default=True, help="largest residual, relative to the singular value"
)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--save", "saved", type=click.Path(dir_okay=False), help="write the result into FILE.safetensors"
)
@options.output
@options.common
def svd_verb(
    model: str,
    image: str | None,
    count: int,
    method: str | None,
    tol: float,
    seed: int,
    saved: str | None,
    output: str | None,
    weights: str | None,
    policy: str,
    size: int,
    as_json: bool,
) -> None:
    """The largest singular values of F, with eigen-inputs and eigen-outputs.

    They tell what passes through MODEL at IMAGE, and how much.
    """
    lin = interpreter_at(model, image, weights, policy, size)
    found = lin.F.svd(count, method, tol=tol, seed=seed)
    errors = zip(found.forward_errors.tolist(), found.adjoint_errors.tolist())
    lines = []
    for i, (s, (forward, adjoint), converged) in enumerate(zip(found.s, errors, found.converged), 1):
        note = "" if converged else "  not converged"
        lines.append(
            f"{i:4d}  s {float(s):.6g}  |F v - s u| {forward:.1e}  |F^T u - s v| {adjoint:.1e}{note}"
        )
    lines.append(f"{found.method}: {found.passes} passes, {found.seconds:.2f} s")
    say(found, "\n".join(lines), as_json)
    if saved:
        found.save(saved)
    draw(lambda: found.plot(text=origin_of(model, lin)), output)


@click.command("contributions")
@options.model
@options.optional_image
@options.top
@options.at_an_index
def contributions_verb(
    model: str,
    image: str | None,
    at: str | None,
    top: bool,
    output: str | None,
    weights: str | None,
    policy: str,
    size: int,
    as_json: bool,
) -> None:
    """What F x0 and every additive constant of MODEL add to one output; they sum to it exactly."""
    lin = interpreter_at(model, image, weights, policy, size)
    found = lin.contributions(output_index(lin, at, top))
    rows = [("F x0", "", found.linear), *((t.place, t.kind, t.value) for t in found.terms)]
    width = max(len(place) for place, _, _ in rows)
    lines = [f"{place:{width}s}  {kind:10s} {value:+.6g}" for place, kind, value in rows]
    lines.append(f"sum {found.total:.6g}, y0 {found.output:.6g}, error {found.error:.1e}")
    say(found, "\n".join(lines), as_json)
    draw(lambda: found.plot(text=origin_of(model, lin)), output)


VERBS = (row_verb, column_verb, svd_verb, contributions_verb)
