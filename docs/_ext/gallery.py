"""The gallery: its figures with what they show in words, its groups, and where the API finds its examples.

Every matplotlib figure that a block of an example makes becomes an image. A drawing shows itself, and is the
thumbnail.
"""

from __future__ import annotations

import ast
import functools
import re
import warnings
from pathlib import Path

from fxscope.render import Drawing

PIXELS = 120  # an inch of a figure, whose text has 8 points
EXAMPLES = Path(__file__).parents[2] / "examples"
GROUPS = {
    "First steps": (
        "A row of a network, and what the choice of a policy changes in it.",
        ["own_network", "policies", "receptive_fields"],
    ),
    "Super-resolution and restoration": (
        "Trained networks of images: what an output reads, where an input goes, what passes.",
        [
            "rows_and_columns",
            "svd",
            "denoiser_filters",
            "train_through_residual",
            "copy_move",
            "pylops",
            "deepinv",
        ],
    ),
    "Classification": (
        "What adds up to a score, and which pixels speak for it.",
        ["contributions", "pixel_votes", "captum"],
    ),
    "Language models and transformers": (
        (
            "The attention pattern is frozen, and the values pass: what each token adds to a prediction."
            " Models of Hugging Face: :doc:`/how-to/transformers`."
        ),
        ["language_model", "vit_attention"],
    ),
    "Compilers and deployment": (
        "The rewritten graph is a plain module: it can be saved, served, and given rules of your own.",
        ["transform_and_export", "explain_from_onnx", "custom_rule"],
    ),
}
THUMBNAIL = re.compile(
    r'\.\. raw:: html\n\n    <div class="sphx-glr-thumbcontainer".*?'
    r":doc:`/gallery/plot_(\w+)`.*?\n    </div>\n",
    re.S,
)
OPEN = '.. raw:: html\n\n    <div class="sphx-glr-thumbnails">\n'
CLOSE = ".. raw:: html\n\n    </div>\n"


def figures(block, block_vars, gallery_conf, **kwargs) -> str:
    """Save the figures among the example's variables that no block before has shown."""
    from matplotlib.figure import Figure

    namespace = block_vars["example_globals"]
    shown = namespace.setdefault("__shown__", [])
    found = []
    for value in list(namespace.values()):
        if isinstance(value, Figure) and not any(value is other for other in shown):
            shown.append(value)
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=200)
            found.append(picture(Path(path).relative_to(gallery_conf["src_dir"]), value))
    last = namespace.get("___")  # what the block's last line gave
    if isinstance(last, Drawing) and not any(last is other for other in shown):
        shown.append(last)
        last.save(Path(next(block_vars["image_path_iterator"])).with_suffix(".svg"))
    return "\n".join(found)


def picture(path: Path, figure) -> str:
    """A figure at a size at which its text is as large as that of the page; a click shows all its pixels."""
    width = round(PIXELS * figure.get_figwidth())
    return (
        f".. image:: /{path.as_posix()}\n   :alt: {in_words(figure)}\n   :width: {width} px\n"
        "   :class: fxscope-picture\n"
    )


def in_words(figure) -> str:
    """What a figure shows, for those who do not see it: its own words, or the titles of its panels."""
    if getattr(figure, "alt", ""):
        return figure.alt.replace('"', "'")
    named = [figure._suptitle] if figure._suptitle else []
    axes = [axis for axis in figure.axes if axis.get_visible()]
    texts = [t.get_text() for t in [*named, *figure.texts]] + [a.get_title() or a.get_ylabel() for a in axes]
    said = dict.fromkeys(" ".join(text.split()) for text in texts if text.strip())
    return ("Figure: " + "; ".join(said) if said else "Figure").replace('"', "'")


def quiet(gallery_conf, name) -> None:
    """Before an example: what other packages warn of, with paths of this machine, is not what it prints."""
    warnings.simplefilter("ignore")


def grouped(index: str) -> str:
    """The gallery's page with its thumbnails in groups."""
    found = {m[1]: m[0] for m in THUMBNAIL.finditer(index)}
    named = [name for _, names in GROUPS.values() for name in names]
    if sorted(found) != sorted(named):
        raise ValueError(f"docs/_ext/gallery.py names no group of {set(found) ^ set(named)}, or two")
    title = re.search(r"Gallery\n=+\n\n.*?\n\n", index, re.S)[0]
    parts = [":orphan:\n", title]
    for name, (text, names) in GROUPS.items():
        parts += [f"{name}\n{'-' * len(name)}\n", f"{text}\n", OPEN, *(found[n] for n in names), CLOSE]
    listed = "".join(f"   /gallery/plot_{name}\n" for name in named)
    return "\n".join([*parts, f".. toctree::\n   :hidden:\n\n{listed}"])


def group(app) -> None:
    """Builder-inited, after the gallery has been written."""
    path = Path(app.srcdir) / "gallery" / "index.rst"
    index = path.read_text()
    if index.count(OPEN) == 1:  # not in groups yet
        path.write_text(grouped(index))


@functools.cache
def uses() -> dict[str, dict[str, str]]:
    """For every dotted name, and every method of a variable, the examples that use it: {page: title}."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(EXAMPLES.glob("plot_*.py")):
        text = path.read_text()
        title = text.split("\n")[1]
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute):
                found.setdefault(_name(node), {})[path.stem] = title
    return found


def _name(node: ast.Attribute) -> str:
    """``fxscope.plot.row`` of that, and ``.svd`` of what is looked up in a variable."""
    names, inner = [node.attr], node.value
    while isinstance(inner, ast.Attribute):
        names, inner = [inner.attr, *names], inner.value
    rooted = isinstance(inner, ast.Name) and inner.id == "fxscope"
    return ".".join(["fxscope", *names]) if rooted else f".{node.attr}"


def examples_of(name: str) -> dict[str, str]:
    """The examples that use a public name, or a method of an interpreter or of F."""
    *_, kind, last = ["", *name.split(".")]
    return uses().get(f".{last}" if kind in ("Operator", "LinearInterpreter") else name, {})


def link(app, what, name, obj, options, lines) -> None:
    """autodoc-process-docstring, when the sections are done: links to the examples."""
    found = examples_of(name)
    if found:
        links = ", ".join(f":doc:`{title} </gallery/{page}>`" for page, title in found.items())
        lines += ["", f"**In the gallery:** {links}.", ""]


def setup(app):
    app.connect("builder-inited", group, priority=900)
    app.connect("autodoc-process-docstring", link, priority=900)
    return {"parallel_read_safe": True}
