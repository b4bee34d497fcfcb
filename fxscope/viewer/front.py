"""The front end as one script and one style, from its modules in ``front/``."""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

from .._version import __version__

FOLDER = Path(__file__).parent / "front"
_KEYS = "<kbd>r</kbd> and <kbd>c</kbd> switch, <kbd>p</kbd> pins"
INTRO = {
    "images": "Move over the photograph: the network runs {where}, and shows which pixels an output reads"
    " (a <em>row</em> of F) or where a pixel goes (a <em>column</em>). Arrow keys move, with shift eight"
    f" pixels; {_KEYS}; a click holds the place, and a drag with shift sums the rows of a box. Ctrl and the"
    " wheel, or two fingers, zoom.",
    "tokens": "Move over the tokens: the network runs {where}, and shows what the embedding of each token"
    " adds to the score that is read (a <em>row</em> of F), or what one token adds to every score (a"
    f" <em>column</em>). Arrow keys move; {_KEYS}; a click holds the token.",
}  # by what a page is about
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


def page(
    entry: str,
    title: str,
    where: str,
    footer: str,
    connect: str = "'none'",
    data: str = "",
    more: str = "",
    about: str = "images",
) -> tuple[str, str]:
    """A page, and its content policy.

    Parameters
    ----------
    entry : str
        The module that starts it.
    title, where, footer : str
        Of what it is, where the network runs, and what is said at its end, as HTML.
    connect : str
        What it may ask.
    data : str
        Elements that its script reads.
    more : str
        Further scripts that may run, and the policy of workers.
    about : str
        "images" or "tokens".
    """
    own, style = script(entry), text("style.css")
    policy = (
        f"default-src 'none'; script-src {hash_of(own)}{more}; style-src {hash_of(style)}; img-src blob:;"
        f" connect-src {connect}; base-uri 'none'; form-action 'none'"
    )
    filled = {
        "policy": policy,
        "generator": f"fxscope {__version__}",
        "title": html.escape(title),
        "style": style,
        "script": own,
        "intro": INTRO[about].format(where=where),
        "footer": footer,
        "data": data,
    }
    return re.sub(r"@(\w+)@", lambda mark: filled[mark[1]], text("page.html")), policy


def title_of(names: list[str]) -> str:
    """The title of a page about networks."""
    *first, last = names
    return f"Rows and columns of {' and '.join([', '.join(first), last] if first else [last])}"


def about(view: dict[str, Any]) -> str:
    """What a page is about whose first view is told so: images or tokens."""
    return "tokens" if view["kind"] == "tokens" else "images"


def as_data(name: str, found: Any) -> str:
    """An element of a page that holds JSON."""
    return (
        f'<script type="text/plain" id="{name}">{json.dumps(found).replace("<", chr(92) + "u003c")}</script>'
    )


def _in_order(name: str, found: list[str]) -> list[str]:
    """The names found so far, then those that a module needs and are not among them, then its own."""
    for needed in _IMPORT.findall(text(name)):
        if needed not in found:
            found = _in_order(needed, found)
    return [*found, name]


def _without_imports(name: str) -> str:
    return re.sub(r"^export ", "", _IMPORT.sub("", text(name)), flags=re.M)
