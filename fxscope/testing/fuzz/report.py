"""What a run of the fuzzer found: counts, refusals by reason, and a file for every failure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from ..._version import __version__
from ...results.files import write_text
from .check import FREEZE, Finding, Result, check
from .draw import draw
from .network import Network
from .shrink import shrink

SHRUNK = 3  # failures of one kind that are made small; of more, the first are enough
_FILE = '''"""{outcome} in {entry}: {kind}

{detail}

Drawn from seed {seed} under policy {policy!r}, fxscope {version}, torch {torch}.
"""

{source}

if __name__ == "__main__":
    from fxscope.testing.fuzz.check import check
    from fxscope.testing.fuzz.network import Input, Network, Statement

    NETWORK = {network!r}
    for finding in check(NETWORK, {policy!r}).findings:
        print(finding.outcome, "in", finding.entry, ":", finding.kind, finding.detail, sep=" ")
'''


@dataclass
class Report:
    """Counts of a run, and its failures.

    outcomes    {right, refused, wrong, crash: how many networks}
    refusals    {(entry, reason): how often}; those of "interpret" make a network refused
    failures    (seed, finding, shrunk network) of what is wrong or crashed
    laws        how many laws were held against how many networks
    """

    policy: Any = FREEZE
    networks: int = 0
    laws: int = 0
    unusable: int = 0
    outcomes: Counter = field(default_factory=Counter)
    refusals: Counter = field(default_factory=Counter)
    entries: Counter = field(default_factory=Counter)
    failures: list[tuple[int, Finding, Network]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing was wrong or crashed."""
        return not self.failures

    @property
    def refused_share(self) -> float:
        """The share of the usable networks that were refused."""
        return self.outcomes["refused"] / max(1, self.networks - self.unusable)

    def add(self, network: Network, result: Result, small: bool = True) -> list[Finding]:
        """Count a network; its failures, of each kind the first few shrunk."""
        self.networks += 1
        self.laws += result.laws
        self.unusable += not result.usable
        self.outcomes[result.outcome if result.usable else "unusable"] += 1
        failed = []
        for finding in result.findings:
            if finding.outcome == "refused":
                self.refusals[finding.entry, finding.kind] += 1
                self.entries[finding.entry] += 1
            else:
                failed.append(finding)
        for finding in failed[:1]:
            again = sum(f.key == finding.key for _, f, _ in self.failures)
            little, finding = (
                shrink(network, finding, self.policy) if small and again < SHRUNK else (network, finding)
            )
            self.failures.append((network.seed, finding, little))
        return failed

    def write(self, folder: Path, start: int = 0) -> None:
        """A file for every failure from the ``start``-th on."""
        folder.mkdir(parents=True, exist_ok=True)
        for seed, finding, network in self.failures[start:]:
            text = _FILE.format(
                outcome=finding.outcome,
                entry=finding.entry,
                kind=finding.kind,
                detail=finding.detail.replace('"""', "'''").replace("\\", "/"),
                seed=seed,
                policy=self.policy,
                version=__version__,
                torch=torch.__version__,
                source=network.source(),
                network=network,
            )
            write_text(folder / f"{finding.outcome}_{seed}.py", text)

    def __str__(self) -> str:
        counts = ", ".join(
            f"{self.outcomes[o]} {o}"
            for o in ("right", "refused", "wrong", "crash", "unusable")
            if self.outcomes[o] or o != "unusable"
        )
        lines = [f"{self.networks} networks, {self.laws} laws: {counts}"]
        lines += [
            f"  refused by {entry} {n} times: {reason}"
            for (entry, reason), n in self.refusals.most_common(30)
        ]
        for (outcome, entry, kind), n in Counter(f.key for _, f, _ in self.failures).most_common():
            seed, finding, network = next(
                (s, f, w) for s, f, w in self.failures if f.key == (outcome, entry, kind)
            )
            said, _, _ = finding.detail.partition("\n")
            lines += [
                "",
                f"{outcome} in {entry}, {n} times: {kind}; seed {seed}: {said}",
            ]
            lines += [f"    {line}" for line in network.source().split("class Net")[1].splitlines()[2:]]
        return "\n".join(lines)

    def to_json(self) -> str:
        """The report as JSON."""
        refusals = [{"entry": e, "reason": r, "count": n} for (e, r), n in self.refusals.most_common()]
        failures = [
            {
                "seed": s,
                "outcome": f.outcome,
                "entry": f.entry,
                "kind": f.kind,
                "detail": f.detail,
                "source": n.source(),
            }
            for s, f, n in self.failures
        ]
        counts = {o: self.outcomes[o] for o in ("right", "refused", "wrong", "crash", "unusable")}
        return json.dumps(
            {
                "policy": self.policy,
                "networks": self.networks,
                "laws": self.laws,
                **counts,
                "refusals": refusals,
                "failures": failures,
            },
            indent=2,
        )


def fuzz(seeds: Any, policy: Any = FREEZE, small: bool = True) -> Iterator[Report]:
    """Draw and check one network a seed; the report so far after each."""
    report = Report(policy)
    for seed in seeds:
        network = draw(seed)
        report.add(network, check(network, policy), small)
        yield report
