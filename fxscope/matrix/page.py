"""The matrix as text: one line a cell for the terminal, one page for the docs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..graph.interpretation import of
from ..results.files import write_text
from ..testing.conformance.kept import read
from .cells import BOUND, FILE_BOUND, TRIPLETS, VERBS
from .networks import NETWORKS

Line = dict[str, Any]
_MEANING = {
    "verify": "the largest relative error of the laws, in float64",
    "row": (
        "<row, x0> + r against the network's own output at the index; the row under policy taylor against the"
        " gradient of torch.autograd"
    ),
    "column": (
        "its entry at the output of `row` against that row's entry; the column under policy taylor against"
        " torch's Jacobian-vector product"
    ),
    "contributions": "F x0 and all constants, added up, against the network's own output",
    "svd": f"of {TRIPLETS} triplets, |F v - s u| and |F^T u - s v| over the largest singular value",
    "report": "the sums on its page against the output; the laws that it checks hold",
    ".pt2, .ts, .onnx": (
        "`fxscope transform -o FILE`: what it says of the file itself; then, in a process that cannot import"
        " fxscope, y0 of the file against the network, and y1 at x1 = x0 against y0"
    ),
}


def _head(lines: Iterable[Line]) -> str:
    versions = sorted({of(line) for line in lines})
    torch = sorted({line["versions"]["torch"] for line in lines})
    meanings = "".join(f"* {name}: {meaning}.\n" for name, meaning in _MEANING.items())
    return f"""# Verbs

Written by `python -m fxscope.matrix --write-docs` from the lines in `docs/verbs.jsonl`; nothing here is
edited by hand. Every network is named as on the command line, with the options of its input, and every verb
runs as a user calls it, on the same photograph (scikit-image's astronaut), in a process of its own. Networks
that were really trained come first; the others have the weights of small stand-ins, or random ones.

A cell has relative errors and the seconds of one core that it took:

{meanings}
Numbers are in float32, but for `verify`; a row, column, sum or triplet may be off by {BOUND:.0e}, and a file
by {FILE_BOUND:.0e}, since another runtime may round a decision the other way. The column x0 has the first
digits of the hash of x0 that *all* verbs of the line state, and y0 at an index is one number in all of them:
where they differ, the cell says DIFFERS. `F = J` says whether the row is the gradient under the default
policy, too: the network is piecewise linear there.

Version{"s" * (len(versions) > 1)} {" and ".join(map(str, versions))} of the interpretation, torch \
{" and ".join(torch)}.
"""


def one_line(line: Line) -> str:
    """A cell for the terminal."""
    said = ", ".join(f"{name} {error:.0e}" for name, error in line.get("errors", {}).items())
    reason = line.get("reason", "").partition("\n")[0][:150]
    return f"{line['name']:60s} {line['status']:7s} {said or reason}  ({line['seconds']} s)"


def failures(lines: Iterable[Line]) -> list[str]:
    """What is wrong: cells that are broken or failed, and networks of which two verbs say two things."""
    lines = list(lines)
    found = [f"{line['name']}: {line['status']}" for line in lines if line["status"] not in ("ok", "refused")]
    for network, cells in by_network(lines).items():
        found += [f"{network}: {what}" for what in disagreements(cells.values())]
    return found


def disagreements(cells: Iterable[Line]) -> list[str]:
    """Where the verbs of one network read another x0, its weights or an output otherwise."""
    cells, found = [cell for cell in cells if "errors" in cell], []
    for key in ("x0", "input", "weights"):
        said = {cell[key]: cell["verb"] for cell in cells}
        if len(said) > 1:
            found.append(f"{key} differs: {'; '.join(f'{verb}: {each}' for each, verb in said.items())}")
    outputs: dict[tuple[int, ...], list[float]] = {}
    for cell in cells:
        if "y0" in cell:
            outputs.setdefault(tuple(cell["index"]), []).append(cell["y0"])
    for index, values in outputs.items():
        if max(values) - min(values) > BOUND * max(map(abs, values)):
            found.append(f"y0{list(index)} differs: {', '.join(f'{v:.6g}' for v in values)}")
    return found


def by_network(lines: Iterable[Line]) -> dict[str, dict[str, Line]]:
    """{network: {verb: line}}, first those of ``NETWORKS`` in their order."""
    found: dict[str, dict[str, Line]] = {network: {} for network in NETWORKS}
    for line in lines:
        found.setdefault(line["network"], {})[line["verb"]] = line
    return {network: cells for network, cells in found.items() if cells}


def write_docs(path: Path) -> Path:
    """The page beside the file of lines."""
    lines = list(read(path).values())
    target, reasons = path.with_suffix(".md"), list[str]()
    table = by_network(lines)
    rows = [_row(network, cells, reasons) for network, cells in table.items()]
    head = ["network", "weights", "x0", "F = J", *VERBS]
    bars = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    cells = [line for line in lines if line["status"] == "ok"]
    parts = [
        _head(lines),
        f"{len(cells)} of {len(lines)} cells are exact; an empty one was not measured.\n",
        "\n".join([*bars, *rows]) + "\n",
        "## Refused\n" if reasons else "",
        "".join(f"{i}. {reason}\n" for i, reason in enumerate(reasons, 1)),
        "## What x0 was\n",
        "".join(f"* `{network}`: {_input(cells)}\n" for network, cells in table.items()),
    ]
    write_text(target, "\n".join(part for part in parts if part))
    return target


def _row(network: str, cells: dict[str, Line], reasons: list[str]) -> str:
    known = next((cell for cell in cells.values() if "errors" in cell), {})
    differs = bool(disagreements(cells.values()))
    x0 = "DIFFERS" if differs else f"`{known['x0'][:6]}`" if known else ""
    jacobian = {True: "yes", False: "no", None: ""}[cells.get("row", {}).get("is_jacobian")]
    shown = [_cell(cells[verb], reasons) if verb in cells else "" for verb in VERBS]
    return f"| {' | '.join([f'`{network}`', known.get('weights', ''), x0, jacobian, *shown])} |"


def _cell(line: Line, reasons: list[str]) -> str:
    seconds = f"({line.get('cpu_seconds', line['seconds']):.0f} s)"
    if "errors" in line:
        errors = " / ".join(f"{error:.0e}" for error in line["errors"].values())
        return f"{'' if line['status'] == 'ok' else line['status'] + ' '}{errors} {seconds}"
    reason = json.dumps(" ".join(line["reason"].split()), ensure_ascii=False)[1:-1].replace('\\"', '"')
    if reason not in reasons:
        reasons.append(reason)
    return f"{line['status']} [{reasons.index(reason) + 1}] {seconds}"


def _input(cells: dict[str, Line]) -> str:
    return next((cell["input"] for cell in cells.values() if "errors" in cell), "nothing was read")
