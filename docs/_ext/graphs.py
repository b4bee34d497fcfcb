"""``{graphs} NAME``: a network as it is traced and as ``transform`` rewrites it, in tabs that need no script.

Every picture is drawn from the live code while the site is built. ``:forms:`` names the forms (default:
traced, pair, filter, adjoint). Large graphs are folded: a script expands their modules in place, and a
picture of every operation is a file beside. The generated code and the table of operations are there to open.
"""

from __future__ import annotations

import html
import inspect
import itertools
import re

import networks
from docutils import nodes
from docutils.parsers.rst import directives
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.util.docutils import SphinxDirective

import fxscope
import fxscope.render
from fxscope.frontend.symbolic import trace
from fxscope.render.page import script, sheet
from fxscope.render.style import site_style
from fxscope.rules import registry

FORMS = {
    "traced": ("traced", "The graph that torch.fx records."),
    "pair": (
        "pair",
        (
            "(x0, x1) → (y0, y1): the original branch, its linear interpreter, and the freeze edges between"
            " them."
        ),
    ),
    "filter": ("filter", "(x0, x1) → F(x0) x1: additive constants are gone, and what only they needed."),
    "residual": ("residual", "x0 → r(x0): what the additive constants add."),
    "adjoint": (
        "adjoint",
        "(x0, y2) → F(x0)ᵀ y2: the interpreter's tape in reverse, of ordinary operators.",
    ),
    "row": ("row", "(x0, index) → (y0, row, r): one output, how it reads x0, and what the constants add."),
}
COLOURED = 150  # lines of code; markup makes a page of more several times larger
_tabs = itertools.count(1)


class Graphs(SphinxDirective):
    required_arguments = 1
    option_spec = {"forms": directives.unchanged, "nosource": directives.flag}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        builder = getattr(networks, name)
        self.env.note_dependency(networks.__file__)
        found: list[nodes.Node] = []
        if "nosource" not in self.options:
            source = inspect.getsource(networks.SOURCES.get(name, builder)).rstrip()
            found.append(nodes.literal_block(source, source, language="python"))
        model = builder()
        forms = self.options.get("forms", "traced pair filter adjoint").split()
        graphs = {f: graph_of(model, f, networks.EXAMPLES.get(name)) for f in forms}
        examples = {f: networks.example(name, model, f) for f in forms}
        drawings = {f: fxscope.draw(gm, example=examples[f]) for f, gm in graphs.items()}
        group = f"tabs{next(_tabs)}"
        panes = [(FORMS[f][0], self.pane(name, gm, f, drawings[f])) for f, gm in graphs.items()]
        return [*found, nodes.raw("", side_by_side(drawings, group) + tabs(panes, group), format="html")]

    def pane(self, name: str, gm, form: str, drawing: fxscope.render.Drawing) -> str:
        """One tab: what it is, the picture, and what opens below it."""
        _title, text = FORMS[form]
        call = (
            "torch.fx.symbolic_trace(model)"
            if form == "traced"
            else f'fxscope.transform(model, emit="{form}")'
        )
        up = "../" * self.env.docname.count("/")
        parts = [
            f"<p>{html.escape(text)} <code>{html.escape(call)}</code></p>",
            drawing.clickable(page_style=True, rules=f"{up}rules/cards/"),
        ]
        full = fxscope.draw(gm, fold=False)
        if len(full.boxes) > len(drawing.boxes):
            path = f"_static/graphs/{name}-{form}.svg"
            file = self.env.app.outdir / path
            file.parent.mkdir(parents=True, exist_ok=True)
            full.save(file)
            parts.append(f'<p><a href="{up}{path}">All {len(full.boxes)} operations in one picture</a></p>')
        parts.append(details("The generated code", python(gm.code.strip())))
        if form != "traced":
            said = "Every operation: role, rule, variant, what is frozen, source line"
            parts.append(details(said, fxscope.summary(gm)._repr_html_()))
        return "".join(parts)


def graph_of(model, form: str, example: tuple | None = None):
    """The graph of a model in a form; "traced" is what the first stage makes."""
    return (
        trace(model, None, tuple(registry().modules))
        if form == "traced"
        else fxscope.transform(model, form, example_inputs=example)
    )


def side_by_side(drawings: dict[str, fxscope.render.Drawing], group: str) -> str:
    """All forms in one line and at one scale; a click on one opens its tab."""
    figures = []
    for i, (form, drawing) in enumerate(drawings.items()):
        name, width = re.search(r'<svg id="([^"]+)".*?viewBox="0 0 (\d+)', drawing.svg, re.S).groups()
        svg = re.sub(r"<style>.*?</style>\n?", "", drawing.svg, flags=re.S)
        svg = re.sub(
            r"<title.*?</title>|<desc.*?</desc>|<text.*?</text>", "", svg, flags=re.S
        )  # too small to read
        svg = re.sub(r" aria-(labelledby|describedby)=\"[^\"]*\"", "", svg).replace(
            'role="img"', 'aria-hidden="true"'
        )
        svg = re.sub(rf"\b{re.escape(name)}\b", f"{name}-small", svg)  # an id is unique in a page
        figures.append(
            f'<label for="{group}-{i}" style="flex:{width} 1'
            f' 0">{svg}<span>{html.escape(FORMS[form][0])}</span></label>'
        )
    return f'<div class="fxscope-side">{"".join(figures)}</div>'


def details(summary: str, body: str) -> str:
    return f"<details class='fxscope-more'><summary>{html.escape(summary)}</summary>{body}</details>"


def python(code: str) -> str:
    if code.count("\n") > COLOURED:
        return f'<div class="highlight"><pre>{html.escape(code)}</pre></div>'
    return highlight(code, PythonLexer(), HtmlFormatter())


def tabs(panes: list[tuple[str, str]], group: str) -> str:
    """Tabs by radio buttons: the style sheet shows the pane of the one that is checked."""
    shown = min(1, len(panes) - 1)
    heads = "".join(
        f'<input type="radio" name="{group}" id="{group}-{i}"{" checked" if i == shown else ""}><label'
        f' for="{group}-{i}">{html.escape(name)}</label>'
        for i, (name, _) in enumerate(panes)
    )
    return (
        "<div"
        f' class="fxscope-tabs">{heads}{"".join(f"<div class=pane>{body}</div>" for _, body in panes)}</div>'
    )


def write_style(app) -> None:
    """The style sheet and the script of all drawings."""
    if app.builder.format == "html":
        folder = app.outdir / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        checked = "".join(
            f".fxscope-tabs>input:nth-of-type({i}):checked~.pane:nth-of-type({i}){{display:block}}"
            for i in range(1, 8)
        )
        (folder / "drawings.css").write_text(
            site_style('[data-theme="light"]', 'body[data-theme="dark"]') + sheet() + checked
        )
        (folder / "drawings.js").write_text(script())


def setup(app):
    app.add_directive("graphs", Graphs)
    app.connect("builder-inited", write_style)
    app.add_css_file("drawings.css", priority=900)
    app.add_js_file("drawings.js", loading_method="defer")
    return {"parallel_read_safe": False}
