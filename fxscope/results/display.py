"""How results show themselves: one line anywhere, and in a notebook a picture with a table.

A class says what it is by ``_said`` (the parts of its line) and ``_table``; its picture is its figure, or
what ``_picture`` gives. Whatever fails is said in its place: a debugger, and a notebook that is short of
memory, show what is left.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Iterable
from typing import Any

from ..errors import said as reason
from ..graph.registry import known
from .pictures import of_figure
from .tables import Column, Table, clipped, paragraph, printable, said

LINE = 119  # letters of a line, its name and brackets included
LIMIT = 200_000  # letters of HTML
FEW = 6  # numbers that a line has where a class does not say which


class Displayed:
    """Base of all that shows itself; what a subclass does not say is taken from its numbers or fields."""

    def _said(self) -> Iterable[str]:
        """The parts of the line; those that do not fit are left out."""
        single = (
            (k, said(v)) for k, v in numbers_of(self).items() if not isinstance(v, dict) and v is not None
        )
        return [f"{k.replace('_', ' ')} {v}" for k, v in single if v][:FEW]

    def _table(self) -> Table:
        """The table that a notebook shows."""
        rows = [(k.replace("_", " "), v) for k, v in numbers_of(self).items()]
        return Table(("", Column("value")), [row for row in rows if said(row[1])])

    def _markup(self) -> str:
        """The table as HTML."""
        return self._table().html()

    def _picture(self) -> str:
        """The markup of a picture; "" if there is none."""
        draw = known(self, "picture") or known(self, "plot")
        return of_figure(draw(self), f"figure of {self!r}") if draw else ""

    def __repr__(self) -> str:
        return line_of(type(self).__name__, self._said)

    def _repr_html_(self) -> str:
        return html_of(self.__repr__, self._markup, self._picture)


class Measured(dict, Displayed):  # type: ignore[type-arg]
    """Measured numbers by name: a dict, which shows itself as records do.

    Parameters
    ----------
    numbers : dict
        {name: number}.
    title : str
        What was measured.
    """

    def __init__(self, numbers: dict[Any, Any], title: str):
        super().__init__(numbers)
        self.title = title

    def __reduce__(self) -> tuple:
        return Measured, (dict(self), self.title)

    def _said(self) -> Iterable[str]:
        return [self.title, *(f"{k} {said(v, '.3g')}" for k, v in self.items())]

    def _table(self) -> Table:
        return Table(("", Column("value")), list(self.items()), self.title)

    __repr__ = Displayed.__repr__


def numbers_of(shown: Any) -> dict[str, Any]:
    """What ``numbers`` gives, or the fields of a dataclass."""
    if callable(given := getattr(shown, "numbers", None)):
        return given()
    return {f.name: getattr(shown, f.name) for f in dataclasses.fields(shown) if not f.name.startswith("_")}


def line_of(name: str, parts: Callable[[], Iterable[str]]) -> str:
    """``Name(part, part, ...)`` in one line of at most ``LINE`` letters."""
    try:
        inside = ", ".join(printable(str(part)) for part in parts())
    except Exception as error:
        inside = f"not shown: {printable(reason(error))}"
    name = clipped(name, 40)
    return f"{name}({clipped(inside, LINE - len(name) - 2)})"


def html_of(line: Callable[[], str], table: Callable[[], str], picture: Callable[[], str]) -> str:
    """The line, the picture and the table in at most ``LIMIT`` letters; what cannot be shown says why."""
    notes: list[str] = []
    drawn, rows = _tried(picture, "picture", notes), _tried(table, "table", notes)
    if len(drawn) + len(rows) > LIMIT - 2000:
        notes.append("The picture is too large for a notebook: .plot() draws it.")
        drawn = ""
    if len(rows) > LIMIT - 2000:
        notes.append("The table is too large for a notebook.")
        rows = ""
    paragraphs = "".join(paragraph(clipped(note, 300)) for note in notes)
    name = html.escape(printable(line()))  # after the table, which may have measured what it says
    scrolls = f'<div style="overflow-x:auto" role="group" aria-label="{name}" tabindex="0">{rows}</div>'
    return (
        f'<div class="fxscope-result"><p style="margin:.3em 0"><code>{name}</code></p>'
        f"{drawn}{scrolls if rows else ''}{paragraphs}</div>"
    )


def _tried(made: Callable[[], str], what: str, notes: list[str]) -> str:
    try:
        return made()
    except Exception as error:  # of a figure of what has none, without matplotlib, without memory
        notes.append(f"No {what}: {reason(error)}")
        return ""
