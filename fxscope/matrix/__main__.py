"""``python -m fxscope.matrix``; ``--help`` lists the options."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ..testing.conformance.kept import Line, kept_lines, read, versions
from ..testing.conformance.subprocess_run import in_subprocess
from .cells import VERBS, measured
from .networks import NETWORKS
from .page import failures, one_line, write_docs

LINES = Path("docs/verbs.jsonl")
LIMIT = 300


@click.command()
@click.argument("networks", metavar="[NETWORK]...", nargs=-1)
@click.option("--verb", "verbs", multiple=True, type=click.Choice(list(VERBS)), help="this one alone")
@click.option(
    "--json",
    "path",
    default=LINES,
    show_default=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="lines are kept here, and finished ones are not measured again",
)
@click.option("--redo", is_flag=True, help="measure finished cells again")
@click.option(
    "--limit",
    type=float,
    default=LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="a cell that takes longer is TIME_LIMIT",
)
@click.option("--write-docs", "docs", is_flag=True, help="write the page beside the file of lines, as .md")
def matrix(
    networks: tuple[str, ...], verbs: tuple[str, ...], path: Path, redo: bool, limit: float, docs: bool
) -> int:
    """Run the verbs of the command line on networks, and keep one JSON line for each cell.

    A NETWORK is one text, MODEL and the options of its input as one would type them:
    "torchvision:resnet18 --size 64". Without one, all networks of the page are measured. A line is written as
    soon as its cell is finished; a stopped run goes on where it stopped.
    """
    cells = {
        f"{verb} {network}": (network, verb) for network in networks or NETWORKS for verb in verbs or VERBS
    }

    def cell(name: str) -> Line:
        network, verb = cells[name]
        own = {"network": network, "verb": verb, "versions": versions("torchvision")}
        return own | in_subprocess(measured, cells[name], limit)

    code = 0
    try:
        for i, line in enumerate(kept_lines(path, cells, cell, redo), 1):
            print(f"[{i}/{len(cells)}] {one_line(line)}", flush=True)
    except KeyboardInterrupt:
        print("stopped; finished lines are kept", file=sys.stderr)
        code = 130
    wrong = failures(line for name, line in read(path).items() if name in cells)
    for text in wrong:
        print(text, file=sys.stderr)
    if docs:
        print(f"wrote {write_docs(path)}")
    return code or int(bool(wrong))


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 1 where a cell is wrong or two verbs differ, 2 for a wrong call, 130 if stopped."""
    try:
        return matrix.main(arguments, "python -m fxscope.matrix", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
