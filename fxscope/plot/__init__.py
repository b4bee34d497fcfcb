"""Figures for publication: one or two columns wide, 8 pt text, signed data on one symmetric colour scale.

Every function but ``video`` and ``look`` returns a matplotlib ``Figure``. ``figure.savefig("row.pdf")``
writes a PDF, SVG or PNG file whose text is text, and ``figure.alt`` says in words what there is to see.
Within ``with fxscope.plot.look("dark", size="slide"):`` figures are made for a dark slide.
"""

from . import records as records  # registers the figures of the records
from .bars import contributions
from .compared import compared
from .film import Video, video
from .filters import column, images, row
from .heatmap import heatmap
from .style import look
from .svd import eigen, shapes, spectrum
from .tokens import tokens

__all__ = [
    "Video",
    "column",
    "compared",
    "contributions",
    "eigen",
    "heatmap",
    "images",
    "look",
    "row",
    "shapes",
    "spectrum",
    "tokens",
    "video",
]
