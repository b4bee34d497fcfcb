"""The recorded interpreter as a linear operator: F, its transpose, rows, columns, SVD."""

from .filters import Filters
from .flat import FlatOperator
from .interpreter import LinearInterpreter
from .linear import Operator
from .local.crop import local_column, local_columns, local_row, local_rows
from .local.parts import LocalColumn, LocalRow
from .reader import Reader, interpret, prepare
from .store import StoredMap, open_map
from .svd import SVD, Spectrum

__all__ = [
    "SVD",
    "Filters",
    "FlatOperator",
    "LinearInterpreter",
    "LocalColumn",
    "LocalRow",
    "Operator",
    "Reader",
    "Spectrum",
    "StoredMap",
    "interpret",
    "local_column",
    "local_columns",
    "local_row",
    "local_rows",
    "open_map",
    "prepare",
]
