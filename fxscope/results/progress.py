"""Progress bars for long work: shown after two seconds, silent with ``progress=False`` or without tqdm."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


class _Silent:
    """A bar that shows nothing."""

    def update(self, count: int = 1) -> None:
        """Do nothing."""


@contextlib.contextmanager
def steps(total: int | None, what: str, progress: bool = True) -> Iterator[Any]:
    """A bar of ``total`` steps of ``what``."""
    try:
        from tqdm.auto import tqdm
    except ModuleNotFoundError:
        progress = False
    if not progress:
        yield _Silent()
        return
    with tqdm(total=total, desc=what, delay=2, leave=False) as bar:
        yield bar
