"""``fxscope.study``: networks x images x measures, in one process or in many, killed and gone on with."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

try:
    import fcntl
except ModuleNotFoundError:  # of Unix alone
    fcntl = None  # type: ignore[assignment]

from ..errors import ImageError, NonFinite, StudyError
from ..graph.arguments import checked
from ..results.progress import steps
from . import shards
from .images import Batch, Source, Unreadable, batches
from .measures import Measure
from .plan import Plan, Task, images_digest, missing, plan_of, weights_of
from .ranks import Ranks
from .readers import Interpreters, Readers
from .spec import DTYPES, Spec, spec_of
from .summary import Study, summarised

LOOK = 1.0  # seconds between two looks at what other processes have finished, at least
SHARE = 50  # and so many times what a look takes: there may be many files, far away
OF_AN_IMAGE = (ImageError, NonFinite)  # errors that are one image's, and end no study
_log = logging.getLogger("fxscope")


@checked
def study(
    networks: Any,
    images: Any,
    measures: Any,
    out: str | Path,
    policy: Any = None,
    dtype: str = "float32",
    batch: int = 8,
    shard: int = 64,
    threads: int = 1,
    seed: int = 0,
    device: str = "cpu",
    unknown: str = "refuse",
    limit: int | None = None,
    inputs: bool = False,
    hash: str = "contents",
    progress: bool = True,
) -> Study | None:
    """Measure networks on the images of a dataset; what is finished is kept, and a killed study goes on.

    Every network, measure and shard of images has a file of its own. In processes of torchrun each does every
    so many-th shard. One process, several, and any that were killed and started again write the same bytes.

    Parameters
    ----------
    networks : str, torch.nn.Module, dict or list
        MODEL as ``fxscope.models.load_model`` takes it, a network, {name: one of them}, or a list of them or
        of tables with "model", "name", "weights", "seed", "policy", "preprocess".
    images : path, Dataset, list or dict
        A folder, a torch Dataset, a list of (name, picture), {"dataset": "module:name"}, or {"tars": [...]},
        the files of a WebDataset.
    measures : str, callable, dict or list
        "residual_share", "layer_contributions", "votes", "energy", "gap", "receptive_field", "mean_map", a
        table {"measure": one of them, ...its options}, or a function of the interpreter at one image that
        returns numbers: itself, or as "module:function".
    out : path
        The folder of everything that is written.
    policy : optional
        As in ``fxscope.interpret``, for the networks that name none.
    dtype : {"float32", "float64"}
        Of networks and images.
    batch, shard : int
        Images that run together, and images in a file.
    threads : int
        Threads of every process.
    seed : int
        Of all that is drawn.
    device : str
        Where the networks run; "cuda" is a device for every process.
    unknown : {"refuse", "taylor"}
        As in ``fxscope.interpret``.
    limit : int, optional
        So many images from the first.
    inputs : bool
        Whether the items of the dataset are x0 (C, H, W) themselves, and no pictures in [0, 1].
    hash : {"contents", "names"}
        What tells images apart. By their names alone nothing is read beforehand, and changed images go
        unnoticed.
    progress : bool
        Show a progress bar of all processes.

    Returns
    -------
    Study or None
        The summary; None in all processes of torchrun but the first.

    Raises
    ------
    StudyError
        If the folder holds another study, a file cannot be written, or a measure does not fit a network.
    """
    names = ("dtype", "batch", "shard", "threads", "seed", "device", "unknown")
    given = locals()
    rest = {name: given[name] for name in names}
    return run(spec_of(networks, images, measures, out, policy, hash, inputs, limit, **rest), progress)


def run(spec: Spec, progress: bool = True, tell: Callable[[str], None] = _log.warning) -> Study | None:
    """Do what is missing of a study, and sum it up; ``tell`` is given what a user should know."""
    ranks = Ranks.here()
    source = spec.source()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_threads(spec.threads))

        def begun() -> tuple[Plan, list[Task]]:
            stack.enter_context(_alone(spec.out))
            return _begun(spec, source, tell)

        plan, tasks = ranks.shared(begun)
        done = plan.files - sum(len(task.measures) for task in tasks)
        if ranks.first and done:
            tell(f"{done} of {plan.files} files are there already")
        with _Progress(plan, ranks, progress) as shown:
            Work(spec, plan, source, ranks).all(tasks[ranks.rank :: ranks.world], shown)
            if not ranks.first:
                return None
            shown.wait()
        return summarised(plan)


def _begun(spec: Spec, source: Source, tell: Callable[[str], None]) -> tuple[Plan, list[Task]]:
    """The plan and what is missing; nothing is written before it is known to fit the folder."""
    shards.library()
    plan = plan_of(spec, source)
    tasks = missing(plan, tell)
    for path in shards.left_behind(plan.folder):
        path.unlink(missing_ok=True)
    plan.write()
    return plan, tasks


@contextlib.contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else plans in the folder meanwhile; the lock ends with the process, however that ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR, 0o666)
    except OSError as error:
        raise StudyError(
            f"no study can be written into {folder}: {error.strerror}; give another folder with out"
        ) from error
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise StudyError(
            f"another process is at work on the study in {folder}: wait for it, or end it"
        ) from None
    except OSError:
        pass  # a file system without locks
    try:
        yield
    finally:
        os.close(lock)


@dataclass
class Work:
    """What one process does: it keeps one network at a time."""

    spec: Spec
    plan: Plan
    source: Source
    ranks: Ranks
    _held: tuple[int, Readers] | None = None

    def all(self, tasks: list[Task], shown: _Progress) -> None:
        """Do tasks one after the other."""
        for task in tasks:
            self.one(task, shown)
        self._held = None

    def one(self, task: Task, shown: _Progress) -> None:
        """Measure one network on one shard, and write its files."""
        readers = self.readers(task.subject)
        chosen = [self.spec.measures[m] for m in task.measures]
        found = [_Found() for _ in chosen]
        seen: list[str] = []
        numbers = self.plan.numbers(task.shard)
        for batch in batches(self.source, numbers, self.spec.batch, readers.preprocess, seen):
            if isinstance(batch, Unreadable):
                for into in found:
                    into.add((batch.number,), [{"error": batch.error}], {})
            else:
                self._measure(readers, batch, chosen, found)
            shown.look()
        self._same_images(task, seen)
        for m, into in zip(task.measures, found):
            rows = [{"number": n, "image": self.source.names[n], **into.rows[n]} for n in sorted(into.rows)]
            at = (task.subject, m, task.shard)
            shards.write(self.plan.path(*at), shards.Held(rows, into.totals, self.plan.parts(*at)))

    def _measure(self, readers: Readers, batch: Batch, chosen: list[Measure], found: list[_Found]) -> None:
        at = Interpreters(readers, self._placed(batch.x0), batch.numbers)
        for measure, into in zip(chosen, found):
            try:
                into.add(batch.numbers, *measure.of(at))
            except OF_AN_IMAGE:
                self._each(measure, at, into)

    def _each(self, measure: Measure, at: Interpreters, into: _Found) -> None:
        """The images of a batch one after the other, where a measure fails on one of them."""
        for i, number in enumerate(at.numbers):
            alone = Interpreters(at.readers, at.x0[i : i + 1], (number,))
            try:
                into.add((number,), *measure.of(alone))
            except OF_AN_IMAGE as error:
                into.add((number,), [{"error": str(error)}], {})

    def _placed(self, x0: torch.Tensor) -> torch.Tensor:
        return x0.to(dtype=DTYPES[self.spec.dtype], device=self._device())

    def _device(self) -> str:
        name = self.spec.device
        return f"cuda:{self.ranks.local}" if name == "cuda" and self.ranks.world > 1 else name

    def readers(self, subject: int) -> Readers:
        """The network of a task, built when it is first needed, with the weights of the plan."""
        if self._held is None or self._held[0] != subject:
            self._held = None
            each = self.spec.subjects[subject]
            module, preprocess = each.make()
            known = self.plan.about["networks"][subject]
            if weights_of(module) != known["weights"]:
                raise StudyError(
                    f"{each.name} has other weights in this process than the study began with: give the same"
                    " file to all machines, or a seed"
                )
            module = module.to(dtype=DTYPES[self.spec.dtype], device=self._device())
            self._held = subject, Readers(module, preprocess, each.policy, self.spec.unknown)
        return self._held[1]

    def _same_images(self, task: Task, seen: list[str]) -> None:
        """Raise if the images that were read are others than the study began with."""
        if not self.spec.by_contents:
            return
        names = [self.source.names[n] for n in self.plan.numbers(task.shard)]
        if images_digest(names, seen) != self.plan.about["images"]["shards"][task.shard]:
            raise StudyError(
                f"an image between {names[0]} and {names[-1]} has changed since the study began: start it"
                " again, into another folder"
            )


class _Found:
    """The rows and sums of one measure on one shard."""

    def __init__(self) -> None:
        self.rows: dict[int, dict[str, Any]] = {}
        self.totals: dict[str, torch.Tensor] = {}

    def add(self, numbers: tuple[int, ...], rows: list[dict], totals: dict[str, torch.Tensor]) -> None:
        """Add what a measure found of a batch."""
        self.rows.update(zip(numbers, rows))
        for name, total in totals.items():
            known = self.totals.get(name)
            if known is not None and known.shape != total.shape:
                raise StudyError(
                    f"images have maps of different sizes, {list(known.shape[1:])} and"
                    f" {list(total.shape[1:])}, which have no mean: give preprocess a size"
                )
            self.totals[name] = total if known is None else known + total


class _Progress:
    """The finished files of all processes, as the first one sees them in the folder."""

    def __init__(self, plan: Plan, ranks: Ranks, progress: bool):
        self._left = {path for _, path in plan.paths() if not path.exists()} if ranks.first else set()
        self._bar = steps(len(self._left), "files", progress and ranks.first)
        self._next = 0.0

    def __enter__(self) -> _Progress:
        self._shown = self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def look(self) -> None:
        """Look for what is finished, now and then."""
        start = time.monotonic()
        if self._left and start >= self._next:
            done = {path for path in self._left if path.exists()}
            self._left -= done
            self._shown.update(len(done))
            now = time.monotonic()
            self._next = now + max(LOOK, SHARE * (now - start))

    def wait(self) -> None:
        """Wait for the other processes."""
        while True:
            self.look()
            if not self._left:
                return
            time.sleep(LOOK / 4)
