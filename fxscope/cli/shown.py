"""What a verb answers: its numbers as text or JSON, its figure, its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from ..linop import LinearInterpreter
from ..linop.tiles import TiledInterpreter
from ..results.files import replacing
from ..results.provenance import caption
from ..results.records import plain
from .inputs import Read, all_read
from .options import Asked
from .running import note


def answer(
    asked: Asked,
    found: Any,
    text: str,
    figure: Callable[[], Any] | None = None,
    skipped: dict[str, str] | None = None,
) -> None:
    """Print the answer on stdout, draw its figure, and exit with 1 if an image was left out.

    Parameters
    ----------
    asked
        The networks that are named beside the answer, "-o" and "--json".
    found
        A record, or a dict of numbers: the JSON.
    text
        What is printed without "--json".
    figure
        Draws the matplotlib figure.
    skipped
        {image: why it was left out}, for verbs that take several images.
    """
    out = click.get_current_context().obj
    click.echo(_json(asked, found, skipped) if asked.as_json else _text(asked, text), file=out)
    if asked.output and figure:
        drawn = figure()
        with replacing(asked.output) as new:
            drawn.savefig(new)
        note(f"drawn into {asked.output}")
    if skipped:
        raise click.exceptions.Exit(1)


def _json(asked: Asked, found: Any, skipped: dict[str, str] | None) -> str:
    numbers = plain(found) if isinstance(found, dict) else json.loads(found.to_json())
    networks = [
        {"model": c.model, "weights": c.note, "seed": c.seed if c.random else None, **read}
        for c, read in zip(asked.choices, _read(asked))
    ]
    rest = {} if skipped is None else {"skipped": skipped}
    return json.dumps({"networks": networks, **rest, **numbers}, indent=2)


def _read(asked: Asked) -> list[dict[str, Any]]:
    """Of every network how photographs became its input, and hashes of x0; {} where a verb reads none."""
    read = [
        {"preprocess": {"text": p.text, **p.as_data()}, "x0": each.x0}
        for each in all_read()
        if (p := each.network.preprocess)
    ]
    return read + [{}] * (len(asked.choices) - len(read))


def _text(asked: Asked, text: str) -> str:
    lines = []
    for choice, read in zip(asked.choices, _read(asked)):
        lines.append(choice.title)
        lines += [f"x0: {read['preprocess']['text']}"] if read else []
    return "\n".join([*lines, text])


def _named(read: Read) -> str:
    """The photographs that a network has read, in a few words."""
    names = list(read.x0)
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more}: " if names else ""


def origin_of(asked: Asked, lin: LinearInterpreter | None = None) -> str:
    """The caption of a figure: networks and their weights, policy, dtype, error, and photographs."""
    said: dict[str, Any] = {
        "model": ", ".join(choice.title for choice in asked.choices),
        "policy": ", ".join(asked.policies),
    }
    if lin is not None:
        said["dtype"] = str(lin.F.dtype).removeprefix("torch.")
        if not isinstance(lin, TiledInterpreter):  # there it takes several passes over all tiles
            said["error"] = lin.error
    inputs = dict.fromkeys(f"x0: {_named(each)}{each.network.preprocess.text}" for each in all_read())
    return "\n".join([caption(said), *inputs])
