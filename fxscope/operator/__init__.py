"""The recorded interpreter as a linear operator: F, its transpose, rows, columns, contributions."""

from .compare import Comparison, compare
from .contributions import Contributions
from .crop import LocalRow, local_row
from .filters import Filters
from .interpreter import LinearInterpreter, interpret
from .storage import Storage, storage
from .linear import FlatOperator, Operator
from .svd import SVD, Spectrum

__all__ = [
    "Comparison",
    "Contributions",
    "Filters",
    "FlatOperator",
    "LinearInterpreter",
    "LocalRow",
    "Operator",
    "SVD",
    "Spectrum",
    "Storage",
    "compare",
    "interpret",
    "local_row",
    "storage",
]
