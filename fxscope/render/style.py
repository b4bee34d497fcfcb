"""The style sheet of a drawing: colours for a light and a dark page, under the drawing's own id."""

from __future__ import annotations

from .palette import FAMILIES, MUTED, PALETTE, TEXT


def style(name: str) -> str:
    """CSS of the drawing with this id."""
    fixed = [
        "path.data{fill:none;stroke-width:1.2}",
        "path.freeze{fill:none;stroke-width:1.6;stroke-dasharray:5 3}",
        ".name{font-weight:600}",
        ".heading{font-weight:600}",
        ".title{font-weight:600;font-size:15px}",
        ".caption{font-weight:600;text-anchor:middle}",
        ".box:hover rect{stroke-width:2.4}",
        ".alone rect{stroke-dasharray:2 2}",
    ]
    return f"{_scoped(name, fixed)}{_scoped(name, _colours(''))}@media (prefers-color-scheme:dark){{{_scoped(name, _colours('dark_'))}}}"


def _scoped(name: str, rules: list[str]) -> str:
    """Rules put under the id: 'a,b{...}' becomes '#name a,#name b{...}'."""
    return "".join(",".join(f"#{name} {part}" for part in rule.partition("{")[0].split(",")) + "{" + rule.partition("{")[2] for rule in rules)


def _colours(page: str) -> list[str]:
    """The rules in which a light ("") and a dark ("dark_") page differ."""
    line, fill = f"{page}line", f"{page}fill"
    grey = getattr(PALETTE["linear"], line)
    rules = [
        f".page{{fill:{getattr(TEXT, fill)}}}", f"text{{fill:{getattr(TEXT, line)}}}", f".muted{{fill:{getattr(MUTED, line)}}}",
        f"path.data{{stroke:{grey}}}", f"marker.data path{{fill:{grey}}}",
    ]
    rules += [f".{kind} rect{{fill:{getattr(c, fill)};stroke:{getattr(c, line)}}}" for kind, c in PALETTE.items()]
    for label, kind in FAMILIES.items():
        colour = getattr(PALETTE[kind], line)
        rules += [f"path.{label}{{stroke:{colour}}}", f"marker.{label} path,text.{label}{{fill:{colour}}}"]
    return rules
