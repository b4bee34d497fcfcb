"""Figures as the files of a paper in two columns, to be compiled, printed and looked at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..plot.style import COLUMN, PAGE
from ..results.files import write_text

EACH = 6  # kinds of figures, before those that wait for a place are printed
TEXT = (
    "The text of the paper stands beside its figures, so that one sees whether their letters are as large"
    " as those that one reads, 123, and whether a figure is as wide as its column. "
)
PAPER = r"""\documentclass[10pt,twocolumn]{article}
\usepackage[utf8]{inputenc}
\usepackage{graphicx}
\usepackage[paperwidth=8.5in,paperheight=11in,textwidth=%gin,textheight=9.2in,columnsep=%gin]{geometry}
\renewcommand{\topfraction}{.95}\renewcommand{\dbltopfraction}{.95}
\renewcommand{\floatpagefraction}{.8}\renewcommand{\dblfloatpagefraction}{.8}
\title{All figures of fxscope %s, in one and in two columns}
\date{}
\begin{document}
\maketitle
%s\end{document}
"""


def paper(folder: str | Path, kinds: Iterable[tuple[str, dict[str, Any]]]) -> Path:
    """Write (name, {suffix: figure}) as PDF and a paper that includes each in its own size.

    Returns the path of ``paper.tex``. Compile it with pdflatex in its folder.
    """
    from .._version import __version__

    place, parts = Path(folder), []
    place.mkdir(parents=True, exist_ok=True)
    for number, (name, figures) in enumerate(kinds, 1):
        parts.append(f"\\section*{{{name.replace('_', ' ')}}}\n{TEXT}\n")
        for suffix, figure in figures.items():
            file = f"{name}-{suffix}.pdf"
            figure.savefig(place / file)
            parts.append(figure.latex(file))
        parts.append("\\clearpage\n" if number % EACH == 0 else "\n")
    gap = round(PAGE - 2 * COLUMN, 9)
    write_text(place / "paper.tex", PAPER % (PAGE, gap, __version__, "".join(parts)))
    return place / "paper.tex"
