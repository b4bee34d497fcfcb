"""Operators are judged in a process beside this one, so that none that hangs or crashes ends the run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch

from .judge import DTYPES, database, judge


def judged(
    names: list[str], count: int, unknown: str, limit: float, dtype: str = "float64"
) -> Iterator[dict[str, Any]]:
    """The lines of some operators, each as soon as it is known; ``limit`` is in seconds for one operator."""
    left = list(names)
    while left:
        for line in _batch(left, count, unknown, limit, dtype):
            left.remove(line["name"])
            yield line


def _batch(names: list[str], count: int, unknown: str, limit: float, dtype: str) -> Iterator[dict[str, Any]]:
    """The lines of one process, until it has judged all, or is ended by one operator."""
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_judge_into, args=(theirs, names, count, unknown, dtype), daemon=True)
    process.start()
    theirs.close()
    left, first = list(names), 60.0
    try:
        while left:
            if not ours.poll(limit + first):
                yield _ended(left[0], f"not judged within {limit:g} s")
                return
            first = 0.0
            try:
                line = ours.recv()
            except EOFError:
                process.join()
                yield _ended(left[0], f"its process ended with code {process.exitcode}")
                return
            left.remove(line["name"])
            yield line
    finally:
        process.kill()
        process.join()
        ours.close()


def _ended(name: str, said: str) -> dict[str, Any]:
    return {"name": name, "status": "crash", "samples": 0, "reasons": [said], "seconds": 0.0}


def _judge_into(connection: Connection, names: list[str], count: int, unknown: str, dtype: str) -> None:
    torch.set_num_threads(1)
    known = database(DTYPES[dtype])
    for name in names:
        connection.send(judge(name, known[name], count, unknown, DTYPES[dtype]))
