"""What every page gets when its HTML is made.

What scrolls sideways can be reached by the keyboard, the captions of the menu are headings of a level, and a
search shows its snippets from disk, where a browser lets no page read another.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from cards import PLACES

SCROLLS = {  # classes of what is wider than a phone
    "table-wrapper": "table",
    "math": "equation",
    "fxscope-value": "result",
    "fxscope-figure": "figure",
    "fxscope-wide": "table",
    "fxscope-summary": "table",
}
OUTPUT = re.compile(r'(<div class="[^"]*\bhighlight-none\b[^"]*"><div class="highlight"><pre)>')
PRINTED = re.compile(
    r'(<div class="[^"]*\bhighlight-none\b[^"]*"><div class="highlight"><pre[^>]*>)(.*?)</pre>', re.S
)
TABLE = re.compile(r'<div class="([^"]*)"([^>]*)>(\s*<table.*?</table>)', re.S)
HEAD = re.compile(r'<th class="head">(?:<p></p>)?</th>')
CARD = re.compile(r"(?<![\w-])(\w+)\.html#rule-([a-z0-9-]+)")
BACK = re.compile(r'(<a class="viewcode-back" href="[^"#]*#)([^"]+)(">.*?</a>)')
WIDE = 90  # characters of a printed line; a longer one is cut in a column of text
ROWS = 40  # of a table; one with more scrolls within itself
COLUMNS = 8  # of a table; one with more is set smaller
SENTENCE = 60  # characters of a cell
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


def folded(body: str) -> str:
    """Printed text whose lines that are wider than a column of text go on below themselves."""

    def line(text: str) -> str:
        plain = html.unescape(re.sub(r"<[^>]*>", "", text))
        return f'<span class="fxscope-line">{text}</span>' if len(plain) > WIDE else text

    def block(found: re.Match) -> str:
        return f"{found[1]}{chr(10).join(map(line, found[2].split(chr(10))))}</pre>"

    return PRINTED.sub(block, body)


def bounded(body: str) -> str:
    """Tables of many rows, each in a box of its own that scrolls; a head without words is no head."""

    def box(found: re.Match) -> str:
        return f'<div class="{" ".join([found[1], *kinds(found[3])])}"{found[2]}>{found[3]}'

    return HEAD.sub('<td class="head"></td>', TABLE.sub(box, body))


def kinds(table: str) -> list[str]:
    """What is large about a table: its rows, its columns, or its last column, which holds sentences."""
    head, *rows = table.split("<tr")[1:]
    columns = len(re.findall("<t[hd]", head))
    last = [re.sub("<[^>]*>", "", row[row.rfind("<td") :]) for row in rows]
    found = {
        "fxscope-long": len(rows) > ROWS,
        "fxscope-small": columns >= COLUMNS,
        "fxscope-many": columns >= COLUMNS + 5,
        "fxscope-reasons": any(len(text) > SENTENCE for text in last),
    }
    return [name for name, holds in found.items() if holds]


def to_cards(body: str) -> str:
    """The links to rules, each to the page that has its card."""
    return CARD.sub(lambda found: f"{PLACES.get(found[2], found[1])}.html#rule-{found[2]}", body)


def back_to(objects: dict, body: str) -> str:
    """The links of a source file back to the API, each to an entry that is there."""

    def link(found: re.Match) -> str:
        *_, last = parts = found[2].split(".")
        inner = ".".join(parts[-2:])  # a method with its class, where that is one
        tail = inner if len(parts) > 1 and parts[-2][:1].isupper() else last
        entries = [name for name in objects if found[2] == name or name.endswith(f".{tail}")]
        there = found[2] if found[2] in entries else entries[0] if len(entries) == 1 else ""
        return f"{found[1]}{there}{found[3]}" if there else ""

    return BACK.sub(link, body)


def nested(body: str) -> str:
    """The list of source files, whose inner lists are each in an item."""
    head, first, rest = body.partition("<ul>")
    inner, last, tail = rest.rpartition("</ul>")
    inner = inner.replace("<ul>", "<li><ul>").replace("</ul>", "</ul></li>")
    return head + first + inner + last + tail


def finish(app, pagename, templatename, context, doctree) -> None:
    """html-page-context, after the theme's."""
    body = context.get("body")
    if pagename == "_modules/index":
        body = nested(body)
    elif pagename.startswith("_modules/"):
        body = back_to(app.env.get_domain("py").objects, body)
    if body:
        linked_to_laws = linked(reachable(bounded(body)), "../" * pagename.count("/"))
        context["body"] = to_cards(folded(linked_to_laws))
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
