"""The recorded interpreter as a linear operator: F, its transpose, rows, columns, contributions."""

from .contributions import Contributions
from .crop import LocalRow, local_row
from .interpreter import LinearInterpreter, interpret
from .storage import Storage, storage
from .linear import FlatOperator, Operator
from .svd import SVD, Spectrum

__all__ = ["Contributions", "FlatOperator", "LinearInterpreter", "LocalRow", "Operator", "SVD", "Spectrum", "Storage", "interpret", "local_row", "storage"]
