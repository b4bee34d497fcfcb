"""Rows and columns of F live in the browser: computed in the page, or by a server on this machine."""

from .build import LIMIT, write
from .embedded import Held, demonstration, held, policy, shared
from .folder import ISOLATION, write_folder
from .interpreter import page
from .live import Live, Shown
from .server import bound, new_token, serve
from .subject import SIDE, Subject, View, note

__all__ = [
    "ISOLATION",
    "LIMIT",
    "SIDE",
    "Held",
    "Live",
    "Shown",
    "Subject",
    "View",
    "bound",
    "demonstration",
    "held",
    "new_token",
    "note",
    "page",
    "policy",
    "serve",
    "shared",
    "write",
    "write_folder",
]
