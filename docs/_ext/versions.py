"""Every page knows its version, and where the other versions of this documentation lie beside it.

A build holds the list of itself alone; ``docs/versions.py`` puts several builds side by side and writes the
list of all into each.
"""

from __future__ import annotations

import json
from pathlib import Path

LIST = Path("_static") / "versions.js"  # below the folder of a version
START = "window.fxscopeVersions = "


def written(pages: dict[str, list[str]]) -> str:
    """The list as a script: every version with its pages, and the newest."""
    return f"{START}{json.dumps({'newest': newest(pages), 'pages': pages})};\n"


def read(path: Path) -> dict[str, list[str]]:
    """The versions of a list, with their pages."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text.removeprefix(START).rstrip().removesuffix(";"))["pages"]


def newest(versions) -> str:
    """The largest version."""
    return max(versions, key=lambda version: [int(part) for part in version.split(".")])


def write_own(app) -> None:
    """A place for the list, so that pages can name it; its pages follow when they are known."""
    if app.builder.format == "html":
        path = Path(app.outdir) / LIST
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(written({app.config.version: []}), encoding="utf-8")


def write_pages(app, error) -> None:
    """The list of this build."""
    if app.builder.format == "html" and error is None:
        pages = sorted(app.env.found_docs)
        (Path(app.outdir) / LIST).write_text(written({app.config.version: pages}), encoding="utf-8")


def own_files(app, pagename, templatename, context, doctree) -> None:
    """Tell the script of a page which page of which version it is on."""
    app.add_js_file("versions.js", priority=201)
    told = {"data-version": app.config.version, "data-page": pagename}
    app.add_js_file("switcher.js", priority=202, **told)


def setup(app):
    app.add_css_file("switcher.css")
    app.connect("builder-inited", write_own)
    app.connect("html-page-context", own_files)
    app.connect("build-finished", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
