"""``lin.page(path)`` and ``lin.view()``: an interpreter in a page, and in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import WrongArgument
from ..graph.arguments import checked, shown
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter
from ..results.registry import provides
from .build import LIMIT, write
from .folder import write_folder
from .live import Live, Shown
from .subject import Subject, View, note


@provides(LinearInterpreter, "page")
@checked
def page(
    lin: LinearInterpreter,
    path: str | Path,
    *,
    beside: Sequence[LinearInterpreter] = (),
    names: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    tokens: Sequence[str] | None = None,
    count: int = 0,
    limit: float = LIMIT,
    half: bool = False,
    smaller: int | None = None,
    folder: bool = False,
    votes: bool = False,
) -> int:
    """Write the page of an interpreter; see ``LinearInterpreter.page``."""
    named = _named("page", lin, beside, names, preprocess)
    said = None if labels is None else _list("page: labels", labels, str)
    words = None if tokens is None else _list("page: tokens", tokens, str)
    subjects = [
        Subject(
            name,
            note(_policy(i), half),
            [View("x0", i, count, votes=votes)],
            preprocess,
            said,
            words,
        )
        for name, i in named
    ]
    if folder:
        return write_folder(path, subjects, half, smaller)
    return write(path, subjects, limit, half, smaller)


@provides(LinearInterpreter, "view")
@checked
def view(
    lin: LinearInterpreter,
    beside: Sequence[LinearInterpreter] = (),
    *,
    names: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    tokens: Sequence[str] | None = None,
) -> Any:
    """Show an interpreter in a notebook; see ``LinearInterpreter.view``."""
    from .notebook import widget

    named = _named("view", lin, beside, names, preprocess)
    said = None if labels is None else _list("view: labels", labels, str)
    words = None if tokens is None else _list("view: tokens", tokens, str)
    networks = [Shown(name, _policy(i), _always(i), preprocess, said, words) for name, i in named]
    live = Live(networks)
    live.add("x0", lin.x0[0])
    return widget(live)


def _policy(lin: LinearInterpreter) -> str:
    return ", linearised ".join((f"policy {lin.policy}", *lin.linearised))


def _always(lin: LinearInterpreter) -> Callable[[torch.Tensor], LinearInterpreter]:
    """The interpreter that is there, whatever the photograph: a notebook adds none."""
    return lambda picture: lin


def _named(
    verb: str, lin: LinearInterpreter, beside: Any, names: Any, preprocess: Any
) -> list[tuple[str, LinearInterpreter]]:
    """The interpreters with their names; raises ``WrongArgument``."""
    each = [lin, *_list(f"{verb}: beside", beside, LinearInterpreter)]
    called = [type(i.model).__name__ for i in each] if names is None else _list(f"{verb}: names", names, str)
    if len(called) != len(each):
        raise WrongArgument(f"{verb}: names has a name for each of {len(each)} networks; got {len(called)}")
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise WrongArgument(f"{verb}: preprocess is a fxscope.Preprocess; got {shown(preprocess)}")
    return list(zip(called, each))


def _list(name: str, given: Any, kind: type) -> list[Any]:
    """A list of the elements; raises ``WrongArgument`` if it is none of that kind."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, kind) for each in given):
        raise WrongArgument(f"{name} is a list of {kind.__name__}; got {shown(given)}")
    return list(given)
