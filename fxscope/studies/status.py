"""How far a study is: read off its folder, from any machine, while it runs or not."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..graph.arguments import checked
from ..results.display import Displayed
from ..results.pictures import captioned_bars
from ..results.tables import Table, counted
from .plan import read_plan

RECENT = 50  # files whose times give the speed
SHOWN = 12  # measures that are drawn
QUIET = 5.0  # so many usual intervals without a new file, and nobody seems to be at work


@dataclass(frozen=True, repr=False)
class Status(Displayed):
    """How many files of a study are there.

    Parameters
    ----------
    folder : Path
    files, done : int
        Of all networks and measures.
    networks : dict
        {network: {measure: (finished, all)}}.
    rate : float or None
        Files a second, over the last ones; None for less than two.
    quiet : float or None
        Seconds since the last file.
    """

    folder: Path
    files: int
    done: int
    networks: dict[str, dict[str, tuple[int, int]]]
    rate: float | None
    quiet: float | None

    @property
    def left(self) -> float | None:
        """Seconds until all is done, at the speed of the last files."""
        return (self.files - self.done) / self.rate if self.rate else None

    @property
    def idle(self) -> bool:
        """Whether no file has come for far longer than they came before."""
        return bool(self.rate and self.quiet is not None and self.quiet > max(60, QUIET / self.rate))

    def numbers(self) -> dict[str, Any]:
        """All of it, as JSON can hold it."""
        return {
            "files": self.files,
            "done": self.done,
            "rate": self.rate,
            "left": None if self.idle else self.left,
            "quiet": self.quiet,
            "networks": {n: {m: list(v) for m, v in each.items()} for n, each in self.networks.items()},
        }

    def _said(self) -> Iterable[str]:
        return [
            f"{self.done} of {self.files} files",
            counted(len(self.networks), "network"),
            str(self.folder),
        ]

    def _table(self) -> Table:
        rows = [
            (network, measure, done, count)
            for network, measures in self.networks.items()
            for measure, (done, count) in measures.items()
        ]
        return Table(("network", "measure", "files done", "of"), rows, str(self).splitlines()[0])

    def _picture(self) -> str:
        each = [
            (f"{network}, {measure}", done / (count or 1), f"{done} of {count}")
            for network, measures in self.networks.items()
            for measure, (done, count) in measures.items()
        ]
        return captioned_bars(
            [*each[:SHOWN], ("all", self.done / (self.files or 1), f"{self.done} of {self.files}")],
            "what is done",
        )

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.done} of {self.files} files"]
        if self.done < self.files and self.left is not None:
            at_work = f"about {_duration(self.left)} left"
            lines[0] += f", nothing new for {_duration(self.quiet or 0)}" if self.idle else f", {at_work}"
        for network, measures in self.networks.items():
            said = ", ".join(f"{m} {done} of {count}" for m, (done, count) in measures.items())
            lines.append(f"{network}: {said}")
        return "\n".join(lines)


@checked
def status(folder: str | Path) -> Status:
    """How far the study in a folder is.

    Raises
    ------
    StudyError
        If no study was begun there.
    """
    plan = read_plan(folder)
    counts: dict[str, dict[str, tuple[int, int]]] = {}
    times = []
    for (subject, measure, _), path in plan.paths():
        network, asked = plan.about["networks"][subject]["name"], plan.about["measures"][measure]["name"]
        known = counts.setdefault(network, {}).get(asked, (0, 0))
        try:
            times.append(path.stat().st_mtime)
            counts[network][asked] = (known[0] + 1, known[1] + 1)
        except FileNotFoundError:
            counts[network][asked] = (known[0], known[1] + 1)
    last = sorted(times)[-RECENT:]
    span = last[-1] - last[0] if len(last) > 1 else 0.0
    rate = (len(last) - 1) / span if span > 0 else None
    quiet = max(0.0, time.time() - last[-1]) if last else None
    return Status(plan.folder, plan.files, len(times), counts, rate, quiet)


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
