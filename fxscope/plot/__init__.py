"""Figures fit for a paper: signed data on one symmetric scale, places marked, column width, 8 pt.

Every function returns a matplotlib ``Figure``; ``figure.savefig("row.pdf")`` writes PDF, SVG or PNG.
"""

from . import records as records  # registers the figures of the records
from .bars import contributions
from .compared import compared
from .filters import column, images, row
from .svd import eigen, shapes, spectrum

__all__ = ["column", "compared", "contributions", "eigen", "images", "row", "shapes", "spectrum"]
