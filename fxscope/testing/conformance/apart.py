"""A network measured in a process of its own: its memory goes back when it is done, and one that hangs or is killed is a line of the table too."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
from multiprocessing.connection import Connection, wait
from typing import Any

from .measure import measure
from .suites import members

LIMIT = 900
_KIND = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"


def measure_apart(suite: str, name: str, exports: bool = False, limit: float = LIMIT) -> dict[str, Any]:
    """``measure`` of one member of a suite in a fresh process, ended after ``limit`` seconds; the line has the process's peak memory as well.

    The processes are forked from a server that has imported torch and nothing else, so that a start costs the imports of the suite's package alone.
    """
    context = multiprocessing.get_context(_KIND)
    if _KIND == "forkserver":
        context.set_forkserver_preload([__name__])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measure_into, args=(theirs, suite, name, exports), daemon=True)
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


def _measure_into(connection: Connection, suite: str, name: str, exports: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it, and ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    line = measure(members(suite)[name], exports)
    connection.send({**line, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024})


def _end_with_parent() -> None:
    """A parent that is killed cannot end this process any more."""
    wait([multiprocessing.parent_process().sentinel])
    os._exit(1)
