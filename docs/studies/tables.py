"""Write the tables of docs/how-to/votes.md and docs/how-to/faithfulness.md from docs/studies/results.

    python docs/studies/tables.py

A table stands between two comments of its page that name it; the sentences around it are written by hand.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = HERE.parent / "how-to"
BETWEEN = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end of table -->)", re.S)
DIGITS = ("digits_vgg", "digits_vgg_bn", "digits_resnet")
LITE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
STEPS = ((1, "one step of the cascade"), (-1, "all weights random"))


def result(name: str) -> dict[str, Any]:
    """What was measured."""
    return json.loads((HERE / "results" / f"{name}.json").read_text())


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table in Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def said(value: dict[str, float], form: str = ".2f", factor: float = 1) -> str:
    """Mean and spread."""
    return f"{factor * value['mean']:{form}} +- {factor * value['std']:{form}}"


def votes(names: Iterable[str]) -> str:
    """A study of votes a row."""
    head = (
        "network, variant",
        "labels",
        "images",
        "chance, %",
        "focus of the top label",
        "of the others",
        "above these",
        "first, in",
        "median rank",
        "its votes, %",
        "entropy, bits",
        "corrections, %",
    )
    return table(head, (_votes(name) for name in names))


def _votes(name: str) -> list[str]:
    found, network = result(f"votes-{name}"), name.split("-")[0]
    count = found["images"]
    return [
        f"`{network}`, {found['reading']}",
        str(found["elected"]),
        str(count),
        said(found["chance"], ".0f", 100),
        said(found["focus"]),
        said(found["others"]),
        f"{found['above_others']} of {count}",
        f"{found['first']} of {count}",
        f"{found['median_rank']:g}",
        said(found["share"], ".0f", 100),
        f"{said(found['entropy'])} of {math.log2(found['elected']):.2f}",
        said(found["added"], ".0f", 100),
    ]


def each_photograph() -> str:
    """The focus of the top label, of the others, and the rank, for every photograph and network."""
    found = {name: result(f"votes-{name}")["each"] for name in LITE}
    first = next(iter(found.values()))
    rows = []
    for file, numbers in first.items():
        cells = []
        for each in (other[file] for other in found.values()):
            focus = "no vote" if each["focus"] is None else f"{each['focus']:.2f}"
            cells.append(f"{focus}, {each['others']:.2f}, {each['rank']}")
        rows.append([Path(file).stem, f"{100 * numbers['chance']:.0f}", *cells])
    return table(("photograph", "chance, %", *(f"`{name}`" for name in LITE)), rows)


def faithfulness(names: Iterable[str]) -> str:
    """A quantity a row; policies that no printed number tells apart share a column."""
    head, columns = ["mean and spread over the images"], []
    for name in names:
        found = result(f"faithfulness-{name}")
        same: dict[tuple[str, ...], list[str]] = {}
        for policy in ("freeze", "detach", "taylor"):
            same.setdefault(tuple(_compared(found[policy]).values()), []).append(policy)
        quantities = list(_compared(found["freeze"]))
        for values, policies in same.items():
            head.append(f"`{name}`, {', '.join(policies)}")
            columns.append(values)
    return table(head, zip(quantities, *columns))


def _compared(found: dict[str, Any]) -> dict[str, str]:
    """{quantity: what is printed of it}, under one policy."""
    printed = {}
    for at, title in STEPS:
        for measure, steps in found["cascade"].items():
            printed[f"{title}: {measure}"] = said(list(steps.values())[at])
    for kind, wanted in (("deletion", "small"), ("insertion", "large")):
        for name, value in found[kind].items():
            printed[f"{kind} ({wanted} is good): {name.replace('|', chr(92) + '|')}"] = said(value)
    for name, levels in found["noise"].items():
        for level, value in levels.items():
            form = (".3f", 1) if name == "row cosine" else (".1f", 100)
            printed[f"noise {level}: {name}{', %' if form[1] == 100 else ''}"] = said(value, *form)
    return printed


TABLES: dict[str, Callable[[], str]] = {
    "votes on digits": lambda: votes(f"{n}-{r}" for n in DIGITS for r in ("conserving", "weighted")),
    "votes on photographs": lambda: votes(LITE),
    "votes on each photograph": each_photograph,
    "faithfulness on digits": lambda: faithfulness(DIGITS),
    "faithfulness of policies": lambda: faithfulness(["digits_silu"]),
    "faithfulness on photographs": lambda: faithfulness(["efficientnet_lite0"]),
}


def written(page: Path) -> str:
    """A page with the tables of the results."""
    return BETWEEN.sub(lambda m: m[1] + TABLES[m[2]]() + m[3], page.read_text())


def pages() -> list[Path]:
    """The pages with tables of results."""
    return [page for page in sorted(PAGES.glob("*.md")) if BETWEEN.search(page.read_text())]


if __name__ == "__main__":
    for each in pages():
        each.write_text(written(each))
