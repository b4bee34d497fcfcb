"""What every page gets when its HTML is made.

What scrolls sideways can be reached by the keyboard, the captions of the menu are headings of a level, and a
search shows its snippets from disk, where a browser lets no page read another.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

SCROLLS = {  # classes of what is wider than a phone
    "table-wrapper": "table",
    "math": "equation",
    "fxscope-value": "result",
    "fxscope-figure": "figure",
    "fxscope-wide": "table",
}
OUTPUT = re.compile(r'(<div class="[^"]*\bhighlight-(?:none|text)\b[^"]*"><div class="highlight"><pre)>')
LENGTH = 40_000  # characters of a page among the texts of the search
LAW = re.compile(r"^( {2})(law \d+(?: row| batch| size| example| frontend| memory| form)?)\b", re.M)
FROM_DISK = """
/* From disk no page may read another one: then these are the texts that the search cuts its snippets from. */
if (location.protocol === "file:") {
  const root = document.documentElement.dataset.content_root;
  window.fetch = async (address) => {
    const name = address.slice(root.length).replace(/\\.html$/, "");
    return { text: async () => `<div role="main">${texts[name] ?? ""}</div>` };
  };
}
"""


def reachable(body: str) -> str:
    """The body of a page in which everything that may scroll takes the focus."""
    body = OUTPUT.sub(r'\1 tabindex="0" role="group" aria-label="output">', body)
    for name, label in SCROLLS.items():
        given = rf'<div class="((?:[^"]* )?{name}(?: [^"]*)?)"(?![^>]*tabindex)'
        body = re.sub(given, rf'<div class="\1" tabindex="0" role="group" aria-label="{label}"', body)
    # a thumbnail's link hides its title, which stands below it
    body = re.sub(
        r'(<a class="reference internal" href="plot_\w+\.html")(><span class="doc">(.*?)</span>)',
        _titled,
        body,
    )
    # a drawing that can be clicked is no single picture
    return re.sub(r'(<svg [^>]*class="fxscope-drawing"[^>]*) role="img"', r'\1 role="group"', body)


def _titled(found: re.Match) -> str:
    return f'{found[1]} aria-label="{html.escape(html.unescape(found[3]))}"{found[2]}'


def linked(body: str, root: str) -> str:
    """The lines of a printed ``verify``, each with a link to what its law says."""

    def link(found: re.Match) -> str:
        return f'{found[1]}<a href="{root}laws.html#{found[2].replace(" ", "-")}">{found[2]}</a>'

    return LAW.sub(link, body)


def nested(body: str) -> str:
    """The list of source files, whose inner lists are each in an item."""
    head, first, rest = body.partition("<ul>")
    inner, last, tail = rest.rpartition("</ul>")
    inner = inner.replace("<ul>", "<li><ul>").replace("</ul>", "</ul></li>")
    return head + first + inner + last + tail


def finish(app, pagename, templatename, context, doctree) -> None:
    """html-page-context, after the theme's."""
    if pagename == "_modules/index":
        context["body"] = nested(context["body"])
    if context.get("body"):
        context["body"] = linked(reachable(context["body"]), "../" * pagename.count("/"))
    menu = context.get("furo_navigation_tree")
    if menu:
        context["furo_navigation_tree"] = menu.replace('role="heading"', 'role="heading" aria-level="2"')


def text_of(page: str) -> str:
    """The text of a page in its sections, which a search looks up by their ids."""
    found = re.search(r"<article[^>]*>(.*?)</article>", page, re.S)
    inner = re.sub(
        r'<(svg|script|style|math)\b.*?</\1>|<a class="headerlink.*?</a>',
        "",
        found[1] if found else "",
        flags=re.S,
    )
    parts = re.split(r'(<section id="[^"]+">|</section>)', inner)
    plain = (html.unescape(re.sub(r"<[^>]*>", " ", part)) for part in parts[::2])
    said = [html.escape(re.sub(r"\s+", " ", part)) for part in plain]
    return "".join(x for pair in zip(said, [*parts[1::2], ""]) for x in pair)[:LENGTH]


def write_texts(app, error) -> None:
    """The texts of all pages, when they are there."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    texts = {
        name: text_of((out / f"{name}.html").read_text(encoding="utf-8"))
        for name in sorted(app.env.found_docs)
    }
    script = f"const texts = {json.dumps(texts, ensure_ascii=False)};{FROM_DISK}"
    (out / "_static" / "texts.js").write_text(script, encoding="utf-8")


def setup(app):
    app.connect("html-page-context", finish, priority=900)
    app.connect("build-finished", write_texts)
    return {"parallel_read_safe": True}
