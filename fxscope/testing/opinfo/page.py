"""docs/operators.md, from the lines of both runs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ...results.files import write_text

HEAD = """# PyTorch's operators

Written by `python -m fxscope.testing.opinfo --page` from the lines in `docs/operators/`; nothing here is
edited by hand. PyTorch tests its autograd on a database of operators and sample inputs
(`torch.testing._internal.common_methods_invocations.op_db`). Every entry that is differentiable and takes
float64 is judged on these samples, as the network x -> op(x[0])[None], with several probes at once:

* policy "taylor": F is the Jacobian that autograd computes, forwards and transposed;
* both policies: F x0 + r = y0, y0 is the operator's own value, and F^T is the transpose of F.

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
    found = {name: _lines(docs / "operators" / f"{name}.jsonl") for name in ("refuse", "taylor")}
    target = docs / "operators.md"
    write_text(target, HEAD + "\n".join([*_counts(found), "", *_table(found), ""]))
    return target


def _lines(path: Path) -> dict[str, dict[str, Any]]:
    lines = [json.loads(text) for text in path.read_text().splitlines() if text.strip()]
    return {line["name"]: line for line in lines}


def _counts(found: dict[str, dict]) -> list[str]:
    rows = [
        f"| `unknown=` | torch | operators | {' | '.join(STATES)} |",
        f"|---|---|---|{'---|' * len(STATES)}",
    ]
    for unknown, lines in found.items():
        counted = Counter(line["status"] for line in lines.values())
        torch = ", ".join(sorted({line["torch"] for line in lines.values()}))
        each = " | ".join(str(counted[s]) for s in STATES)
        rows.append(f'| "{unknown}" | {torch} | {len(lines)} | {each} |')
    return rows


def _table(found: dict[str, dict]) -> list[str]:
    rows = ['| operator | by default | `unknown="taylor"` | why not |', "|---|---|---|---|"]
    for name, line in sorted(found["taylor"].items()):
        default = found["refuse"].get(name, {}).get("status", "")
        rows.append(f"| {name} | {default} | {line['status']} | {_why(line)} |")
    return rows


def _why(line: dict[str, Any]) -> str:
    if line["status"] == "right" or not line["reasons"]:
        return ""
    parts = line["reasons"][0].partition(": ")[2].split(" | ")
    own = [re.sub(r" at judge\.py:\d+:.*", "", part) for part in parts if not part.startswith(_ADVICE)]
    said = "; ".join(own).replace("|", ",").replace("`", "")
    said = said.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return said[:220]
