"""The gallery's scraper: every matplotlib figure that a block of an example makes becomes an image.

A drawing shows itself, and is the thumbnail.
"""

from __future__ import annotations

from pathlib import Path

from sphinx_gallery.scrapers import figure_rst

from fxscope.render import Drawing


def figures(block, block_vars, gallery_conf, **kwargs) -> str:
    """Save the figures among the example's variables that no block before has shown."""
    from matplotlib.figure import Figure

    namespace = block_vars["example_globals"]
    shown = namespace.setdefault("__shown__", [])
    paths = []
    for value in list(namespace.values()):
        if isinstance(value, Figure) and not any(value is other for other in shown):
            shown.append(value)
            path = next(block_vars["image_path_iterator"])
            value.savefig(path, dpi=200)
            paths.append(str(Path(path)))
    last = namespace.get("___")  # what the block's last line gave
    if isinstance(last, Drawing) and not any(last is other for other in shown):
        shown.append(last)
        last.save(Path(next(block_vars["image_path_iterator"])).with_suffix(".svg"))
    return figure_rst(paths, gallery_conf["src_dir"]) if paths else ""
