"""The figure that every function of ``fxscope.plot`` returns: it has a text for those who cannot see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

SAVED: Any = {  # text stays text in SVG and PDF, and the same figure has the same bytes
    "svg.fonttype": "none",
    "svg.hashsalt": "fxscope",
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}
DPI = {"pdf": 600, "svg": 600, "eps": 600, "ps": 600}  # pixels keep their edges in print; all others have
SCREEN = 200
IN_TEX = str.maketrans(
    {c: f"\\{c}" for c in "#$%&_{}"}
    | {"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"}
    | {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", '"': "''"}
    | {"\u2212": "$-$", "\u2013": "--", "\u2026": r"\ldots{}", "\u00b1": r"$\pm$"}
)
LINES = """\\begin{{{kind}}}
  \\centering
  \\includegraphics[width=\\{width}]{{{file}}}
  \\caption{{{caption}}}
  \\label{{fig:{label}}}
\\end{{{kind}}}
"""
ALT = {"svg": "Description", "pdf": "Subject", "png": "Description"}  # where a file keeps the text


class House(Figure):
    """A matplotlib figure with an alternative text.

    Attributes
    ----------
    alt : str
        What there is to see, in words, with the caption: for the ``alt`` of a page. Files that
        ``savefig`` writes carry it.
    """

    alt: str = ""
    pictures: bool = False  # whether all panels are pictures, side by side

    def latex(self, file: str | Path) -> str:
        r"""The lines with which LaTeX includes the file, with the alternative text as the caption.

        A figure of one column is as wide as ``\columnwidth``, a larger one as ``\textwidth`` over both
        columns.
        """
        from .style import COLUMN

        narrow = self.get_figwidth() <= COLUMN
        width, kind = ("columnwidth", "figure") if narrow else ("textwidth", "figure*")
        name, text = Path(file), self.alt.translate(IN_TEX)
        return LINES.format(kind=kind, width=width, file=name.as_posix(), caption=text, label=name.stem)

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's ``savefig``, with text as text, and the alternative text inside.

        Pictures have 600 dots an inch in PDF and SVG, and 200 in PNG.
        """
        path = Path(fname) if isinstance(fname, str | Path) else None
        suffix = str(options.get("format") or (path.suffix[1:] if path else "png")).lower()
        if suffix in ALT and self.alt:
            options["metadata"] = {ALT[suffix]: self.alt} | (options.get("metadata") or {})
        with rc_context(SAVED):
            super().savefig(fname, **{"dpi": DPI.get(suffix, SCREEN), **options})
