"""Demonstrations within another page: a button opens each of them, and all share one copy of the runtime."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import front
from .build import Networks, own_data, shared_data, shell
from .packing import compressed, in_planes, pack, written
from .subject import Subject

ENTRY, FRAME = "embed.js", "page.js"  # the script of the page around, and of the frames in it


@dataclass(frozen=True)
class Held:
    """A network of a demonstration: what is said of it and of its weights, and both as they are written."""

    about: dict[str, Any]
    told: dict[str, Any]
    graphs: str
    weights: str

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in the page."""
        return len(self.graphs) + len(self.weights)


def held(subject: Subject) -> Held:
    """A network at its photographs as a demonstration holds it.

    Raises
    ------
    FxscopeError
        If it cannot be exported, or computes something else then.
    """
    found = Networks([subject], half=False, smaller=None)
    (made,) = found
    ((told, stored),) = found.weights()
    index, packed = pack({**made.graphs, **made.arrays})
    weights = written(compressed(in_planes(stored, told["planes"])))
    return Held({"parts": index, "views": made.views}, told, written(compressed(packed)), weights)


def demonstration(photos: list[str], networks: list[Held]) -> str:
    """The elements of networks at the same photographs; they belong into a ``template`` of the page."""
    about: dict[str, Any] = {"photos": photos, "networks": [], "weights": []}
    blocks: dict[str, str] = {}
    for number, each in enumerate(networks):
        name, weights = f"network-{number}", f"weights-{number}"
        about["networks"].append({**each.about, "id": name, "weights": weights})
        about["weights"].append({**each.told, "name": weights})
        blocks |= {name: each.graphs, weights: each.weights}
    return own_data(about, blocks)


@functools.cache
def shared() -> str:
    """The elements that a page with demonstrations has once: the runtime, a frame's page, and the script."""
    frame = shell("Rows and columns, live", "images", "<!--data-->")
    return "\n".join(
        [
            f'<template id="fxscope-shared">{shared_data()}</template>',
            front.as_data("fxscope-shell", frame),
            f'<script type="module">{front.script(ENTRY)}</script>',
        ]
    )


def policy(live: bool, hashes: Sequence[str] = ()) -> str:
    """The content policy of a page of figures: it asks nothing of anybody, and runs what opens frames.

    A frame inherits it, and has a stricter one of its own. ``hashes`` are those of the page's other scripts.
    """
    found = (
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; base-uri 'none';"
        " form-action 'none'"
    )
    if not live:
        return f"{found}; script-src {' '.join(hashes)}" if hashes else found
    scripts = " ".join([*(front.hash_of(front.script(each)) for each in (ENTRY, FRAME)), *hashes])
    return f"{found}; script-src {scripts} 'wasm-unsafe-eval'; worker-src blob:"
