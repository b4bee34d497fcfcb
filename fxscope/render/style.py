"""The style sheet of one drawing, or of all drawings of a site, with a light and a dark scheme."""

from __future__ import annotations

from .palette import FAMILIES, MUTED, PALETTE, TEXT

FIXED = [
    "path.data{fill:none;stroke-width:1.2}",
    "path.freeze{fill:none;stroke-width:1.6;stroke-dasharray:5 3}",
    ".name{font-weight:600}",
    ".heading{font-weight:600}",
    ".title{font-weight:600;font-size:15px}",
    ".shape{font-size:10px;paint-order:stroke;stroke-width:3px;stroke-linejoin:round}",
    ".caption{font-weight:600;text-anchor:middle}",
    ".box:hover rect{stroke-width:2.4}",
    "a:focus rect{stroke-width:2.4}",
    ".alone rect{stroke-dasharray:2 2}",
    ".frame{fill-opacity:.045}",
    ".tag text{font-size:10px}",
    ".fold{cursor:pointer}",
    ".found rect{stroke-width:3}",
    ".chosen rect{stroke-width:3.4}",
]


def style(name: str) -> str:
    """CSS for the drawing with this id."""
    return (
        f"{_scoped(f'#{name}', FIXED)}{_scoped(f'#{name}', _colours(''))}@media"
        f" screen and (prefers-color-scheme:dark){{{_scoped(f'#{name}', _colours('dark_'))}}}"
    )


def site_style(light: str, dark: str) -> str:
    """One style sheet for all drawings of a site.

    ``light`` and ``dark`` are the selectors with which the page chooses a scheme, whatever the system
    prefers.
    """
    drawing = "svg.fxscope-drawing"
    system = _scoped(f"body:not({light}) {drawing}", _colours("dark_"))
    return (
        f"{_scoped(drawing, FIXED)}{_scoped(drawing, _colours(''))}@media"
        f" screen and (prefers-color-scheme:dark){{{system}}}"
        f"{_scoped(f'{dark} {drawing}', _colours('dark_'))}"
    )


def _scoped(scope: str, rules: list[str]) -> str:
    """Rules under a selector: 'a,b{...}' becomes '#name a,#name b{...}'."""
    return "".join(
        ",".join(f"{scope} {part}" for part in rule.partition("{")[0].split(","))
        + "{"
        + rule.partition("{")[2]
        for rule in rules
    )


def _colours(page: str) -> list[str]:
    """The rules that differ between a light page ("") and a dark one ("dark_")."""
    line, fill = f"{page}line", f"{page}fill"
    grey = getattr(PALETTE["linear"], line)
    rules = [
        f".page{{fill:{getattr(TEXT, fill)}}}",
        f"text{{fill:{getattr(TEXT, line)}}}",
        f".muted,.shape,.tag text{{fill:{getattr(MUTED, line)}}}",
        f".shape{{stroke:{getattr(TEXT, fill)}}}",
        f".frame{{fill:{getattr(TEXT, line)}}}",
        f"path.data{{stroke:{grey}}}",
        f"marker.data path{{fill:{grey}}}",
    ]
    rules += [
        f".{kind} rect{{fill:{getattr(c, fill)};stroke:{getattr(c, line)}}}" for kind, c in PALETTE.items()
    ]
    for label, kind in FAMILIES.items():
        colour = getattr(PALETTE[kind], line)
        rules += [f"path.{label}{{stroke:{colour}}}", f"marker.{label} path,text.{label}{{fill:{colour}}}"]
    return rules
