"""Docstrings as reStructuredText.

Those with NumPy sections go to napoleon; in the others formulas are indented, and arguments stand in columns.
"""

from __future__ import annotations

import re

ENTRY = re.compile(r"^(\S(?:.*?\S)?)(?: {2,}|;  )(\S.*)$")
SECTION = re.compile(r"^-{3,}$")


def to_rst(lines: list[str]) -> list[str]:
    """The lines of a docstring, block by block."""
    out: list[str] = []
    for block in _blocks(lines):
        out += [*_block(block), ""]
    return out


def _blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs; a block whose first line is indented is a formula of its own."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip():
            blocks.append([])
        else:
            blocks[-1].append(line.rstrip())
    return [b for b in blocks if b]


def _block(block: list[str]) -> list[str]:
    if block[0].startswith(">>>"):
        return block
    if all(line.startswith(" ") for line in block):
        return ["::", "", *("   " + line for line in block)]
    if (ENTRY.match(block[0]) and any(ENTRY.match(line) or line.startswith(" ") for line in block[1:])) or (
        len(block) == 1 and re.match(r"^[\w, ]+ {2,}\S", block[0])
    ):
        return _table(block)
    return [_escaped(line.strip()) for line in block]


def _table(block: list[str]) -> list[str]:
    """An argument a line, its continuation indented: a definition list."""
    out: list[str] = []
    for line in block:
        entry = None if line.startswith(" ") else ENTRY.match(line)
        if entry:
            out += [f"``{entry[1]}``", f"   {_escaped(entry[2])}"]
        elif line.startswith(" "):
            out.append(f"   {_escaped(line.strip())}")
        else:
            out += ["", _escaped(line)]  # a sentence behind the table
    return out


def _escaped(text: str, marks: str = r"[*|`\\_]") -> str:
    """Text without accidental markup; ``code`` stays."""
    parts = re.split(r"(``.+?``)", text)
    return "".join(p if p.startswith("``") else re.sub(f"({marks})", r"\\\1", p) for p in parts)


def process(app, what, name, obj, options, lines) -> None:
    """autodoc-process-docstring."""
    ours = getattr(obj, "__module__", "").startswith("fxscope") or name.startswith("fxscope")
    if not ours:
        return
    sections = any(SECTION.match(line.strip()) for line in lines)
    lines[:] = without_markup(list(lines)) if sections else to_rst(list(lines))


def without_markup(lines: list[str]) -> list[str]:
    """The lines of a docstring with NumPy sections, where ``|`` and ``*`` of a formula are no markup."""
    return [line if line.lstrip().startswith((">>>", "*")) else _escaped(line, "[*|]") for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", process)
    return {"parallel_read_safe": True}
