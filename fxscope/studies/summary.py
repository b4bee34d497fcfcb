"""The summary of a study: means and spreads over all images, summed up in the order of the images."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StudyError
from ..graph.interpretation import KEY
from ..results.display import Displayed
from ..results.files import write_text
from ..results.provenance import digest
from ..results.records import plain
from ..results.tables import Column, Table, counted
from . import shards
from .exact import number
from .mean_map import MeanMap, said, sum_of
from .measures import KINDS, Measure
from .plan import Plan, read_plan

RESULTS, TABLE = "results.json", "results.parquet"
NAMED = ("label", "winner")  # numbers that name something, and have no mean
SHOWN = 20  # errors of images that the summary repeats


@dataclass(frozen=True, repr=False)
class Study(Displayed):
    """A study that is finished, as it lies in its folder.

    Parameters
    ----------
    folder : Path
        Where it lies.
    results : dict
        {network: {measure: its summary}}: numbers of images and of errors, and mean, standard deviation,
        least and largest value of every number, and mean and deviation of every curve.
    """

    folder: Path
    results: dict[str, Any] = field(repr=False)

    @classmethod
    def load(cls, folder: str | Path) -> Study:
        """The study of a folder.

        Raises
        ------
        StudyError
            If no study was begun there, or files of it are missing.
        """
        return summarised(read_plan(folder))

    @property
    def plan(self) -> Plan:
        """What the study is of."""
        return read_plan(self.folder)

    def rows(self, network: str, measure: str) -> Iterator[dict[str, Any]]:
        """The numbers of every image, in the order of the images: {"number", "image", "error", ...}.

        Raises
        ------
        StudyError
            If the study has no such network or measure.
        """
        for held in _held(self.plan, *self._at(network, measure)):
            yield from held.rows

    def mean_map(self, network: str, measure: str = "mean_map") -> MeanMap:
        """The mean map of a network.

        Raises
        ------
        StudyError
            If the study has no such network, or no such map.
        """
        path = self.folder / "maps" / f"{network}-{measure}.safetensors"
        self._at(network, measure)
        if not path.is_file():
            raise StudyError(f"{measure!r} is no mean map; the maps are in {path.parent}")
        return MeanMap.load(path)

    def to_json(self) -> str:
        """The summary as text in JSON."""
        return json.dumps(plain(self.results), indent=2)

    def _at(self, network: str, measure: str) -> tuple[int, int]:
        about = self.plan.about
        found = []
        for what, name in (("networks", network), ("measures", measure)):
            names = [entry["name"] for entry in about[what]]
            if name not in names:
                raise StudyError(f"the study has no {what[:-1]} {name!r}; there are {', '.join(names)}")
            found.append(names.index(name))
        return found[0], found[1]

    def _said(self) -> Iterable[str]:
        measures = " ".join(dict.fromkeys(name for each in self.results.values() for name in each))
        return [counted(len(self.results), "network"), f"measures {measures}", str(self.folder)]

    def _table(self) -> Table:
        columns = (
            "network",
            "measure",
            "number",
            Column("mean", form=".6g"),
            Column("std", form=".3g"),
            "images",
        )
        rows = [
            (network, measure, name, each["mean"], each["std"], found["images"])
            for network, measures in self.results.items()
            for measure, found in measures.items()
            for name, each in found["numbers"].items()
        ]
        failed = [
            f"{network}, {measure}: {found['errors']} images with an error"
            for network, measures in self.results.items()
            for measure, found in measures.items()
            if found["errors"]
        ]
        return Table(columns, rows, str(self.folder), failed)

    def __str__(self) -> str:
        return self._table().text()


class Moments:
    """Mean, squared deviations, least and largest of numbers or curves, a shard after the other."""

    def __init__(self, grows: bool):
        self.grows, self.count = grows, 0
        self.fits = True
        self.mean = self.m2 = self.least = self.largest = np.zeros(0)

    def add(self, values: list[Any]) -> None:
        """Add the numbers, or the curves, of the images of a shard."""
        if not values or not self.fits:
            return
        rows = [v if isinstance(v, list) else [v] for v in values]
        size = max(len(self.mean), *map(len, rows)) if self.grows else len(rows[0])
        known = len(self.mean) if self.count else size
        if not self.grows and {known, *map(len, rows)} != {size}:
            self.fits = False  # curves of different lengths have no mean
            return
        new = np.array([[*r, *[r[-1]] * (size - len(r))] for r in rows], dtype=np.float64)
        if not self.count:
            self.mean, self.m2 = np.zeros(size), np.zeros(size)
            self.least, self.largest = np.full(size, np.inf), np.full(size, -np.inf)
        pad = size - len(self.mean)
        for name in ("mean", "m2", "least", "largest"):
            setattr(self, name, np.pad(getattr(self, name), (0, pad), mode="edge"))
        self._merge(new)

    def _merge(self, new: np.ndarray) -> None:
        """Chan's formula for the squared deviations of two parts."""
        mean, count = new.mean(0), len(new)
        m2 = ((new - mean) ** 2).sum(0)
        total, step = self.count + count, mean - self.mean
        self.m2 = self.m2 + m2 + step**2 * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.least = np.minimum(self.least, new.min(0))
        self.largest = np.maximum(self.largest, new.max(0))
        self.count = total

    def summary(self, curve: bool) -> dict[str, Any]:
        """{"mean", "std", "least", "largest"}."""
        std = np.sqrt(self.m2 / self.count)
        pairs = (("mean", self.mean), ("std", std), ("least", self.least), ("largest", self.largest))
        return {n: v.tolist() if curve else float(v[0]) for n, v in pairs}


