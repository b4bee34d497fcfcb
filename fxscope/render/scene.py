"""All that a page needs to lay a graph out again when a module is expanded or folded."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

from . import crossing, geometry, layout, paths
from .fold import Group, folded_box, keys_of
from .geometry import Geometry
from .operations import Box, Picture
from .palette import FAMILIES
from .svg import CODE, headings

CONSTANTS = {
    name: getattr(module, name)
    for module, names in (
        (
            geometry,
            "LINE MARGIN GAP CHANNEL LEVEL HEADING NARROWEST WIDEST CROWDED PADDING STACK BOLD REGULAR",
        ),
        (layout, "LANE SPACE"),
        (paths, "TURN TIP ABOVE"),
        (crossing, "PITCH"),
    )
    for name in names.split()
} | {"APART": crossing.LANE}
LINES = 40  # of a box's text
NEAR = 1e-3  # of the distance of two columns: within a module that was one box


@dataclass(frozen=True)
class Scene:
    """A graph in every state of folding.

    Parameters
    ----------
    whole, drawn : Picture
        The graph with nothing folded, and as it is drawn.
    folded, groups : tuple of Group
        The modules that are folded, and all that can be.
    geometry : Geometry
        Positions of what is drawn.
    form : str
        The form of the graph.
    """

    whole: Picture
    drawn: Picture
    folded: tuple[Group, ...]
    groups: tuple[Group, ...]
    geometry: Geometry
    form: str

    def data(self) -> dict[str, Any]:
        """Everything as plain data; an operation is its position in ``keys``."""
        keys = keys_of(self.whole)
        at = {key: i for i, key in enumerate(keys)}
        weights: dict[str, int] = {}
        for box in self.whole.boxes.values():
            weights |= box.weights
        index = {path: i for i, path in enumerate(weights)}
        boxes = [*self.whole.boxes.values(), *self._folded()]
        return {
            "constants": CONSTANTS,
            "families": FAMILIES,
            "keys": keys,
            "branches": self.whole.branches(),
            "headings": headings(self.form),
            "boxes": [_record(box, index) for box in boxes],
            "groups": [[g.key, at[g.keys[0]], len(g.keys), g.name] for g in self.groups],
            "folded": [g.key for g in self.folded],
            "data": [[a[0], at[a[1]], at[b[1]]] for a, b in self.whole.data],
            "freezes": [
                [at[a[1]], at[b[1]], dict(sorted(carried.items()))]
                for (a, b), carried in self.whole.freezes.items()
            ],
            "weights": list(weights.values()),
            "hints": self._hints(keys),
            "order": [[*point, x] for point, x in self.geometry.layout.order.items()],
            "space": self.geometry.space,
            "shape": geometry.SHAPE,
            "top": self.geometry.top,
            "least": self.geometry.least,
        }

    def packed(self) -> str:
        """The data as text: JSON, gzip, base64."""
        text = json.dumps(self.data(), separators=(",", ":"), ensure_ascii=False)
        return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()

    def _folded(self) -> list[Box]:
        found = []
        for group in self.groups:
            for branch in self.whole.branches():
                inside = [self.whole.boxes[branch, k] for k in group.keys if (branch, k) in self.whole.boxes]
                if inside:
                    found.append(folded_box(branch, group, inside, self.whole.classes))
        return found

    def _hints(self, keys: list[str]) -> list[float]:
        """The x of every operation as it orders a row: that of its box, and within a folded one its own."""
        order = self.geometry.layout.order
        if not self.folded:
            return [order[key, 0] for key in keys]
        inside, within = {}, layout.order_of(self.whole)
        for group in self.folded:
            for key in group.keys:
                inside[key] = order[group.key, 0] + NEAR * (within[key] - within[group.keys[0]])
        return [inside[key] if key in inside else order[key, 0] for key in keys]


def _record(box: Box, index: dict[str, int]) -> dict[str, Any]:
    """A box as plain data, without what is empty."""
    found = {
        "b": box.branch,
        "k": box.key,
        "n": box.name,
        "p": box.place,
        "d": box.detail,
        "c": "" if box.kind == "linear" else box.kind,
        "o": box.order,
        "s": box.stack,
        "a": int(box.alone),
        "t": box.hover[:LINES],
        "g": box.code[:CODE],
        "r": box.rule,
        "z": box.shape,
        "w": [index[path] for path in box.weights],
        "f": box.adds,
    }
    return {name: value for name, value in found.items() if value}
