"""Operators are judged in a process beside this one, so that none that hangs or crashes ends the run."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import torch

from .judge import DTYPES, database, judge_all


def judged(
    names: list[str], count: int, ways: tuple[str, ...], limit: float, dtype: str = "float64"
) -> Iterator[list[dict[str, Any]]]:
    """The lines of some operators, each as soon as it is known; ``limit`` is in seconds for one operator."""
    left = list(names)
    while left:
        for lines in _batch(left, count, ways, limit, dtype):
            left.remove(lines[0]["name"])
            yield lines


def _batch(
    names: list[str], count: int, ways: tuple[str, ...], limit: float, dtype: str
) -> Iterator[list[dict[str, Any]]]:
    """The lines of one process, until it has judged all, or is ended by one operator."""
    context: Any = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_judge_into, args=(theirs, names, count, ways, dtype), daemon=True)
    process.start()
    theirs.close()
    left, first = list(names), 60.0
    try:
        while left:
            if not ours.poll(limit + first):
                yield _ended(left[0], ways, f"not judged within {limit:g} s")
                return
            first = 0.0
            try:
                lines = ours.recv()
            except EOFError:
                process.join()
                yield _ended(left[0], ways, f"its process ended with code {process.exitcode}")
                return
            left.remove(lines[0]["name"])
            yield lines
    finally:
        process.kill()
        process.join()
        ours.close()


def _ended(name: str, ways: tuple[str, ...], said: str) -> list[dict[str, Any]]:
    line = {"name": name, "status": "crash", "samples": 0, "reasons": [said], "seconds": 0.0}
    return [{**line, "unknown": unknown} for unknown in ways]


def _judge_into(
    connection: Connection, names: list[str], count: int, ways: tuple[str, ...], dtype: str
) -> None:
    torch.set_num_threads(1)
    known = database(DTYPES[dtype])
    for name in names:
        connection.send(judge_all(name, known[name], count, ways, DTYPES[dtype]))
