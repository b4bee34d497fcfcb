"""``lin.page(path)``: a page of an interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import WrongArgument
from ..graph.arguments import shown
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter
from ..results.registry import provides
from .build import LIMIT, write
from .subject import Subject, View


@provides(LinearInterpreter, "page")
def page(
    lin: LinearInterpreter,
    path: str | Path,
    *,
    beside: Sequence[LinearInterpreter] = (),
    names: Sequence[str] | None = None,
    preprocess: Preprocess | None = None,
    labels: Sequence[str] | None = None,
    count: int = 0,
    limit: float = LIMIT,
) -> int:
    """Write the page of an interpreter; see ``LinearInterpreter.page``."""
    each = [lin, *beside]
    for other in each:
        if not isinstance(other, LinearInterpreter):
            raise WrongArgument(f"page: beside is a list of interpreters; got {shown(other)} in it")
    called = list(names) if names is not None else [type(i.model).__name__ for i in each]
    if len(called) != len(each):
        raise WrongArgument(f"page: names has a name for each of {len(each)} networks; got {len(called)}")
    named = None if labels is None else list(labels)
    subjects = [
        Subject(name, f"policy {i.policy}", [View("x0", i, count)], preprocess, named)
        for i, name in zip(each, called)
    ]
    return write(path, subjects, limit)
