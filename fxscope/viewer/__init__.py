"""Pages that compute rows and columns of F in the reader's browser."""

from .build import LIMIT, write
from .interpreter import page
from .subject import SIDE, Subject, View

__all__ = ["LIMIT", "SIDE", "Subject", "View", "page", "write"]
