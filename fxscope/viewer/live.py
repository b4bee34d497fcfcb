"""Live networks: what the viewer's server computes, without anything of how it is asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ..errors import FxscopeError
from ..linop import LinearInterpreter
from .subject import Subject, View

PHOTOGRAPHS = 16  # that are open at once; the oldest of those that were added is closed for another
MOST_PROBED = 16384  # places of one probe


class Wish(FxscopeError):
    """A wish that cannot be granted: what is named is not there."""


@dataclass(frozen=True)
class Shown:
    """A network that is shown.

    Parameters
    ----------
    name, note : str
        How it is called, and its weights and policy.
    interpreted : callable
        From a photograph (3, H, W) in [0, 1] to the interpreter there.
    preprocess : Preprocess, optional
        How a photograph becomes x0.
    labels, tokens : list of str, optional
        The names of the scores, and the tokens of a language model.
    """

    name: str
    note: str
    interpreted: Callable[[torch.Tensor], LinearInterpreter]
    preprocess: Any = None
    labels: list[str] | None = None
    tokens: list[str] | None = None


@dataclass
class Live:
    """Networks at photographs, of which rows and columns are computed when they are wished for.

    One wish is computed at a time. What is wished for names networks and photographs by their names here:
    nothing of it is ever a path.
    """

    networks: Sequence[Shown]
    photographs: dict[str, list[LinearInterpreter]] = field(default_factory=dict)
    _one: Any = field(default_factory=threading.Lock, repr=False)

    def add(self, name: str, picture: torch.Tensor) -> list[dict[str, Any]]:
        """Open a photograph (3, H, W) in [0, 1]: what the front end is told of each network there.

        Raises
        ------
        FxscopeError
            If a network does not run on it, or gives no image and no scores.
        """
        with self._one:
            lins = [network.interpreted(picture) for network in self.networks]
            name = self._free(name)
            told = self._described(name, lins)
            if len(self.photographs) >= PHOTOGRAPHS:
                del self.photographs[list(self.photographs)[1]]  # the first is the one that it began with
            self.photographs[name] = lins
        return told

    def _free(self, name: str) -> str:
        """The name, with a number behind it where there is a photograph of that name."""
        number, free = 1, name
        while free in self.photographs:
            number += 1
            free = f"{name} ({number})"
        return free

    def _described(self, photo: str, lins: list[LinearInterpreter]) -> list[dict[str, Any]]:
        found = []
        for number, (network, lin) in enumerate(zip(self.networks, lins)):
            views = [View(photo, lin)]
            given = network.preprocess, network.labels, network.tokens
            subject = Subject(network.name, network.note, views, *given)
            found.append({**subject.described[0], "network": f"network-{number}"})
        return found

    def told(self) -> list[list[dict[str, Any]]]:
        """What the front end is told of all photographs, in the order of the networks each."""
        with self._one:
            return [self._described(name, lins) for name, lins in self.photographs.items()]

    def granted(self, verb: str, given: Any) -> torch.Tensor:
        """The array of a wish: "x0", "record" (y0), "residual" (r) or "product" (a row or a column).

        Raises
        ------
        Wish
            If it names what is not there.
        """
        with self._one, torch.no_grad():
            lin = self._interpreter(given)
            arrays = {"x0": lambda: lin.x, "record": lambda: lin.y0, "residual": lambda: lin.residual}
            if verb in arrays:
                return arrays[verb]()[0]
            if verb != "product":
                raise Wish(f"there is no verb {verb!r}")
            return _product(lin, given.get("form"), given.get("probe"))

    def _interpreter(self, given: Any) -> LinearInterpreter:
        given = given if isinstance(given, dict) else {}
        lins = self.photographs.get(str(given.get("photo")))
        names = [f"network-{i}" for i in range(len(self.networks))]
        if lins is None or given.get("network") not in names:
            raise Wish("that photograph or network is not open (any more): reload the page")
        return lins[names.index(given["network"])]


def _product(lin: LinearInterpreter, form: Any, probe: Any) -> torch.Tensor:
    """F^T y2 ("pullback") or F x1 ("replay") of a probe [[flat place, weight], ...]."""
    if form not in ("pullback", "replay"):
        raise Wish(f"there is no form {form!r}")
    like = lin.y0[0] if form == "pullback" else lin.x[0]
    given = torch.zeros_like(like).flatten()
    if not isinstance(probe, list) or not 0 < len(probe) <= MOST_PROBED:
        raise Wish(f"a probe is a list of 1 to {MOST_PROBED} places with their weights")
    for each in probe:
        if not _is_place(each, len(given)):
            raise Wish(f"a probe has places from 0 to {len(given) - 1}, each with a finite weight")
        given[each[0]] += each[1]
    F = lin.F.T if form == "pullback" else lin.F
    return F @ given.reshape(like.shape)


def _is_place(each: Any, count: int) -> bool:
    if not isinstance(each, list) or len(each) != 2 or any(isinstance(n, bool) for n in each):
        return False
    place, weight = each
    return (
        isinstance(place, int)
        and 0 <= place < count
        and isinstance(weight, int | float)
        and abs(weight) < 1e30  # false for NaN
    )
