"""Verdicts that do not hang on single photographs: a rule is asked again on redraws of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

REDRAWS = 400
SURE = 0.975  # share of the redraws in which a rule must hold, or fail
LEAST = 5  # photographs: fewer decide nothing
VERDICTS = {True: "appears", False: "does not appear", None: "undecided at this size"}

K = TypeVar("K", bound=Hashable)
Lines = Sequence[Any]


@dataclass(frozen=True)
class Verdict:
    """Whether a rule holds.

    Parameters
    ----------
    appears : bool or None
        None where neither can be told from so few photographs.
    held : int
        In how many of the redraws the rule holds.
    count : int
        The number of photographs, of the network that has the fewest.
    what : str
        What is drawn again.
    """

    appears: bool | None
    held: int
    count: int
    what: str = "photographs"

    @property
    def why(self) -> str:
        """A sentence: how often the rule holds, and where that leaves it."""
        if self.count < LEAST:
            return f"{self.count} {self.what} decide nothing; at least {LEAST} are needed."
        said = f"The rule holds in {self.held} of {REDRAWS} redraws of the {self.count} {self.what}"
        need = f"{SURE * REDRAWS:.0f} or more decide for it, {(1 - SURE) * REDRAWS:.0f} or fewer against it"
        return f"{said}." if self.appears is not None else f"{said}; {need}."


def judge(
    measured: Mapping[K, Lines], holds: Callable[[dict[K, Lines]], bool], what: str = "photographs"
) -> Verdict:
    """Whether a rule holds for what was measured, {network: a line for every photograph}.

    The photographs are drawn again, as many as there are, with replacement (the bootstrap). Networks that
    were measured on equally many are redrawn together: theirs are the same photographs.
    """
    count = min(len(lines) for lines in measured.values())
    if count < LEAST:
        return Verdict(None, 0, count, what)
    rng = random.Random(0)
    sizes = sorted({len(lines) for lines in measured.values()})
    held = 0
    for _ in range(REDRAWS):
        drawn = {n: [rng.randrange(n) for _ in range(n)] for n in sizes}
        held += holds({k: [lines[i] for i in drawn[len(lines)]] for k, lines in measured.items()})
    share = held / REDRAWS
    return Verdict(True if share >= SURE else False if share <= 1 - SURE else None, held, count, what)
