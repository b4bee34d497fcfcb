"""The recorded interpreter as a linear operator: F, its transpose, rows, columns, contributions."""

from .contributions import Contributions
from .interpreter import LinearInterpreter, interpret
from .storage import Storage, storage
from .linear import FlatOperator, Operator

__all__ = ["Contributions", "FlatOperator", "LinearInterpreter", "Operator", "Storage", "interpret", "storage"]