def _held(plan: Plan, subject: int, measure: int) -> Iterator[shards.Held]:
    """The shards of a network and a measure, in the order of the images."""
    for shard in range(plan.shards):
        path = plan.path(subject, measure, shard)
        if not path.exists():
            raise StudyError(
                f"the study in {plan.folder} is not finished, {path.relative_to(plan.folder)} is missing:"
                " start it again, and what is missing is done"
            )
        yield shards.read(path)


def summarised(plan: Plan) -> Study:
    """Sum a study up, and write the summary; every shard is read once."""
    results: dict[str, Any] = {}
    for s, network in enumerate(plan.about["networks"]):
        results[network["name"]] = {
            measure["name"]: _summary(plan, s, m) for m, measure in enumerate(plan.about["measures"])
        }
    text = json.dumps({KEY: plan.about[KEY], "results": plain(results)}, indent=2) + "\n"
    write_text(plan.folder / RESULTS, text)
    shards.write_table(plan.folder / TABLE, _table(results))
    return Study(plan.folder, results)


def _summary(plan: Plan, subject: int, measure: int) -> dict[str, Any]:
    asked = plan.about["measures"][measure]
    kind = KINDS.get(asked["kind"], Measure)
    moments: dict[str, Moments] = {}
    curves: set[str] = set()
    said_of: dict[str, Any] = {}
    errors: dict[str, str] = {}
    count, failed = 0, 0
    totals: dict[str, Any] = {}
    for held in _held(plan, subject, measure):
        good = [row for row in held.rows if row["error"] is None]
        count, failed = count + len(good), failed + len(held.rows) - len(good)
        for row in held.rows:
            if row["error"] is not None and len(errors) < SHOWN:
                errors[row["image"]] = row["error"]
        _gather(good, kind, moments, curves, said_of)
        for name, total in held.totals.items():
            totals[name] = sum_of([totals[name], total]) if name in totals else total
    found = {
        "images": count,
        "errors": failed,
        "failed": errors,
        **said_of,
        "numbers": {n: m.summary(False) for n, m in moments.items() if n not in curves and m.fits},
        "curves": {n: m.summary(True) for n, m in moments.items() if n in curves and m.fits},
    }
    return found | _maps(plan, subject, measure, totals, count)


def _gather(
    rows: list[dict], kind: type[Measure], moments: dict[str, Moments], curves: set[str], said_of: dict
) -> None:
    """Add the columns of a shard: numbers, curves, and texts, which are those of the last image."""
    for name in dict.fromkeys(n for row in rows for n in row):
        values = [row[name] for row in rows if row.get(name) is not None]
        if name in shards.FIXED or name in NAMED or not values:
            continue
        first = values[0][0] if isinstance(values[0], list) and values[0] else values[0]
        if isinstance(first, str):
            said_of[name] = values[-1]
            continue
        if isinstance(values[0], list):
            curves.add(name)
        moments.setdefault(name, Moments(name in kind.growing)).add(values)


def _maps(plan: Plan, subject: int, measure: int, totals: dict, count: int) -> dict[str, Any]:
    """Write the mean map, or give the mean of a small one."""
    network, asked = plan.about["networks"][subject], plan.about["measures"][measure]
    if "field" in totals:
        return {"field": (number(totals["field"]) / max(1, count)).tolist()}
    if "sums" not in totals:
        return {}
    origin = {
        "model": network["model"],
        "weights": network["weights"],
        "policy": json.dumps(network["policy"]),
        "probes": said(asked["probes"], asked["seed"]),
        "images": digest(*plan.about["images"]["shards"]),
    }
    places = str(asked["inputs"] or "input"), str(asked["outputs"] or "output")
    found = MeanMap(count, totals["sums"], totals["squares"], *places, origin)
    folder = plan.folder / "maps"
    folder.mkdir(exist_ok=True)
    name = f"{network['name']}-{asked['name']}.safetensors"
    found.save(folder / name)
    return {
        "map": f"maps/{name}",
        "norm": found.numbers()["norm"],
        "norm of the error": found.numbers()["error"],
    }


def _table(results: dict[str, Any]) -> Any:
    """All summaries as one table: a line a number, and a line a point of a curve."""
    arrow = shards.library().arrow
    lines: dict[str, list[Any]] = {
        n: [] for n in ("network", "measure", "images", "name", "at", "mean", "std", "least", "largest")
    }

    def add(*values: Any) -> None:
        for column, value in zip(lines.values(), values):
            column.append(value)

    stats = ("mean", "std", "least", "largest")
    for network, measures in results.items():
        for measure, found in measures.items():
            start = (network, measure, found["images"])
            for name, each in found["numbers"].items():
                add(*start, name, None, *(each[s] for s in stats))
            for name, each in found["curves"].items():
                for at, point in enumerate(zip(*(each[s] for s in stats))):
                    add(*start, name, at, *point)
    kinds = {n: arrow.string() for n in ("network", "measure", "name")}
    kinds |= {n: arrow.int64() for n in ("images", "at")}
    return arrow.table({n: arrow.array(v, kinds.get(n, arrow.float64())) for n, v in lines.items()})
