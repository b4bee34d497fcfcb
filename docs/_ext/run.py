"""``{run}``: a block of Python that is executed when the site is built.

What it prints and shows appears below it.

The blocks of a page share one namespace, from top to bottom. A block that ends in an expression shows its
value: a drawing as a graph that can be clicked, a matplotlib figure as SVG, an object with ``_repr_html_`` as
that, anything else as text. ``:hide:`` leaves the code out, ``:rows: n`` bounds what is printed.
"""

from __future__ import annotations

import ast
import collections
import contextlib
import html
import io
import re
import warnings

from docutils import nodes
from docutils.parsers.rst import directives
from gallery import in_words
from sphinx.util.docutils import SphinxDirective

from fxscope.render import Drawing

_figures = 0
_namespaces: dict[str, dict] = {}  # of every page; not in the environment, which is pickled


class Run(SphinxDirective):
    has_content = True
    option_spec = {"hide": directives.flag, "rows": directives.nonnegative_int}

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        namespace = _namespaces.setdefault(self.env.docname, {"__name__": f"docs_{self.env.docname}"})
        try:
            printed, value = execute(code, namespace, f"{self.env.docname}:{self.lineno}")
        except Exception as error:
            raise self.error(f"{type(error).__name__}: {error}") from error
        found: list[nodes.Node] = []
        if "hide" not in self.options:
            found.append(nodes.literal_block(code, code, language="python"))
        if printed:
            found.append(_text(_first(printed, self.options.get("rows"))))
        up = "../" * self.env.docname.count("/")
        return found + shown(value, self.options.get("rows"), f"{up}rules/cards/")


def execute(code: str, namespace: dict, name: str) -> tuple[str, object]:
    """What a block prints, and the value of its last line where that is an expression."""
    tree = ast.parse(code)
    last = (
        ast.Expression(tree.body.pop().value) if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    )
    readable(code, name)
    out = io.StringIO()
    with contextlib.redirect_stdout(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(tree, name, "exec"), namespace)
        value = eval(compile(last, name, "eval"), namespace) if last else None
    return out.getvalue(), value


def readable(code: str, name: str) -> None:
    """Let source lines of the block be found, so that graphs traced in it name the line."""
    import linecache

    linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)


def shown(value: object, rows: int | None = None, rules: str = "") -> list[nodes.Node]:
    """The value of a block as nodes; ``rules`` is the address of the pages of rules."""
    if value is None:
        return []
    if isinstance(value, Drawing):
        return [_raw(value.clickable(page_style=True, rules=rules))]
    if hasattr(value, "savefig"):
        return [_raw(figure_svg(value))]
    markup = getattr(value, "_repr_html_", None)
    if markup is not None:
        return [_raw(f'<div class="fxscope-value">{markup()}</div>')]
    return [_text(_first(str(value), rows))]


def figure_svg(figure) -> str:
    """A matplotlib figure as inline SVG on white paper, its ids its own."""
    global _figures
    _figures += 1
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    prefix = f"fig{_figures}-"
    named = collections.Counter()  # an id that several artists have is one only of the first

    def once(found: re.Match) -> str:
        named[found[1]] += 1
        return found[0] if named[found[1]] == 1 else f'id="{found[1]}-{named[found[1]]}"'

    svg = re.sub(r'\bid="([^"]+)"', once, svg)
    svg = re.sub(r'\bid="', f'id="{prefix}', svg)
    svg = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}", svg)
    told = html.escape(in_words(figure))
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{told}" ', 1)
    return f'<div class="fxscope-figure">{svg}</div>'


def _first(text: str, rows: int | None) -> str:
    lines = text.rstrip().splitlines()
    return "\n".join(
        lines
        if rows is None or len(lines) <= rows
        else [*lines[:rows], f"... {len(lines) - rows} more lines"]
    )


def _text(text: str) -> nodes.Node:
    node = nodes.literal_block(text, text, language="none")
    node["classes"].append("output")
    return node


def _raw(text: str) -> nodes.Node:
    return nodes.raw("", text, format="html")


def setup(app):
    app.add_directive("run", Run)
    app.connect("env-purge-doc", lambda app, env, docname: _namespaces.pop(docname, None))
    return {"parallel_read_safe": False}
