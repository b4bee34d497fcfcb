"""A network is measured in a process of its own.

Its memory is freed at the end, and a network that hangs or is killed becomes a line of the table too.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from .measure import measure
from .suites import members

LIMIT = 900
_KIND = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def measure_in_subprocess(
    suite: str, name: str, exports: bool = False, limit: float = LIMIT
) -> dict[str, Any]:
    """``measure`` one member of a suite in a fresh process, which is ended after ``limit`` seconds."""
    return in_subprocess(_measured, (suite, name, exports), limit)


def in_subprocess(function: Callable[..., dict], arguments: tuple, limit: float = LIMIT) -> dict[str, Any]:
    """What a function of a module returns in a fresh process, which is ended after ``limit`` seconds.

    The line has the peak memory of the process too. Processes are forked from a server that has imported only
    the function's module, so that a start costs only what the function itself imports.
    """
    context: Any = multiprocessing.get_context(_KIND)
    if _KIND == "forkserver":
        context.set_forkserver_preload([function.__module__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure_into, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        return _received(ours, process, limit)
    finally:  # also where a KeyboardInterrupt comes
        process.kill()
        process.join()
        ours.close()


def _received(
    connection: Connection, process: multiprocessing.process.BaseProcess, limit: float
) -> dict[str, Any]:
    if not connection.poll(limit):
        return {"status": "TIME_LIMIT", "reason": f"not measured within {limit:g} s", "seconds": limit}
    try:
        line = connection.recv()
        process.join(10)  # it takes down what its libraries hold
        return line
    except EOFError:
        process.join()
        return {
            "status": "ERROR",
            "reason": f"its process ended with code {process.exitcode}",
            "seconds": 0.0,
        }


def _measured(suite: str, name: str, exports: bool) -> dict[str, Any]:
    return measure(members(suite)[name], exports)


def _measure_into(connection: Connection, function: Callable[..., dict], arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    line = function(*arguments)
    connection.send({**line, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024})


def _end_with_parent() -> None:
    """A parent that is killed cannot end this process any more."""
    parent: Any = multiprocessing.parent_process()
    wait([parent.sentinel])
    os._exit(1)
