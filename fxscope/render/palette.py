"""Colours: each kind of twin has one hue, as have the freeze edges that lead to it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Colour:
    """Colours of lines (and text) and of areas, on a light and on a dark background."""

    line: str
    fill: str
    dark_line: str
    dark_fill: str


PALETTE = {
    "mask": Colour("#bf2f49", "#fbe4e7", "#ff8a9d", "#4b212a"),
    "select": Colour("#1b68a8", "#dfedf9", "#74baff", "#17334e"),
    "normalize": Colour("#27733a", "#dff2e3", "#74d391", "#173b25"),
    "gate": Colour("#9a5200", "#fdebd2", "#f2ad55", "#432a0c"),
    "constant": Colour("#7247a8", "#ece3f8", "#c4a1f2", "#34244e"),
    "linear": Colour("#687080", "#f3f4f6", "#8f98a6", "#272c34"),
    "input": Colour("#7d6a00", "#fff5c7", "#dcc65f", "#3a3412"),
}
TEXT = Colour("#16181d", "#ffffff", "#eceff4", "#15171c")
MUTED = Colour("#565d69", "#ffffff", "#a9b1bd", "#15171c")

FAMILIES = {"mask": "mask", "index": "select", "stats": "normalize", "gate": "gate", "constant": "constant"}
MEANING = {
    "mask": "where the unit was on",
    "select": "the indices that won",
    "normalize": "mean and deviation",
    "gate": "a factor",
    "constant": "a value",
    "linear": "the operation itself",
}


def family(labels) -> str:
    """The kind of twin to which freeze edges with these labels lead; "linear" if there are no labels."""
    return next((kind for label, kind in FAMILIES.items() if label in labels), "linear")
