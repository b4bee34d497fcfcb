"""Cards: the text that a page shows when a box of a drawing is clicked."""

from __future__ import annotations

from dataclasses import dataclass

from .measured import spelled
from .operations import Box, Picture


@dataclass(frozen=True)
class Card:
    """The text of one box of a drawing.

    Parameters
    ----------
    name : str
        The operation or the kind of twin, its place in the model, and the branch.
    lines : tuple of str
        Role, rule and variant; formula; module; source line; frozen states; parameters.
    code : tuple of str
        The lines of generated code that the box stands for.
    rule : str
        The rule of the operation; "" of an input, a folded module, or a graph that was not rewritten.
    """

    name: str
    lines: tuple[str, ...]
    code: tuple[str, ...]
    rule: str = ""


def cards_of(picture: Picture) -> tuple[Card, ...]:
    """One card for each box of a picture, in the order of the boxes."""
    return tuple(_card(box) for box in picture.boxes.values())


def _card(box: Box) -> Card:
    branch = {"original": "original branch", "interpreter": "interpreter branch"}.get(box.branch, "")
    name = f"{box.name} {box.place}".strip() + (f" ({branch})" if branch else "")
    lines = box.hover + (["no twin: runs on x0 only"] if box.alone else [])
    probes = " (probes first)" if box.branch == "interpreter" and box.kind != "input" else ""
    sizes = [f"gives {box.shape}{probes}"] if box.shape else []
    count = sum(box.weights.values())
    sizes += [f"{spelled(count)} parameters"] if count else []
    sizes += [f"{spelled(box.adds)} multiply-adds"] if box.adds else []
    return Card(name, (*lines, *(["; ".join(sizes)] if sizes else [])), tuple(box.code), box.rule)
