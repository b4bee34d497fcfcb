"""``{errors}``: one section for every class of ``fxscope.errors``, from its docstring and a message."""

from __future__ import annotations

import inspect

from docutils import nodes
from error_messages import EXAMPLES, said
from sphinx.util.docutils import SphinxDirective

import fxscope.errors


class Errors(SphinxDirective):
    def run(self) -> list[nodes.Node]:
        return [section(getattr(fxscope.errors, name)) for name in fxscope.errors.__all__]


def section(kind: type) -> nodes.section:
    """A section about one class: what it means, and what else it is caught as."""
    found = nodes.section(ids=[kind.__name__.lower()], names=[kind.__name__.lower()])
    found += nodes.title("", kind.__name__)
    for text in inspect.getdoc(kind).split("\n\n"):
        found += paragraph(" ".join(text.split()))
    found += nodes.paragraph("", "For example,")
    found += nodes.literal_block("", EXAMPLES[kind.__name__], language="python")
    found += nodes.paragraph("", "says")
    found += nodes.literal_block("", said(kind.__name__), language="text")
    builtin = [
        base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception
    ]
    if builtin:
        found += nodes.paragraph(
            "", "", nodes.Text("Caught as "), nodes.literal("", builtin[0]), nodes.Text(" too.")
        )
    return found


def paragraph(text: str) -> nodes.paragraph:
    """A paragraph in which `this` is code."""
    parts = text.split("`")
    return nodes.paragraph(
        "",
        "",
        *(nodes.literal("", part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts) if part),
    )


def setup(app):
    app.add_directive("errors", Errors)
    return {"parallel_read_safe": True}
