"""docs/operators.md, from the lines of both runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ...results.files import write_text
from .core import core_table
from .files import FORMATS

HEAD = """# PyTorch's operators

Written by `python -m fxscope.testing.opinfo --page` from the lines in `docs/operators/`; nothing here is
edited by hand. PyTorch tests its autograd on a database of operators and sample inputs
(`torch.testing._internal.common_methods_invocations.op_db`). Every entry that is differentiable and takes
float64 is judged on these samples, as the network x -> op(x[0])[None], with several probes at once:

* policy "taylor": F is the Jacobian that autograd computes, forwards and transposed;
* both policies: F x0 + r = y0, y0 is the operator's own value, and F^T is the transpose of F. F is not 0
  where the derivative is not, unless an error says that the operator is frozen whole;
* the first sample in every emitted form (pair, residual, adjoint, row, record, replay, pullback), with 1, 2
  and 5 probes; and where the operator treats the images of a batch one by one, with graphs that were made on
  two images and are read on three ("batch": free; "specialised" graphs assert the batch of their example).
  A line without a batch is of an operator that does not.

The column "samples" has how many were judged, up to eight: as many as the database has that take floating
tensors with finite values, and at least three of them where an operator takes more than 25 seconds.

Errors are relative to 1 + the largest entry, those of a row to 1 + the sum of its terms' magnitudes. torch's
backward pass of `embedding` leaves out its `padding_idx` and divides by how often an index comes
(`scale_grad_by_freq`), for training; F is the derivative, so both are taken away from what it is compared
with. In float64 they may be 1e-7: sums in another order differ by
1e-13, times the condition of a solve or of a function near its pole. In float32 (the last column, under
`unknown="taylor"`) they may be 1e-4, or ten times the distance of torch's own float32 derivative from its
float64 one.

`python -m fxscope.testing.opinfo` judges the torch that is installed. What an operator without a rule becomes
is on [How it works](how-it-works.md#operators-without-a-rule).

| status | meaning |
|---|---|
| right | on all samples |
| constant | its derivative is 0 everywhere, as that of a floor: no output depends linearly on x |
| refused | an error names the operator and the reason |
| unjudged | no sample has finite values and a derivative that autograd knows |

Under the default policy the linear path may end at an operator that is frozen whole, as a softmax by itself
is. It says so, and is right here if policy "taylor" is.

"""
STATES = ("right", "constant", "refused", "wrong", "crash", "unjudged")


_ADVICE = ("Add a rule", "What is left", "Pass ", "Tap ", "at judge.py", "unknown=", "symbolic tracing:")


def write_page(docs: Path) -> Path:
    """docs/operators.md from docs/operators/refuse.jsonl and taylor.jsonl."""
    write_text(docs / "operators.md", page(docs))
    return docs / "operators.md"


def page(docs: Path) -> str:
    """The text of docs/operators.md."""
    found = {
        name: _lines(docs / "operators" / f"{name}.jsonl")
        for name in ("refuse", "taylor", "float32", "files")
    }
    parts = [*_counts(found), *_frozen(found), *_files(found["files"]), *core_table(), "", *_table(found), ""]
    return HEAD + "\n".join(parts)


def _lines(path: Path) -> dict[str, dict[str, Any]]:
    if not path.exists():
        return {}
    lines = [json.loads(text) for text in path.read_text().splitlines() if text.strip()]
    return {line["name"]: line for line in lines}


def _counts(found: dict[str, dict]) -> list[str]:
    rows = [
        f"| `unknown=` | torch | operators | {' | '.join(STATES)} |",
        f"|---|---|---|{'---|' * len(STATES)}",
    ]
    for name, lines in found.items():
        if name == "files" or not lines:
            continue
        unknown = name if name != "float32" else 'taylor", "float32'
        counted = Counter(line["status"] for line in lines.values())
        torch = ", ".join(sorted({line["torch"] for line in lines.values()}))
        each = " | ".join(str(counted[s]) for s in STATES)
        rows.append(f'| "{unknown}" | {torch} | {len(lines)} | {each} |')
    return rows


def _frozen(found: dict[str, dict]) -> list[str]:
    """Which operators the default policy freezes whole, though their derivative is not 0."""
    ends = sorted({end for line in found["refuse"].values() for end in line.get("frozen", ())})
    if not ends:
        return []
    return [
        "",
        "By themselves these are frozen whole by the default policy, which an error says: "
        + ", ".join(ends)
        + ".",
    ]


def _files(lines: dict[str, dict[str, Any]]) -> list[str]:
    """How many of the drawn operators each format holds."""
    if not lines:
        return []
    rows = [
        "",
        "## Drawn operators as files",
        "",
        f"{len(lines)} operators that are right, drawn under a fixed seed"
        " (`python -m fxscope.testing.opinfo --files 100`), each as pair and as adjoint with K free. A fresh"
        " process that cannot import fxscope runs the files at another x0 and another number of probes."
        " ONNX is float32, and has no form for some"
        " operators: `fxscope.save` refuses them by name.",
        "",
        "| format | right | refused | wrong |",
        "|---|---|---|---|",
    ]
    for format, name in (("ts", "TorchScript"), ("pt2", ".pt2"), ("onnx", "ONNX")):
        counted = Counter(line[format].partition(":")[0] for line in lines.values())
        rows.append(f"| {name} | {counted['right']} | {counted['refused']} | {counted['wrong']} |")
    return rows


def _table(found: dict[str, dict]) -> list[str]:
    rows = [
        "## Every operator",
        "",
        '| operator | samples | by default | `unknown="taylor"` | batch | float32 | files | why not |',
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, line in sorted(found["taylor"].items()):
        default, narrow = (found[k].get(name, {}).get("status", "") for k in ("refuse", "float32"))
        files = found["files"].get(name, {})
        held = ", ".join(f for f in FORMATS if files.get(f) == "right")
        cells = (
            name.replace("__", "\\_\\_"),  # else it is bold
            line["samples"],
            default,
            line["status"],
            line.get("batch", ""),
            narrow,
            held,
            _why(line),
        )
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def _why(line: dict[str, Any]) -> str:
    if line["status"] == "right" or not line["reasons"]:
        return ""
    parts = line["reasons"][0].partition(": ")[2].split(" | ")
    own = [re.sub(r" at judge\.py:\d+:.*", "", part) for part in parts if not part.startswith(_ADVICE)]
    said = "; ".join(own).replace("|", ",").replace("`", "")
    said = said.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return said[:220]
