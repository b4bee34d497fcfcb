"""Rows and columns of F live in the browser: computed in the page, or by a server on this machine."""

from .build import LIMIT, write
from .folder import ISOLATION, write_folder
from .interpreter import page
from .live import Live, Shown
from .server import bound, new_token, serve
from .subject import SIDE, Subject, View, note

__all__ = [
    "ISOLATION",
    "LIMIT",
    "SIDE",
    "Live",
    "Shown",
    "Subject",
    "View",
    "bound",
    "new_token",
    "note",
    "page",
    "serve",
    "write",
    "write_folder",
]
