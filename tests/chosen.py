"""The names by which a test file chooses among its cases: one that matches none is an error."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable


def chosen(
    names: Collection[str], cases: Iterable[str], matches: Callable[[str, str], bool] = str.__eq__
) -> Collection[str]:
    """The names themselves; ``matches(case, name)`` says whether a name is about a case.

    A list that chooses what runs and holds a name of nothing takes a test away without a word.
    """
    known = list(cases)
    idle = sorted(name for name in names if not any(matches(case, name) for case in known))
    if idle:
        raise ValueError(f"chosen, and no case: {', '.join(idle)}; the cases are {', '.join(known)}")
    return names
