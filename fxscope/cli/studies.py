"""The verb ``study``: measures over datasets, in one process or in many."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from ..results.records import plain
from ..studies.ranks import Ended
from ..studies.report import report
from ..studies.run import run
from ..studies.spec import read_spec
from ..studies.status import status
from . import types
from .options import Asked, as_json, verb
from .running import note, usage


@verb("study", as_json)
@click.argument("spec", metavar="SPEC.toml | report", type=types.Study())
@click.argument("folder", required=False, metavar="[DIR]", type=types.Folder())
@click.option("--out", type=types.Folder(), help="the folder of the study, for the one in SPEC")
@click.option("--status", "asks_status", is_flag=True, help="say how far it is, and do nothing")
@click.option("--quiet", is_flag=True, help="no progress bar")
def study_verb(
    asked: Asked, spec: str, folder: str | None, out: str | None, asks_status: bool, quiet: bool
) -> None:
    """Measure networks over a dataset: SPEC.toml names networks, images and measures.

    What is finished is kept, and the same command goes on. For N processes: torchrun --nproc-per-node N -m
    fxscope study SPEC.toml. When all is done, fxscope study report DIR writes its page.
    """
    if spec == "report":
        if folder is None:
            raise usage("give the folder of the study: fxscope study report DIR")
        written = report(folder, progress=not quiet)
        return _say(asked, written.numbers, f"the page is {written.page}")
    if folder is not None:
        raise usage(f"SPEC.toml is one file; got {spec} and {folder}")
    if asks_status:
        given = Path(spec)
        found = status(out or (given if given.is_dir() else read_spec(given).out))
        return _say(asked, found.numbers(), str(found))
    if Path(spec).is_dir():
        raise usage(
            f"{spec} is the folder of a study: --status says how far it is; SPEC.toml goes on with it"
        )
    return _run(asked, spec, {} if out is None else {"out": out}, quiet)


def _run(asked: Asked, spec: str, changed: dict[str, Any], quiet: bool) -> None:
    try:
        found = run(read_spec(spec, **changed), not quiet, lambda text: note(f"fxscope: {text}"))
    except Ended:  # the first process has said why
        raise click.exceptions.Exit(1) from None
    if found is None:
        return
    _say(asked, {"folder": str(found.folder), "results": found.results}, f"{found}\n{found.folder}")


def _say(asked: Asked, numbers: dict[str, Any], text: str) -> None:
    out = click.get_current_context().obj
    click.echo(json.dumps(plain(numbers), indent=2) if asked.as_json else text, file=out)


VERBS = (study_verb,)
