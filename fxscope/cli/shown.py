"""What a verb prints and draws."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click

from ..linop import LinearInterpreter
from ..results.provenance import caption


def say(found: Any, text: str, as_json: bool) -> None:
    """Print the text; with ``as_json`` the JSON of a record, or of a dict of numbers."""
    if not as_json:
        click.echo(text)
    elif isinstance(found, dict):
        click.echo(json.dumps(found))
    else:
        click.echo(found.to_json())


def draw(figure: Callable[[], Any], output: str | None) -> None:
    """Save the figure if an output file was named."""
    if output:
        figure().savefig(output, dpi=200)
        click.echo(f"drawn into {output}", err=True)


def origin_of(spec: str, lin: LinearInterpreter) -> str:
    """The caption of a figure: network, policy, dtype and verification error."""
    dtype = str(lin.F.dtype).removeprefix("torch.")
    return caption({"model": spec, "policy": f"policy {lin.policy}", "dtype": dtype, "error": lin.error})
