"""The demonstration of the front page: rows and columns of three networks at one photograph, in the browser.

It is a page of ``fxscope.viewer`` in the folder of static files. The front page shows it in a frame, which a
browser fetches when it is opened.
"""

from __future__ import annotations

from pathlib import Path

from torch.nn import functional

import fxscope
from fxscope.images.photos import shipped
from fxscope.models import named
from fxscope.paper.tour.networks import network
from fxscope.viewer import Subject, View, write

NETWORKS = {"pixelshuffle4x": "PixelShuffle", "edsr_small4x": "EDSR, small", "bicubic4x": "bicubic"}
SIDE = 48
LIMIT = 10  # MB


def demonstration(path: Path) -> int:
    """Write the page; the number of its bytes."""
    picture = shipped("astronaut")[None, :, 20:260, 96:336]
    picture = functional.interpolate(picture, (SIDE, SIDE), mode="area")[0]
    return write(path, [_subject(name, called, picture) for name, called in NETWORKS.items()], LIMIT)


def _subject(name: str, called: str, picture) -> Subject:
    found = network(f"fxscope:{name}", named.build(name))
    lin = fxscope.interpret(found.module, found.take(picture))
    return Subject(called, f"{found.note}, 4 times larger", [View("astronaut", lin)], found.preprocess)


def write_demonstration(app) -> None:
    """Write it where it is not there yet."""
    path = app.outdir / "_static" / "live.html"
    if app.builder.format == "html" and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        demonstration(path)


def setup(app):
    app.connect("builder-inited", write_demonstration)
    return {"parallel_read_safe": True}
