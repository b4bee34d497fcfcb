"""Docstrings as reStructuredText.

Those with NumPy sections go to napoleon; in the others formulas are indented, and arguments stand in columns.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pydoc import locate

from sphinx.util.nodes import make_refnode

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
    lines[:] = without_markup(typed(list(lines), obj)) if sections else to_rst(list(lines))


def typed(lines: list[str], obj) -> list[str]:
    """The lines in which an argument or attribute that names no type has that of the code."""
    known, inside, out = types_of(obj), False, []
    for i, line in enumerate(lines):
        if SECTION.match(line.strip()):
            inside = lines[i - 1].strip() in ("Parameters", "Attributes")
        head = inside and line and not line.startswith(" ") and not SECTION.match(line)
        if head and " : " not in line and not SECTION.match((lines[i + 1 : i + 2] or [""])[0].strip()):
            found = {known.get(name.strip(" *")) for name in line.split(",")}
            if len(found) == 1 and None not in found:
                line = f"{line} : {found.pop()}"
        out.append(line)
    return out


def types_of(obj) -> dict[str, str]:
    """The types of arguments and attributes, as they are written in the code; not those that say nothing."""
    written: dict[str, object] = {}
    if inspect.isclass(obj):
        for base in reversed(obj.__mro__):
            written |= vars(base).get("__annotations__", {})
    try:
        parameters = inspect.signature(obj).parameters
        written |= {name: p.annotation for name, p in parameters.items() if p.annotation is not p.empty}
    except (TypeError, ValueError):
        pass
    return {name: _said(t) for name, t in written.items() if t not in ("Any", "object")}


def _said(annotation: object) -> str:
    """A type in words: ``int | None`` is "int, optional"."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    parts = [part for part in text.split(" | ") if part != "None"]
    return " or ".join(parts) + (", optional" if " | None" in text else "")


def signature(app, what, name, obj, options, given, returned) -> tuple[str | None, str | None] | None:
    """autodoc-process-signature: the types of arguments stand beside their names, below."""
    if not given:
        return None
    given = re.sub(r"<[^<>]*>", "...", given)  # a default that has no spelling
    try:
        [function] = ast.parse(f"def f{given}: pass").body
    except SyntaxError as error:
        raise ValueError(f"the signature of {name} is no Python: {given}") from error
    arguments = function.args
    for each in [
        *arguments.posonlyargs,
        *arguments.args,
        *arguments.kwonlyargs,
        arguments.vararg,
        arguments.kwarg,
    ]:
        if each is not None:
            each.annotation = None
    return f"({ast.unparse(arguments)})", None if returned in ("Any", "~typing.Any") else returned


def reference(app, env, node, content):
    """missing-reference: a type under another name than its entry's, or one of the inside, which has none."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target:
        return None
    last = target.rpartition(".")[2]
    domain = env.get_domain("py")
    entries = [
        name for name in domain.objects if name.rpartition(".")[2] == last and name.startswith("fxscope")
    ]
    if len(entries) == 1 and last[:1].isupper():
        found = domain.objects[entries[0]]
        return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, content, entries[0])
    return content if target.startswith("fxscope.") and exists(target) else None


def exists(target: str) -> bool:
    """Whether there is a class of that name, also where a function has its module's name."""
    module, _, last = target.rpartition(".")
    return hasattr(sys.modules.get(module), last) or locate(target) is not None


def without_markup(lines: list[str]) -> list[str]:
    """The lines of a docstring with NumPy sections, where ``|`` and ``*`` of a formula are no markup."""
    return [line if line.lstrip().startswith((">>>", "*")) else _escaped(line, "[*|]") for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    app.connect("missing-reference", reference)
    return {"parallel_read_safe": True}
