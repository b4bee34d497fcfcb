"""``python -m fxscope.testing.conformance --suite torchvision [--only NAME] [--json FILE] [--exports] [--limit SECONDS] [--write-docs]``."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import sys
from pathlib import Path

from ...errors import FxscopeError
from ...graph.interpretation import KEY, VERSION, of
from .apart import LIMIT, measure_apart
from .suites import SUITES, members
from .table import one_line, write_docs

DOCS = Path("docs/conformance")
REFUSED = ("quantized_resnet18", "retinanet_resnet50_fpn")  # networks whose refusal is what is asked for


def main(arguments: list[str] | None = None) -> int:
    """Measure a suite, one JSON line a network as soon as it is done; a network that the file has already is not measured again.

    A line of another version of the interpretation is about another F: it is measured again.
    """
    parser = argparse.ArgumentParser(prog="python -m fxscope.testing.conformance", description=main.__doc__)
    parser.add_argument(
        "--suite",
        help=(
            f"whose networks are measured: {', '.join(SUITES)}, or path/to/file.py:function for your own,"
            " {name: function that gives model and inputs}"
        ),
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="this network alone (may be given several times)"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help=f"lines are kept here and finished ones skipped (default: {DOCS}/SUITE.jsonl with --write-docs)",
    )
    parser.add_argument("--exports", action="store_true", help="also save and check every file form; slow")
    parser.add_argument("--redo", action="store_true", help="measure finished networks again")
    parser.add_argument(
        "--limit",
        type=float,
        default=LIMIT,
        metavar="SECONDS",
        help=f"a network that takes longer is the line TIME_LIMIT (default: {LIMIT})",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help=f"write docs/conformance.md from the files in {DOCS}"
    )
    options = parser.parse_args(arguments)
    if options.suite is None and not options.write_docs:
        parser.error("--suite or --write-docs is needed")
    failed = 0
    try:
        failed = _run(options) if options.suite else 0
    except KeyboardInterrupt:
        print("stopped; finished lines are kept", file=sys.stderr)
        failed = 130
    except FxscopeError as error:
        print(error, file=sys.stderr)
        return 2
    if options.write_docs:
        print(f"wrote {write_docs(DOCS)}")
    return failed


def _run(options: argparse.Namespace) -> int:
    own = options.suite not in SUITES
    path = options.json or (DOCS / f"{options.suite}.jsonl" if options.write_docs and not own else None)
    finished = {} if path is None else read(path)
    table = members(options.suite)
    names = options.only or list(table)
    unknown = [n for n in names if n not in table]
    if unknown:
        raise FxscopeError(f"suite {options.suite} has no {', '.join(unknown)}; it has {', '.join(table)}")
    failed = 0
    for i, name in enumerate(names, 1):
        if name not in finished or options.redo or of(finished[name]) != VERSION:
            finished[name] = {
                "suite": options.suite,
                "name": name,
                KEY: VERSION,
                "versions": versions(options.suite),
                **measure_apart(options.suite, name, options.exports, options.limit),
            }
            if path is not None:
                write(path, finished)
        failed |= finished[name]["status"] != "ok" and name not in REFUSED
        print(f"[{i}/{len(names)}] {one_line(finished[name])}", flush=True)
    return int(failed)


def versions(suite: str) -> dict[str, str]:
    """Of torch and of the suite's own package."""
    return {package: importlib.metadata.version(package) for package in ("torch", *({suite} & SUITES.keys()))}


def read(path: Path) -> dict[str, dict]:
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {line["name"]: line for line in lines}


def write(path: Path, lines: dict[str, dict]) -> None:
    """All lines, at once: a stopped run leaves a whole file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".part")
    fresh.write_text("".join(json.dumps(line) + "\n" for line in lines.values()))
    fresh.replace(path)


if __name__ == "__main__":
    sys.exit(main())
