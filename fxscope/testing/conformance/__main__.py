"""``python -m fxscope.testing.conformance --suite torchvision``; ``--help`` lists the options."""

from __future__ import annotations

import sys
from pathlib import Path

from ...errors import FxscopeError
from .kept import Line, kept_lines, versions
from .subprocess_run import LIMIT, measure_in_subprocess
from .suites import OWN, SUITES, members
from .table import one_line, write_docs

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing

DOCS = Path("docs/conformance")
REFUSED = ("quantized_resnet18", "retinanet_resnet50_fpn")  # networks that fxscope is expected to refuse
_OWN = "path/to/file.py:function for your own, {name: function that gives model and inputs}"


@click.command()
@click.option("--suite", help=f"whose networks are measured: {', '.join(SUITES)}, or {_OWN}")
@click.option("--only", multiple=True, metavar="NAME", help="this network alone (may be given several times)")
@click.option(
    "--json",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help=f"lines are kept here and finished ones skipped (default: {DOCS}/SUITE.jsonl with --write-docs)",
)
@click.option("--exports", is_flag=True, help="also save and check every file form; slow")
@click.option("--redo", is_flag=True, help="measure finished networks again")
@click.option(
    "--limit",
    type=float,
    default=LIMIT,
    show_default=True,
    metavar="SECONDS",
    help="a network that takes longer is the line TIME_LIMIT",
)
@click.option(
    "--write-docs", "docs", is_flag=True, help=f"write docs/conformance.md from the files in {DOCS}"
)
def conformance(
    suite: str | None,
    only: tuple[str, ...],
    path: Path | None,
    exports: bool,
    redo: bool,
    limit: float,
    docs: bool,
) -> int:
    """Measure a suite: one JSON line for each network, written as soon as it is finished.

    A network that has a line in the file is not measured again, unless the line is of another version of the
    interpretation: then it describes another F.
    """
    if suite is None and not docs:
        raise click.UsageError("--suite or --write-docs is needed")
    failed = 0
    try:
        if suite is not None:
            if path is None and docs and suite in SUITES:
                path = DOCS / f"{suite}.jsonl"
            failed = _run(suite, only, path, exports, redo, limit)
    except KeyboardInterrupt:
        print("stopped; finished lines are kept", file=sys.stderr)
        failed = 130
    except FxscopeError as error:
        print(error, file=sys.stderr)
        return 2
    if docs:
        print(f"wrote {write_docs(DOCS)}")
    return failed


def main(arguments: list[str] | None = None) -> int:
    """The exit code of the command line: 0, 1 where a network fails, 2 for a wrong call, 130 if stopped."""
    try:
        return conformance.main(arguments, "python -m fxscope.testing.conformance", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code


def _run(
    suite: str, only: tuple[str, ...], path: Path | None, exports: bool, redo: bool, limit: float
) -> int:
    table = members(suite)
    names = only or tuple(table)
    unknown = [n for n in names if n not in table]
    if unknown:
        raise FxscopeError(f"suite {suite} has no {', '.join(unknown)}; it has {', '.join(table)}")
    failed, head = False, {"suite": suite, "versions": versions(*({suite} & SUITES.keys() - OWN))}

    def measured(name: str) -> Line:
        return {**head, **measure_in_subprocess(suite, name, exports, limit)}

    for i, line in enumerate(kept_lines(path, names, measured, redo), 1):
        failed |= line["status"] != "ok" and line["name"] not in REFUSED
        print(f"[{i}/{len(names)}] {one_line(line)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
