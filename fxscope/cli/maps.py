"""The verb that writes F to disk: ``map``."""

from __future__ import annotations

import shlex
from typing import Any

import click

from ..linop.store import StoredMap, open_map
from ..linop.store.layout import DTYPES
from . import options, types
from .inputs import interpreter_at
from .options import Asked, verb
from .running import note, usage
from .shown import answer

INDICES: Any = {"multiple": True, "type": types.Index()}


@verb(
    "map",
    options.model,
    options.optional_image,
    options.weights,
    options.seed,
    options.device,
    options.outputs,
    options.unknown,
    options.common,
)
@click.option(
    "--out", required=True, type=types.Folder(), help="folder of the map; what is missing in it is added"
)
@click.option("--row", "rows", **INDICES, help="a row to write, as C,Y,X; several times for several")
@click.option("--column", "columns", **INDICES, help="a column to write, in place of rows")
@click.option(
    "--dtype", type=click.Choice(list(DTYPES)), help="in which F is stored (default: the network's)"
)
@click.option("--status", is_flag=True, help="only say how much is written")
def map_verb(
    asked: Asked,
    out: str,
    rows: tuple[Any, ...],
    columns: tuple[Any, ...],
    dtype: str | None,
    status: bool,
) -> None:
    """Write F of MODEL at IMAGE to disk: chosen rows or columns, or all of it; fxscope.open_map reads it.

    After Ctrl-C, a kill or a full disk, the same command goes on. With several processes: torchrun
    --nproc-per-node N -m fxscope map ...
    """
    if rows and columns:
        raise usage("--row and --column exclude each other; without either, all of F is written")
    if status:
        _told(asked, open_map(out))
        return
    command = _command(out)
    try:
        found = interpreter_at(asked).F.to_zarr(
            out,
            rows=list(rows) or None,
            columns=list(columns) or None,
            dtype=DTYPES[dtype] if dtype else None,
            command=command,
        )
        _told(asked, found)
    except KeyboardInterrupt:
        note(f"fxscope: what is written of {out} is kept; go on with: {command.replace('{path}', out)}")
        raise


def _command(out: str) -> str:
    """What was typed, with {path} for the folder: a map that is moved is continued where it then lies."""
    typed = click.get_current_context().meta["fxscope.arguments"]
    return " ".join(["fxscope map", *("{path}" if part == out else shlex.quote(part) for part in typed)])


def _told(asked: Asked, found: StoredMap) -> None:
    """Say what lies on disk."""
    written, count = found.finished
    numbers = {
        "path": str(found.path),
        "kind": found.kind,
        "shape": found.shape,
        "dtype": found.layout.dtype,
        "window": found.layout.window,
        "written": written,
        "shards": count,
        "finished": written == count,
        "nbytes": found.nbytes,
        "origin": found.header["origin"],
    }
    what = f"{found.kind}: {found.shape[0]} x {found.shape[1]} in {found.layout.dtype}"
    text = f"{found.path}: {what}, {written} of {count} shards, {found.nbytes / 1e6:.1f} MB"
    if written < count:
        text += f"; {found.resume}"
    else:
        text += _checked(found)
    answer(asked, numbers, text, None)


def _checked(found: StoredMap) -> str:
    """One row against x0, y0 and r, all three from disk."""
    if found.kind == "columns":
        return ""
    index = found.places[0] if found.places else tuple(n // 2 for n in found.layout.outputs)
    row, at = found.row(index), (0 if found.places else index)
    linear, r, y = float((row * found.x0).sum()), float(found.residual[at]), float(found.y0[at])
    return (
        f"; row {list(index)}: <row, x0> {linear:+.6g} + r {r:+.6g} = y0 {y:.6g} to {abs(linear + r - y):.1e}"
    )


VERBS = (map_verb,)
