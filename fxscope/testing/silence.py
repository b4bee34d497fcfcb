"""Without warnings and logs: a check of thousands of cases keeps what it finds in lines of its own."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """No warnings, and of fxscope's log errors alone, in the block; the level it had is set again."""
    log = logging.getLogger("fxscope")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
