"""What a study has to do: its shards, their keys, and which of them are missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import StudyError, said
from ..graph.interpretation import KEY, VERSION, check
from ..results.provenance import digest
from ..results.records import plain
from . import shards
from .images import Source
from .spec import Spec

FILE = "study.json"
FORMAT = 1


@dataclass(frozen=True)
class Task:
    """One network on one shard: the measures that are missing, by their numbers."""

    subject: int
    shard: int
    measures: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A study as its file says it: everything that keys and summaries need.

    Parameters
    ----------
    folder : Path
        Where it is written.
    about : dict
        The contents of the file: networks, measures, images, and how they run.
    """

    folder: Path
    about: dict[str, Any]

    @property
    def images(self) -> int:
        """Number of images."""
        return self.about["images"]["count"]

    @property
    def shards(self) -> int:
        """Number of shards of images."""
        return len(self.about["images"]["shards"])

    @property
    def files(self) -> int:
        """Number of files when all is done."""
        return self.shards * len(self.about["networks"]) * len(self.about["measures"])

    def numbers(self, shard: int) -> range:
        """The numbers of the images of a shard."""
        size = self.about["run"]["shard"]
        return range(shard * size, min((shard + 1) * size, self.images))

    def parts(self, subject: int, measure: int, shard: int) -> dict[str, Any]:
        """What the numbers of a file depend on."""
        network, asked = self.about["networks"][subject], self.about["measures"][measure]
        run = {n: v for n, v in self.about["run"].items() if n != "shard"}
        return {
            **{n: v for n, v in network.items() if n not in ("name", "note", "model")},
            **run,
            "measure": {n: v for n, v in asked.items() if n != "name"},
            "images": self.about["images"]["shards"][shard],
            KEY: self.about[KEY],
        }

    def path(self, subject: int, measure: int, shard: int) -> Path:
        """The file of a network, a measure and a shard."""
        parts = self.parts(subject, measure, shard)
        key = digest(json.dumps(parts, sort_keys=True))
        names = self.about["networks"][subject]["name"], self.about["measures"][measure]["name"]
        return self.folder.joinpath("shards", *names, f"{shard:06d}-{key}.parquet")

    def paths(self) -> Iterator[tuple[tuple[int, int, int], Path]]:
        """((network, measure, shard), file) of all."""
        for subject in range(len(self.about["networks"])):
            for measure in range(len(self.about["measures"])):
                for shard in range(self.shards):
                    yield (subject, measure, shard), self.path(subject, measure, shard)

    def write(self) -> None:
        """Write the file of the study."""
        with shards.to_disk(self.folder / FILE) as new:
            new.write_text(json.dumps(self.about, indent=1) + "\n", encoding="utf-8")


def read_plan(folder: str | Path) -> Plan:
    """The plan of a folder in which a study was begun.

    Raises
    ------
    StudyError
        If no study was begun there.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise StudyError(
            f"{folder} is no folder of a study: it has no {FILE}; fxscope study SPEC.toml begins one"
        )
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {about['format']}")
        check(about, str(path), "take another folder")
        return Plan(Path(folder), about)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StudyError(f"{path} is no file of a study: {said(error)}") from error


def plan_of(spec: Spec, source: Source) -> Plan:
    """The plan of a study: every network is built once for the hash of its weights."""
    networks = []
    for subject in spec.subjects:
        module, preprocess = subject.make()
        networks.append(
            {
                "name": subject.name,
                "model": subject.spec,
                "note": subject.note,
                "network": digest(repr(module)),
                "weights": weights_of(module),
                "policy": policy_said(subject.policy),
                "preprocessing": "none" if source.is_input else plain(preprocess.as_data()),
            }
        )
        del module
    about = {
        "format": FORMAT,
        KEY: VERSION,
        "networks": networks,
        "measures": [{"name": m.name, **plain(m.about())} for m in spec.measures],
        "images": {"count": len(source.names), "shards": _digests(spec, source)},
        "run": {
            "dtype": spec.dtype,
            "batch size": spec.batch,
            "threads": spec.threads,
            "device": spec.device,
            "unknown operators": spec.unknown,
            "torch": torch.__version__,
            "shard": spec.shard,
        },
    }
    return Plan(spec.out, about)


def policy_said(policy: Any) -> dict[str, Any]:
    """A policy as JSON can hold it."""
    return {"preset": policy.preset, **dict(sorted(policy.choices.items()))}


def weights_of(module: nn.Module) -> str:
    """The hash of all weights and buffers."""
    state = module.state_dict()
    return digest(*(part for n in sorted(state) for part in (n, _tensor(state[n]))))


def _tensor(value: Any) -> torch.Tensor | str:
    return value if isinstance(value, torch.Tensor) else repr(value)


def _digests(spec: Spec, source: Source) -> list[str]:
    """The hash of every shard of images: of names, and of contents."""
    count, found = len(source.names), []
    for start in range(0, count, spec.shard):
        numbers = range(start, min(start + spec.shard, count))
        seen = [source.content(n) for n in numbers] if spec.by_contents else []
        found.append(images_digest([source.names[n] for n in numbers], seen))
    return found


def images_digest(names: Sequence[str], contents: Sequence[str]) -> str:
    """The hash of images by their names, and by the hashes of their contents where these are given."""
    return digest(json.dumps([list(names), list(contents)]))


def missing(plan: Plan, tell: Any) -> list[Task]:
    """What is left to do, a network after the other; ``tell`` is given a text for every damaged file.

    Raises
    ------
    StudyError
        If files of another study are in the folder.
    """
    expected = {path: key for key, path in plan.paths()}
    foreign = [p for p in shards.files_of(plan.folder) if p not in expected]
    if foreign:
        raise StudyError(_another(plan, foreign))
    left: dict[tuple[int, int], list[int]] = {}
    for path, (subject, measure, shard) in expected.items():
        if not _is_whole(path, tell):
            left.setdefault((subject, shard), []).append(measure)
    return [Task(subject, shard, tuple(found)) for (subject, shard), found in sorted(left.items())]


def _is_whole(path: Path, tell: Any) -> bool:
    if not path.exists():
        return False
    try:
        shards.read(path)
    except shards.Damaged as error:
        tell(f"{error}; it is done again")
        path.unlink()
        return False
    return True


def _another(plan: Plan, foreign: list[Path]) -> str:
    """What is said of files of another study."""
    path = foreign[0]
    names = [[e["name"] for e in plan.about[what]] for what in ("networks", "measures")]
    try:
        at = (names[0].index(path.parent.parent.name), names[1].index(path.parent.name))
        shard = int(path.name.partition("-")[0])
        parts = plan.parts(*at, shard) if shard < plan.shards else {}
        why = shards.differences(path, parts) if parts else "this study has fewer images"
    except ValueError:
        why = shards.differences(path, None)
    more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
    return (
        f"{plan.folder} holds results of another study: {path.relative_to(plan.folder)}{more} ({why})."
        " Nothing was changed: give another folder with out, or remove these files"
    )
