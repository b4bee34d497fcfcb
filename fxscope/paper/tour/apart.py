"""Work in a process of its own: the memory of the libraries that it needs is given back when it ends."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

import torch

from ...errors import FxscopeError, said

INTERRUPTED = 130  # how a process ends after Ctrl-C


def can_fork() -> bool:
    """Whether this process may be doubled: not with a GPU at work, and safely on Linux alone."""
    return sys.platform == "linux" and not torch.cuda.is_initialized()


def in_own_process(work: Callable[[], object], what: str) -> None:
    """Call ``work`` in a copy of this process, and wait for its end; what it is to leave, it leaves in files.

    Raises
    ------
    FxscopeError
        If it ends otherwise than well: with what it said, or by which signal.
    """
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of other threads: the copy waits for none
        child = os.fork()
    if not child:
        os.close(reading)
        _run(work, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, encoding="utf-8", errors="replace") as pipe:
            message = pipe.read()
        _, status = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    _check(os.waitstatus_to_exitcode(status), message, what)


def _run(work: Callable[[], object], writing: int) -> NoReturn:
    """The work, in the copy, which then ends without what is registered for the end of the process."""
    code = 1
    try:
        torch.set_num_threads(1)  # the threads of this process are not in its copy
        work()
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BaseException as error:
        told = str(error) if isinstance(error, FxscopeError) else f"{said(error)}\n{traceback.format_exc()}"
        os.write(writing, told.encode()[:50_000])
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _check(code: int, message: str, what: str) -> None:
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code < 0:
        message = f"signal {-code} ({signal.Signals(-code).name}) ended its process"
    if code:
        raise FxscopeError(f"{what} could not be made: {message}")
