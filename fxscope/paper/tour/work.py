"""Long work in steps: which one runs, and how long the rest will take, said on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Mapping

QUIET = 10.0  # seconds: work that is expected to take less says nothing
PRIOR = 2.0  # seconds of expected work that count as if they had taken as long as expected


class Work:
    """Steps of chapters with the seconds that each is expected to take.

    What a step really took corrects what is expected of those that are left.

    Parameters
    ----------
    progress : bool
        Say what runs.
    expected : mapping
        {chapter: {step: seconds}}. A step that is not among them counts as nothing until it has run.
    """

    def __init__(
        self, progress: bool = True, expected: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        self.progress = progress
        self.left = {name: dict(steps) for name, steps in (expected or {}).items()}
        self.asked, self.took, self.count, self.now = PRIOR, PRIOR, 0, ""
        self.is_quiet = not progress

    @property
    def seconds(self) -> float:
        """The seconds that the steps that are left are expected to take."""
        rate = self.took / self.asked
        return rate * sum(s for steps in self.left.values() for s in steps.values())

    @property
    def total(self) -> int:
        """The number of steps."""
        return self.count + sum(len(steps) for steps in self.left.values())

    @contextlib.contextmanager
    def leaving_out(self, finished: Iterable[str]) -> Iterator[Work]:
        """Begin, without the chapters that are finished: say what is to come."""
        for name in finished:
            self.left.pop(name, None)
        self.progress = self.progress and self.seconds > QUIET
        self.say(f"{self.total} steps, about {lasting(self.seconds)} if nothing else runs on this machine")
        yield self

    @contextlib.contextmanager
    def interrupted(self, text: str) -> Iterator[None]:
        """A block that Ctrl-C may end, which is said, with what there is."""
        try:
            yield
        except KeyboardInterrupt:
            if not self.is_quiet:
                print(f"\nfxscope: interrupted: {text}", file=sys.stderr, flush=True)
            raise

    @contextlib.contextmanager
    def elsewhere(self, name: str) -> Iterator[None]:
        """A chapter whose steps run in another process, which says them."""
        steps, began = self.left.get(name, {}), time.perf_counter()
        yield
        self._went(sum(steps.values()), time.perf_counter() - began)
        self.count += len(steps)
        self.left.pop(name, None)

    @contextlib.contextmanager
    def chapter(self, name: str) -> Iterator[None]:
        """A chapter; one without steps is a step itself."""
        self.now = name
        alone = self.left.get(name, {})
        if list(alone) == [name]:
            with self.step(name):
                yield
        else:
            yield
        self.left.pop(name, None)

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the chapter that runs."""
        seconds = self.left.get(self.now, {}).get(name, 0.0)
        rest = f"about {lasting(self.seconds)} left" if self.seconds >= 1 else "nearly done"
        self.say(f"step {self.count + 1} of {max(self.total, self.count + 1)}, {name}; {rest}")
        began = time.perf_counter()
        yield
        self.count += 1
        self.left.get(self.now, {}).pop(name, None)
        self._went(seconds, time.perf_counter() - began)

    def _went(self, asked: float, took: float) -> None:
        """Correct what is expected by what a step took that was expected to take so long."""
        if asked:
            self.asked, self.took = self.asked + asked, self.took + took

    def say(self, text: str) -> None:
        """A line on stderr."""
        if self.progress:
            print(f"fxscope: {text}", file=sys.stderr, flush=True)


def lasting(seconds: float) -> str:
    """A duration in words: 40 s, 3 min 20 s, 1 h 5 min."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes, rest = divmod(round(seconds / 10) * 10, 60)
    if minutes < 60:
        return f"{minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
