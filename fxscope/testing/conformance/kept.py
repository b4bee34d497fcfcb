"""Lines of a matrix, kept in a file: a stopped run goes on where it stopped."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ...graph.interpretation import KEY, VERSION, of
from ...results.files import write_text

Line = dict[str, Any]


def kept_lines(
    path: Path | None, names: Iterable[str], measure: Callable[[str], Line], redo: bool = False
) -> Iterator[Line]:
    """The line of each name: of the file, or measured and written to the file at once.

    A line of another version of the interpretation is measured again: it describes another F.
    """
    finished = {} if path is None else read(path)
    for name in names:
        if name not in finished or redo or of(finished[name]) != VERSION:
            finished[name] = {"name": name, KEY: VERSION, **measure(name)}
            if path is not None:
                write(path, finished)
        yield finished[name]


def versions(*packages: str) -> dict[str, str]:
    """Of torch and of other packages."""
    return {package: importlib.metadata.version(package) for package in ("torch", *packages)}


def read(path: Path) -> dict[str, Line]:
    """{name: its line} of a file; empty if there is none."""
    if not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    return {line["name"]: line for line in lines}


def write(path: Path, lines: dict[str, Line]) -> None:
    """Write all lines and then replace the file, so that a stopped run leaves a complete one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines.values()))
