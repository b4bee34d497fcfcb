"""The processes of a study, which torchrun starts: who they are, and the one thing that they share."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ..errors import StudyError

PATIENCE = timedelta(days=1)  # the first process reads all images before it shares what is missing


@dataclass(frozen=True)
class Ranks:
    """A process among all: its number, how many there are, and its number on this machine."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def here(cls) -> Ranks:
        """As torchrun says it in the environment."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        if not all(os.environ.get(n, "").isdigit() for n in names):
            return cls()
        return cls(*(int(os.environ[n]) for n in names))

    @property
    def first(self) -> bool:
        """Whether this is the process that plans and tells."""
        return self.rank == 0

    def shared(self, make: Callable[[], Any]) -> Any:
        """What the first process makes, sent once to all others; there is no communication after it.

        An error of the first process ends the others, too.
        """
        if self.world == 1:
            return make()
        import torch.distributed as dist

        if not dist.is_initialized():
            dist.init_process_group("gloo", timeout=PATIENCE)
        found: list[Any] = [None]
        problem: BaseException | None = None
        if self.first:
            try:
                found = [(True, make())]
            except Exception as error:
                problem, found = error, [(False, str(error))]
        dist.broadcast_object_list(found, src=0)
        if problem is not None:
            raise problem
        good, value = found[0]
        if not good:
            raise Ended(value)
        return value


class Ended(StudyError):
    """The first process has failed, and said why."""
