"""The page of a study: the paper's Tables 3 and 4 and Fig. 4 and 8, and the same as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..analysis import Energy
from ..graph.interpretation import KEY
from ..paper.tour.page import Chapter, Page, Written
from ..plot import analysis as draw
from ..plot.style import COLUMN, caption, drawn, new_figure
from ..results.files import write_text
from ..results.tables import counted
from . import shards
from .summary import TABLE, Study

PANELS = 3  # networks side by side in a figure
POINTS = 12  # of a curve whose numbers stand in a table
HEAD = ("network", "weights", "images", "mean", "deviation", "about")


def write_page(found: Study, progress: bool) -> Written:
    """Write the page and the tables of a finished study; see ``report``."""
    about, out = found.plan.about, found.folder / "report"
    title = f"Study: {found.folder.resolve().name}"
    page = Page(out, title, _about(about), [about, found.results], ("pdf", "svg", "png"))
    makers: dict[str, Callable[[], Chapter]] = {}
    for kind, make in CHAPTERS.items():
        names = [m["name"] for m in about["measures"] if m["kind"] == kind]
        if names:
            makers[kind] = partial(make, found, about, names)
    others = [m["name"] for m in about["measures"] if m["kind"] not in CHAPTERS]
    if others:
        makers["others"] = partial(_others, found, about, others)
    written = page.write(makers, progress)
    _tables(found, about, out)
    return written


def _about(about: dict[str, Any]) -> str:
    run, networks = about["run"], ", ".join(f"{n['name']} ({n['note']})" for n in about["networks"])
    return (
        "If the decisions of all nonlinear units on an image x0 are frozen, a network is one affine map,"
        f" y1 = F(x0) x1 + r(x0). Measured on {counted(about['images']['count'], 'image')}: {networks}. In"
        f" {run['dtype']}, batches of {run['batch size']}, torch {run['torch']}."
    )


def _shares_table(found: Study, about: dict[str, Any], name: str) -> list[tuple[str, ...]]:
    """The rows of Tables 3 and 4."""
    rows: list[tuple[str, ...]] = []
    for network in about["networks"]:
        each = found.results[network["name"]][name]
        share = each["numbers"].get("share")
        if share:
            mean, std = (f"{100 * share[s]:.2f}%" for s in ("mean", "std"))
            rows.append(
                (network["name"], network["note"], str(each["images"]), mean, std, each.get("zero", ""))
            )
    return rows


def _shares(found: Study, about: dict[str, Any], names: list[str]) -> Chapter:
    """Tables 3 and 4."""
    chapter = Chapter("Residual share of the top score (Tables 3 and 4)")
    for name in names:
        _heading(chapter, name, "residual_share")
        chapter.table(HEAD, _shares_table(found, about, name), "r / y of the largest score, over the images")
        models = []
        for network in about["networks"]:
            each = found.results[network["name"]][name]
            share = each["numbers"].get("share")
            if share:
                kept = {"name": network["name"], "mean": share["mean"], "std": share["std"]}
                more: dict[str, Any] = {"shares": range(each["images"]), "error": None}
                models.append(SimpleNamespace(**kept, **more, zero=each.get("zero", "")))
        for model in models:
            chapter.results.append(
                f"{model.name}: the residual is {100 * model.mean:.0f} ± {100 * model.std:.0f}% of the"
                f" largest score, about {model.zero or 'x = 0'}."
            )
        if models:
            shown: Any = SimpleNamespace(models=models)
            chapter.figure(
                f"shares_{name}",
                draw.residual_share(shown),
                "The same: means, with a line of one standard deviation over the images.",
            )
        chapter.numbers[name] = {n: found.results[n][name]["numbers"] for n in found.results}
        _errors(chapter, found, name)
    return chapter


def _layers(found: Study, about: dict[str, Any], names: list[str]) -> Chapter:
    """Fig. 4 and 8."""
    chapter = Chapter("Contributions of the layers (Fig. 4 and 8)")
    for name in names:
        asked = next(m for m in about["measures"] if m["name"] == name)
        after = f", after a step of FGSM of {asked['fgsm']}/255" if asked.get("fgsm") else ""
        _heading(chapter, f"{name}{after}", "layer_contributions")
        panels = {}
        for network, measures in found.results.items():
            each = measures[name]
            if "shares" in each["curves"]:
                panels[network] = _panel(each, about[KEY])
        for i in range(0, len(panels), PANELS):
            some: Any = dict(list(panels.items())[i : i + PANELS])
            text = "Mean shares of the score, with deviations over the images."
            chapter.figure(f"layers_{name}_{i // PANELS}", draw.layers(some), text)
        chapter.numbers[name] = {n: found.results[n][name]["curves"] for n in found.results}
        _errors(chapter, found, name)
    return chapter


def _panel(each: dict[str, Any], version: int) -> SimpleNamespace:
    """What ``draw.layers`` draws of contributions, from their means and deviations."""
    parts, curve = tuple(each["parts"]), each["curves"]["shares"]
    first = 1 if parts[0] == "F x0" else 2
    mean, std = (torch.tensor(curve[s], dtype=torch.float64) for s in ("mean", "std"))
    kept: dict[str, Any] = {"mean": mean, "std": std, "shares": None, "error": None}
    kept |= {"output": range(each["images"]), "zero": each.get("zero", ""), "interpretation": version}
    return SimpleNamespace(parts=parts, names=parts[first:], **kept)


def _energy(found: Study, about: dict[str, Any], names: list[str]) -> Chapter:
    """Fig. 5 to 7."""
    chapter = Chapter("Energy of rows against distance (Fig. 5 to 7)")
    for name in names:
        curves = {
            n: Energy(torch.tensor(each[name]["curves"]["energy"]["mean"], dtype=torch.float64))
            for n, each in found.results.items()
            if "energy" in each[name]["curves"]
        }
        if curves:
            text = "The share of a row's energy within a distance, over rows and images."
            chapter.figure(f"energy_{name}", draw.energies(curves), text)
        _means(chapter, found, name)
    return chapter


def _fields(found: Study, about: dict[str, Any], names: list[str]) -> Chapter:
    chapter = Chapter("Effective receptive fields")
    for name in names:
        for network, measures in found.results.items():
            if "field" in measures[name]:
                text = f"{network}: the mean of |row|, summed over the channels."
                drawn = _field(np.array(measures[name]["field"]), network)
                chapter.figure(f"field_{network}_{name}", drawn, text)
        _means(chapter, found, name)
    return chapter


@drawn
def _field(values: np.ndarray, name: str) -> Any:
    figure = new_figure(COLUMN, 2.6)
    axis = figure.subplots()
    shown = axis.imshow(values, cmap="viridis", interpolation="nearest")
    axis.set_axis_off()
    bar = figure.colorbar(shown, ax=axis, shrink=0.8)
    bar.ax.set_ylabel("mean of |row|")
    alt = "The effective receptive field: the mean of |row| over images and channels"
    caption(figure, name, "", alt, "how far an output reads, on average")
    return figure


def _others(found: Study, about: dict[str, Any], names: list[str]) -> Chapter:
    chapter = Chapter("Other measures")
    for name in names:
        _means(chapter, found, name)
    return chapter


def _heading(chapter: Chapter, name: str, kind: str) -> None:
    """The name of a measure, where it says more than the title of its chapter."""
    if name != kind:
        chapter.heading(name)


def _means(chapter: Chapter, found: Study, name: str) -> None:
    """A table of all numbers of a measure, and of its curves where these have few points."""
    rows = [
        (network, number, f"{each['mean']:.5g}", f"{each['std']:.3g}")
        for network, measures in found.results.items()
        for number, each in measures[name]["numbers"].items()
    ]
    rows += [
        (network, f"{curve}, {i + 1} of {len(each['mean'])}", f"{mean:.5g}", f"{std:.3g}")
        for network, measures in found.results.items()
        for curve, each in measures[name]["curves"].items()
        if len(each["mean"]) <= POINTS
        for i, (mean, std) in enumerate(zip(each["mean"], each["std"]))
    ]
    if rows:
        chapter.table(("network", "number", "mean", "deviation"), rows, name)
    chapter.numbers[name] = {n: found.results[n][name]["numbers"] for n in found.results}
    _errors(chapter, found, name)


def _errors(chapter: Chapter, found: Study, name: str) -> None:
    rows = [
        (network, image, error)
        for network, measures in found.results.items()
        for image, error in measures[name]["failed"].items()
    ]
    if rows:
        chapter.table(("network", "image", "error"), rows, "Images without numbers (the first ones)")


def _tables(found: Study, about: dict[str, Any], out: Path) -> None:
    """Tables 3 and 4 and the summary as data."""
    named = [m["name"] for m in about["measures"] if m["kind"] == "residual_share"]
    tables = {n: [dict(zip(HEAD, row)) for row in _shares_table(found, about, n)] for n in named}
    text = json.dumps({KEY: about[KEY], "tables": tables, "results": found.results}, indent=2)
    write_text(out / "tables.json", text + "\n")
    table = shards.library().parquet.read_table(found.folder / TABLE)
    shards.write_table(out / "tables.parquet", table)


CHAPTERS: dict[str, Callable[..., Chapter]] = {
    "residual_share": _shares,
    "layer_contributions": _layers,
    "energy": _energy,
    "receptive_field": _fields,
}
