"""``python -m fxscope.testing.opinfo``; ``--help`` lists the options."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from ...errors import FxscopeError
from ...passes.unknown import UNKNOWN as WAYS
from .batches import judged
from .files import FORMATS, drawn_names, filed
from .judge import DTYPES, database
from .page import STATES, write_page

try:
    import click
except ModuleNotFoundError as missing:
    raise SystemExit("the command line needs click: pip install 'fxscope[cli]'") from missing


@click.command()
@click.option("--samples", default=8, show_default=True, help="samples of an operator, at most")
@click.option(
    "--only", multiple=True, metavar="NAME", help="this operator alone (may be given several times)"
)
@click.option(
    "--unknown",
    type=click.Choice(list(WAYS)),
    multiple=True,
    default=WAYS,
    show_default=True,
    help="judge with this value alone",
)
@click.option("--dtype", type=click.Choice(list(DTYPES)), default="float64", show_default=True)
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="lines are kept here")
@click.option("--redo", is_flag=True, help="judge operators again that have a line in the file")
@click.option("--limit", default=120.0, show_default=True, metavar="SECONDS", help="time of one operator")
@click.option("--part", type=(int, int), default=(1, 1), metavar="I N", help="the I-th of N parts alone")
@click.option(
    "--files", type=int, metavar="N", help="N drawn operators as .ts, .pt2 and .onnx, in a fresh process"
)
@click.option("--page", is_flag=True, help="write docs/operators.md from docs/operators/*.jsonl")
def opinfo(
    samples: int,
    only: tuple[str, ...],
    unknown: tuple[str, ...],
    dtype: str,
    path: Path | None,
    redo: bool,
    limit: float,
    part: tuple[int, int],
    files: int | None,
    page: bool,
) -> int:
    """Judge PyTorch's operators on PyTorch's own sample inputs, one line an operator.

    Policy "taylor" is compared with the Jacobian by autograd; under the default policy F x0 + r = y0 and the
    transpose are checked. Lines in the file of --json are of finished operators, which are not judged again.
    """
    if page:
        print(f"wrote {write_page(Path('docs'))}")
        return 0
    if files is not None:
        return _files(files, path, part)
    known = database(DTYPES[dtype])
    names = list(only) or list(known)
    wrong = [n for n in names if n not in known]
    if wrong:
        raise click.UsageError(f"the database of torch {torch.__version__} has no {', '.join(wrong)}")
    lines = {} if redo or path is None else _read(path)
    left = [n for n in names if any((n, way) not in lines for way in unknown)][part[0] - 1 :: part[1]]
    for found in judged(left, samples, unknown, limit, dtype):
        for line in found:
            lines[line["name"], line["unknown"]] = line
            print(one_line(line), flush=True)
            if path is not None:
                with path.open("a") as file:
                    file.write(json.dumps({**line, "torch": torch.__version__, "dtype": dtype}) + "\n")
    for way in unknown:
        counted = Counter(lines[n, way]["status"] for n in names if (n, way) in lines)
        said = ", ".join(f"{counted[s]} {s}" for s in STATES)
        print(f"torch {torch.__version__}, {dtype}, unknown={way!r}, {counted.total()} operators: {said}")
    return int(any(line["status"] in ("wrong", "crash") for line in lines.values()))


def _files(count: int, path: Path | None, part: tuple[int, int]) -> int:
    """Write and run the files of drawn operators, of those that are right where the documentation has it."""
    kept = Path("docs/operators/taylor.jsonl")
    among = [n for (n, _), line in _read(kept).items() if line["status"] == "right"] or list(database())
    done = {n for n, _ in _read(path)} if path is not None else set()
    left = [n for n in drawn_names(count, among) if n not in done][part[0] - 1 :: part[1]]
    wrong = False
    for line in filed(left):
        wrong |= any(str(said).startswith("wrong") for said in line.values())
        print(f"{line['name']:44s} " + "  ".join(f"{f}: {line[f][:60]}" for f in FORMATS), flush=True)
        if path is not None:
            with path.open("a") as file:
                file.write(json.dumps({**line, "torch": torch.__version__, "unknown": "taylor"}) + "\n")
    return int(wrong)


def one_line(line: dict[str, Any]) -> str:
    """The line of an operator for the terminal."""
    said = line["reasons"][0] if line["reasons"] else ""
    return f"{line['name']:44s} {line['unknown']:7s} {line['status']:8s} {said[:200]}"


def _read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    if not path.exists():
        return {}
    lines = [json.loads(text) for text in path.read_text().splitlines() if text.strip()]
    return {(line["name"], line["unknown"]): line for line in lines}


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, 1 where an operator is wrong or crashes, 2 for a wrong call."""
    try:
        return opinfo.main(arguments, "python -m fxscope.testing.opinfo", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        return error.exit_code
    except FxscopeError as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
