"""Without what torch's exporters print: errors hold the reason, and fxscope says what it does itself."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No warnings, no logs of torch and no printed graphs in the block.

    Where torch.export fails it prints the graph so far, which may be as long as the network.
    """
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.CRITICAL)
    printed = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stderr(printed),
            contextlib.redirect_stdout(printed),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
