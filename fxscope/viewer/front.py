"""The front end as one script and one style, from its modules in ``front/``."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import re
from pathlib import Path

from .._version import __version__

FOLDER = Path(__file__).parent / "front"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w-]+\.js)";\n', re.M)


@functools.cache
def script(entry: str = "page.js") -> str:
    """A module and all that it imports in one text, each before those that need it.

    The modules import names of each other only, in whole lines, and no two of them use one name.
    """
    return "\n".join(_without_imports(name) for name in _in_order(entry, []))


def text(name: str) -> str:
    """A file of the front end."""
    return (FOLDER / name).read_text(encoding="utf-8")


def hash_of(source: str) -> str:
    """The hash by which a content policy allows an inline script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def page(entry: str, title: str, footer: str, connect: str) -> tuple[str, str]:
    """A page that asks ``connect`` for all it shows, and its content policy."""
    own = script(entry)
    policy = (
        f"default-src 'none'; script-src {hash_of(own)}; style-src {hash_of(text('style.css'))};"
        f" img-src blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    filled = {
        "policy": html.escape(policy),
        "generator": f"fxscope {__version__}",
        "title": html.escape(title),
        "style": text("style.css"),
        "script": own,
        "where": "on this machine",
        "footer": footer,
        "data": "",
    }
    return re.sub(r"@(\w+)@", lambda mark: filled[mark[1]], text("page.html")), policy


def _in_order(name: str, found: list[str]) -> list[str]:
    """The names found so far, then those that a module needs and are not among them, then its own."""
    for needed in _IMPORT.findall(text(name)):
        if needed not in found:
            found = _in_order(needed, found)
    return [*found, name]


def _without_imports(name: str) -> str:
    return re.sub(r"^export ", "", _IMPORT.sub("", text(name)), flags=re.M)
