"""Figures for publication: one or two columns wide, 8 pt text, signed data on one symmetric colour scale.

Every function but ``video`` returns a matplotlib ``Figure``; ``figure.savefig("row.pdf")`` writes a PDF, SVG
or PNG file.
"""

from . import records as records  # registers the figures of the records
from .bars import contributions
from .compared import compared
from .film import Video, video
from .filters import column, images, row
from .svd import eigen, shapes, spectrum

__all__ = [
    "Video",
    "column",
    "compared",
    "contributions",
    "eigen",
    "images",
    "row",
    "shapes",
    "spectrum",
    "video",
]
