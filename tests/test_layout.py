"""A room imports only from the rooms above it in docs/layout.md; lazy and TYPE_CHECKING imports count too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROOMS = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "layout.md").read_text(), re.M)


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of fxscope in a file, wherever it stands; "" for the package itself."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = [*base, *(node.module or "").split(".")] if node.module else list(base)
            names = [[*module, alias.name] for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name[1] if len(name) > 1 else "") for name in names if name[0] == "fxscope")


def rooms() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted((ROOT / "fxscope").rglob("*.py")):
        found.setdefault(path.relative_to(ROOT / "fxscope").parts[0].removesuffix(".py"), []).append(path)
    return found


def test_the_page_names_every_room():
    private = {"__init__", "__main__", "_version"}
    assert rooms().keys() - private == set(ROOMS) and len(ROOMS) == len(set(ROOMS)) <= 22


def test_no_import_steps_back():
    order = {"_version": -1, **{room: i for i, room in enumerate(ROOMS)}}
    back = [
        f"{path.relative_to(ROOT)}:{line} imports {room or 'fxscope itself'}"
        for own, paths in rooms().items()
        if own in order
        for path in paths
        for line, room in imported(path)
        if order.get(room, len(order)) > order[own]
    ]
    assert not back, "\n".join(back)


def test_lines_fit():
    """At most 110 columns, as ruff formats code; docstrings and comments, which it leaves alone, too."""
    paths = [
        p for folder in ("fxscope", "tests", "examples", "docs/_ext") for p in (ROOT / folder).rglob("*.py")
    ]
    long = [
        f"{p.relative_to(ROOT)}:{i}"
        for p in paths
        for i, s in enumerate(p.read_text(encoding="utf-8").splitlines(), 1)
        if len(s) > 110
    ]
    assert not long, long
