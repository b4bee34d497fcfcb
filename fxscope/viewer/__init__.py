"""Pages that compute rows and columns of F in the reader's browser."""

from .build import LIMIT, write
from .interpreter import page
from .subject import SIDE, Subject, View, note

__all__ = ["LIMIT", "SIDE", "Subject", "View", "note", "page", "write"]
