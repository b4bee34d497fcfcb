"""``python -m fxscope.paper.findings --write-docs``; ``--help`` lists the options."""

from __future__ import annotations

import sys
from pathlib import Path

from ...errors import FxscopeError, WeightsError
from .longer import KEPT
from .page import write_docs
from .photographs import photographs
from .run import NETWORKS, measure

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing

DOCS = Path("docs/findings")


@click.command()
@click.option(
    "--network",
    "names",
    multiple=True,
    type=click.Choice(list(NETWORKS)),
    help="this network alone (may be given several times)",
)
@click.option(
    "--json",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=DOCS,
    show_default=True,
    help="folder of the files NETWORK.jsonl, where finished lines are kept",
)
@click.option("--write-docs", "docs", is_flag=True, help="then write DIR.md beside the folder from its files")
@click.option("--only-docs", is_flag=True, help="write DIR.md, and measure nothing")
def findings(names: tuple[str, ...], folder: Path, docs: bool, only_docs: bool) -> int:
    """Measure the paper's findings on trained networks, over photographs that packages ship.

    Every finished photograph is kept. It is not measured again while nothing changes that its numbers
    depend on.
    """
    missing = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in () if only_docs else names or NETWORKS:
            try:
                lines = measure(NETWORKS[name], photographs(), folder / f"{name}.jsonl")
            except WeightsError as error:
                missing.append(name)
                print(f"{name}: {error}", file=sys.stderr)
                continue
            print(f"{name}: {len(lines)} lines", flush=True)
    except KeyboardInterrupt:
        print("stopped; finished lines are kept", file=sys.stderr)
        return 130
    except FxscopeError as error:
        print(error, file=sys.stderr)
        return 2
    if docs or only_docs:
        print(f"wrote {write_docs(folder, KEPT if folder.resolve() == DOCS.resolve() else None)}")
    return int(bool(missing))


def main(arguments: list[str] | None = None) -> int:
    """The exit code of the command line.

    It is 0, 1 where a network is not installed, 2 for a wrong call or an error, and 130 if stopped.
    """
    try:
        return findings.main(arguments, "python -m fxscope.paper.findings", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
