"""The matrix as text: one line for the terminal, one table a suite for docs/conformance.md."""

from __future__ import annotations

import json
from pathlib import Path

from ...graph.interpretation import of
from ...results.files import write_text

HEAD = """# Conformance

Written by `python -m fxscope.testing.conformance --write-docs` from the lines in `docs/conformance/`;
nothing here is edited by hand. Every network is built without weights, randomised
(`fxscope.testing.randomize`), and measured in float64. The table gives the largest relative error of the
laws that apply (law 6 under policy "taylor" against torch.func; law 7 has hand-written networks in
`tests/test_blocks.py`). `batch` says whether the graph holds for any batch size, or for one.

Inputs are as small as the network accepts: images of 32 or 64 pixels, or else of its own size; 4 frames of
a video, but 16 of 224 pixels for mvit_v1_b and s3d; RAFT updates its flow twice, on 128 pixels. Code that
asks for float32 (the upcast of an RMS norm, rotary angles, a grid of positions) gets float64
(`fxscope.testing.Widened`). Recurrent layers are unrolled step by step.

A network is measured in a process of its own; its line in `docs/conformance/` has the time, and the peak
memory of that process.

Reason codes:

"""
CODES = {
    "UNSUPPORTED_OP": "an operator on the path of the probe that no rule covers; its name follows",
    "NOT_TRACEABLE": "neither symbolic tracing nor torch.export takes the model's code",
    "DATA_DEPENDENT": "the model's code branches on values, or the number of its results does",
    "NO_LINEAR_PATH": "no output depends linearly on the probe",
    "TIME_LIMIT": "not measured within the time of `--limit`",
}


def one_line(line: dict) -> str:
    """A line of the table for the terminal."""
    if "laws" not in line:
        return (
            f"{line['name']:32s} {line['status']}  ({line['seconds']} s) "
            f" {line.get('reason', '').partition(chr(10))[0][:150]}"
        )
    laws = " ".join(f"{n}:{e:.0e}" for n, e in line["laws"].items())
    exports = f"  exports {', '.join(line['exports']) or 'none'}" if "exports" in line else ""
    return (
        f"{line['name']:32s} {line['status']:6s} {line['traced']}, batch {line['batch']}, {line['nodes']}"
        f" nodes, |r|/|y| {line['share']:.2f}, laws {laws}{exports}  ({line['seconds']} s)"
    )


def write_docs(folder: Path) -> Path:
    """docs/conformance.md from every .jsonl of the folder."""
    parts = [HEAD + "".join(f"* {code}: {meaning}\n" for code, meaning in CODES.items())]
    for path in sorted(folder.glob("*.jsonl")):
        lines = [json.loads(text) for text in path.read_text().splitlines() if text.strip()]
        parts.append(_section(path.stem, lines))
    target = folder.with_suffix(".md")
    write_text(target, "\n".join(parts))
    return target


def _section(suite: str, lines: list[dict]) -> str:
    good = sum(line["status"] == "ok" for line in lines)
    versions = sorted({of(line) for line in lines})
    said = f"Version{'s' * (len(versions) > 1)} {' and '.join(map(str, versions))} of the interpretation."
    rows = [
        f"## {suite}: {good} of {len(lines)}",
        "",
        said,
        "",
        (
            "| network | status | traced by | batch | nodes | twins | \\|r\\|/\\|y\\| | largest error, law |"
            " rules |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*rows, *(_row(line) for line in lines), ""])


def _row(line: dict) -> str:
    if "laws" not in line:
        return f"| {line['name']} | {line['status']} | | | | | | | |"
    law = max(line["laws"], key=line["laws"].__getitem__)
    rules = ", ".join(line["rules"]) + (f" ({line['note']})" if "note" in line else "")
    return (
        f"| {line['name']} | {line['status']} | {line['traced']} | {line['batch']} | {line['nodes']} |"
        f" {line['twins']} | {line['share']:.2f} | {line['laws'][law]:.0e}, law {law} | {rules} |"
    )
