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
DPI = 200
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

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's ``savefig``: 200 dots an inch, text as text, and the alternative text inside."""
        path = Path(fname) if isinstance(fname, str | Path) else None
        suffix = str(options.get("format") or (path.suffix[1:] if path else "png")).lower()
        if suffix in ALT and self.alt:
            options["metadata"] = {ALT[suffix]: self.alt} | (options.get("metadata") or {})
        with rc_context(SAVED):
            super().savefig(fname, **{"dpi": DPI, **options})
