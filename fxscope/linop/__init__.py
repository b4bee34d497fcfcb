"""The recorded interpreter as a linear operator: F, its transpose, rows, columns, SVD."""

from .filters import Filters
from .interpreter import LinearInterpreter
from .linear import FlatOperator, Operator
from .local.crop import LocalRow, local_row
from .reader import Reader, interpret, prepare
from .svd import SVD, Spectrum

__all__ = [
    "SVD",
    "Filters",
    "FlatOperator",
    "LinearInterpreter",
    "LocalRow",
    "Operator",
    "Reader",
    "Spectrum",
    "interpret",
    "local_row",
    "prepare",
]
