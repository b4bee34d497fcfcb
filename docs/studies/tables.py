"""Write the tables of votes.md, faithfulness.md and studies.md of docs/how-to from docs/studies/results.

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


def study_of_digits() -> str:
    """A network a row: residual shares, and the spread of the layers' shares."""
    head = (
        "network",
        "images",
        "residual share about x = 0, %",
        "about black pixels, %",
        "spread of the layers' shares, %",
        "after a step of FGSM of 16/255, %",
    )
    rows = []
    for name, found in result("study-digits")["results"].items():
        shares = [found[m]["numbers"]["share"] for m in ("residual_share", "residual_share_black")]
        spreads = [found[m]["curves"]["shares"]["std"] for m in ("layer_contributions", "layers_after_fgsm")]
        rms = [math.sqrt(sum(v * v for v in each) / len(each)) for each in spreads]
        numbers = [*(said(s, ".1f", 100) for s in shares), *(f"{100 * v:.1f}" for v in rms)]
        rows.append((f"`{name}`", f"{found['residual_share']['images']:,}", *numbers))
    return table(head, rows)


def study_of_photographs() -> str:
    """EDSR-small: how local its rows are, and how far its interpreter holds."""
    found = result("study-photographs")["results"]["edsr_small4x"]
    energy, field, gap = (found[m] for m in ("energy", "receptive_field", "gap"))
    rows = [
        (f"{part}% of a row's energy within, pixels", said(energy["numbers"][f"radius_{part}"]))
        for part in (50, 90, 99)
    ]
    rows.append(("deviation of \\|row\\| from its place, pixels", said(field["numbers"]["spread"])))
    for at, level in enumerate(("1%", "10%")):
        for name, title in (("gap", "error of the interpreter"), ("changed", "decisions that change")):
            curve = gap["curves"][name]
            value = {s: curve[s][at] for s in ("mean", "std")}
            rows.append((f"noise of {level} of the spread of x0: {title}, %", said(value, ".2f", 100)))
    return table(("quantity", f"{energy['images']} photographs"), rows)


def imagenet() -> str:
    """Hours of one core for ImageNet, a network a row."""
    found = result("imagenet-seconds")
    rows, total = [], 0.0
    for each in found["networks"]:
        seconds = each["seconds"] + found["reading"]
        total += seconds
        rows.append((each["network"], str(each["side"]), f"{seconds:.2f}", *_hours(seconds)))
    rows.append((f"all {len(rows)}", "", f"{total:.2f}", *_hours(total)))
    head = ("network", "pixels", "s an image", "50,000 validation images, h", "1,281,167 training images, h")
    return table(head, rows)


def _hours(seconds: float) -> list[str]:
    return [f"{count * seconds / 3600:,.0f}" for count in (50_000, 1_281_167)]


TABLES: dict[str, Callable[[], str]] = {
    "study of digits": study_of_digits,
    "study of photographs": study_of_photographs,
    "imagenet": imagenet,
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
