"""``lin.page(path)``: a page of an interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import WrongArgument
from ..graph.arguments import checked, shown
from ..images.preprocess import Preprocess
from ..linop import LinearInterpreter
from ..results.registry import provides
from .build import LIMIT, write
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
    count: int = 0,
    limit: float = LIMIT,
    half: bool = False,
) -> int:
    """Write the page of an interpreter; see ``LinearInterpreter.page``."""
    each = [lin, *_list("beside", beside, LinearInterpreter)]
    called = [type(i.model).__name__ for i in each] if names is None else _list("names", names, str)
    if len(called) != len(each):
        raise WrongArgument(f"page: names has a name for each of {len(each)} networks; got {len(called)}")
    if preprocess is not None and not isinstance(preprocess, Preprocess):
        raise WrongArgument(f"page: preprocess is a fxscope.Preprocess; got {shown(preprocess)}")
    said = None if labels is None else _list("labels", labels, str)
    subjects = [
        Subject(name, note(f"policy {i.policy}", half), [View("x0", i, count)], preprocess, said)
        for i, name in zip(each, called)
    ]
    return write(path, subjects, limit, half)


def _list(name: str, given: Any, kind: type) -> list[Any]:
    """A list of the elements; raises ``WrongArgument`` if it is none of that kind."""
    if not isinstance(given, (list, tuple)) or not all(isinstance(each, kind) for each in given):
        raise WrongArgument(f"page: {name} is a list of {kind.__name__}; got {shown(given)}")
    return list(given)
