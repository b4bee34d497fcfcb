"""``Table``: one description of the columns of a record, which a notebook and the command line both print."""

from __future__ import annotations

import html
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

MOST = 40  # rows that HTML shows
HUGE = 10_000  # letters of which no more is read
SHORT = 30  # letters of a cell that is not broken into lines
WIDTH = 240  # letters of a cell


@dataclass(frozen=True)
class Column:
    """A column: its name, the unit of its numbers, and how they are written.

    Parameters
    ----------
    name, unit : str
        Its head; a column without a unit has none.
    form : str
        The format of its numbers, as of ``format(number, form)``.
    """

    name: str
    unit: str = ""
    form: str = ".4g"

    @property
    def head(self) -> str:
        """Name and unit."""
        return f"{self.name} [{self.unit}]" if self.unit else self.name


@dataclass(frozen=True)
class Table:
    """Rows of values under columns.

    Parameters
    ----------
    columns : sequence of Column or str
        A text is the name of a column without a unit.
    rows : sequence of sequences
        One value for each column.
    caption : str
        What it is about.
    notes : sequence of str
        What is said below it.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""
    notes: Sequence[str] = ()

    @property
    def _columns(self) -> list[Column]:
        return [Column(c) if isinstance(c, str) else c for c in self.columns]

    def cells(self, most: int | None = None) -> list[list[str]]:
        """The text of every cell of the first rows."""
        forms = [c.form for c in self._columns]
        return [[said(v, form) for v, form in zip(row, forms)] for row in list(self.rows)[:most]]

    def _right(self, most: int | None = None) -> list[bool]:
        """Whether a column holds numbers alone, which are set at the right."""
        columns = [[row[i] for row in list(self.rows)[:most]] for i in range(len(self.columns))]
        given = [[v for v in column if v not in (None, "")] for column in columns]
        return [bool(values) and all(map(_is_number, values)) for values in given]

    def text(self) -> str:
        """The table as lines of text."""
        heads, right = [c.head for c in self._columns], self._right()
        lines = [heads, *self.cells()] if any(heads) else self.cells()
        widths = [max((len(line[i]) for line in lines), default=0) for i in range(len(heads))]
        body = [
            "  ".join(
                c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)
            ).rstrip()
            for line in lines
        ]
        return "\n".join([*([self.caption] if self.caption else []), *body, *self.notes])

    def html(self, most: int = MOST) -> str:
        """The table as HTML that is XML too; every text is escaped."""
        cells, heads = self.cells(most), [c.head for c in self._columns]
        styles = [
            _NUMBER if right else _SHORT if all(len(row[i]) <= SHORT for row in cells) else _TEXT
            for i, right in enumerate(self._right(most))
        ]
        head = _row("th", heads, styles) if any(heads) else ""
        body = "".join(_row("td", row, styles) for row in cells)
        left_out = len(self.rows) - most
        notes = [*self.notes, *([f"{left_out} more rows"] if left_out > 0 else [])]
        table = (
            f'<table style="{_TABLE}">'
            + (f"<thead>{head}</thead>" if head else "")
            + f"<tbody>{body}</tbody></table>"
        )
        return paragraph(self.caption) + table + "".join(map(paragraph, notes))


def paragraph(text: str) -> str:
    """The text as a paragraph of HTML; nothing for none."""
    return f'<p style="margin:.3em 0">{_escaped(text)}</p>' if text else ""


def counted(number: int, what: str) -> str:
    """A number of things in words: "1 image", "2 images"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


_TABLE = "border-collapse:collapse;margin:.3em 0"
_CELL = "padding:.15em .6em;vertical-align:top"  # colours are those of the page around it
_NUMBER, _SHORT = "text-align:right;white-space:nowrap", "text-align:left;white-space:nowrap"
_TEXT = "text-align:left;overflow-wrap:break-word"


def _row(kind: str, cells: Sequence[str], styles: Sequence[str]) -> str:
    kinds = (kind if cell else "td" for cell in cells)  # a head without words is none
    each = (
        f'<{k}{_SCOPE[k]} style="{style};{_CELL}">{_escaped(cell)}</{k}>'
        for k, cell, style in zip(kinds, cells, styles)
    )
    return f"<tr>{''.join(each)}</tr>"


_SCOPE = {"th": ' scope="col"', "td": ""}


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def printable(text: str) -> str:
    """The text in one line, with escapes for what cannot be printed (or stand in XML)."""
    line = " ".join(text[:HUGE].split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def clipped(text: str, most: int = WIDTH) -> str:
    """The text in one line of at most so many letters."""
    line = printable(text)
    return line if len(line) <= most else line[: most - 3] + "..."


def said(value: Any, form: str = ".4g") -> str:
    """A value in a few letters: numbers by the format, tensors by shape and dtype, never their numbers."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        if value.ndim:
            return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        value = value.item()
    if value is None:
        return ""
    if isinstance(value, (bool, np.bool_)):
        return "yes" if value else "no"
    if isinstance(value, (Fraction, slice)):
        return f"{value.start}:{value.stop}" if isinstance(value, slice) else str(value)
    if isinstance(value, numbers.Real):
        return _number(value, form)
    if isinstance(value, (str, PurePath)):
        return clipped(str(value))
    return clipped(_several(value, form))


def _several(value: Any, form: str) -> str:
    """A dict, a sequence or another object: its entries if there are few of them, else how many."""
    if isinstance(value, dict):
        few = len(value) <= 4 and not any(isinstance(v, dict) for v in value.values())
        return ", ".join(f"{k} {said(v, form)}" for k, v in value.items()) if few else f"{len(value)} entries"
    if isinstance(value, (list, tuple)):
        if len(value) > 8 or any(isinstance(v, (list, tuple, dict, torch.Tensor)) for v in value):
            return f"{len(value)} entries"
        return f"({', '.join(said(v, form) for v in value)})"
    return repr(value)


def _number(value: Any, form: str) -> str:
    if isinstance(value, numbers.Integral) and not form.endswith(("d", "%")):
        return str(int(value))
    if form.endswith("d"):
        return format(value, form) if isinstance(value, numbers.Integral) else format(value, ".4g")
    return format(float(value), form) if math.isfinite(value) else str(float(value))


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.dim()
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
