"""Decisions of a graph that rounding alone flips, and the change of each output that they cause.

A different kernel rounds differently. This may flip the mask of a unit at its kink, which changes y1 and rows
far more than y0: in Inception one of 1.3 million mask elements changed y1 by 2e-2, while y0 agreed to 2e-6.
Run the graph on x0 with perturbed rounding to measure the effect, and count and name the decisions that
change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx

from ..graph.interpreter import Recorder
from ..graph.ir import info
from ..passes.outputs import tensors_of
from ..results.display import Displayed
from .shapes import probe_positions

DRAWS, UNITS = 6, 8  # x0 is perturbed that many times, each entry by up to so many units of its rounding
NAMED = 3


@dataclass(frozen=True, repr=False)
class Flips(Displayed):
    """The decisions that rounding alone flips.

    Parameters
    ----------
    changed : int
        The largest number of masks and indices that flip in one draw.
    total : int
        The number of all masks and indices.
    places : tuple of str
        The places at which they flip.
    moved : tuple of float
        The largest relative change of each output.
    """

    changed: int
    total: int
    places: tuple[str, ...]
    moved: tuple[float, ...]

    def __str__(self) -> str:
        where = ", ".join(self.places[:NAMED]) + (" ..." if len(self.places) > NAMED else "")
        return (
            f"perturbing x0 by its rounding flips {self.changed} of {self.total:,}"
            f" decisions{f' ({where})' if where else ''} and changes the graph's own output by"
            f" {max(self.moved):.1e}"
        )


def flips(
    graph: fx.GraphModule, inputs: tuple, error: Callable[[torch.Tensor, torch.Tensor], float]
) -> Flips:
    """Run ``graph`` on x0 and on x0 (1 + a few units of rounding), and compare the results.

    ``error(a, b)`` is the relative difference of two outputs.
    """
    outputs, decided = _run(graph, inputs)
    rng = torch.Generator().manual_seed(0)
    changed, moved = 0, [0.0] * len(outputs)
    places: dict[str, bool] = {}
    for _ in range(DRAWS):
        others, again = _run(graph, _perturbed(graph, inputs, rng))
        moved = [max(m, error(a, b)) for m, a, b in zip(moved, others, outputs)]
        counts = {place: int((again[place] != bits).sum()) for place, bits in decided.items()}
        changed = max(changed, sum(counts.values()))
        places |= {place: True for place, count in counts.items() if count}
    return Flips(changed, sum(b.numel() for b in decided.values()), tuple(places), tuple(moved))


def _run(graph: fx.GraphModule, inputs: tuple) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The outputs, and {place: its masks and indices} of the original branch."""
    recorder = Recorder(graph, _decision)
    with torch.no_grad():
        outputs = tensors_of(recorder.run(*inputs))
    decided: dict[str, torch.Tensor] = {}
    for node, value in recorder.kept.items():
        place = info(node).place or node.name
        decided[place if place not in decided else node.name] = value
    return outputs, decided


def _decision(node: fx.Node, value: Any) -> torch.Tensor | None:
    """The mask or index that this node of the original branch gives to the interpreter branch, or None."""
    found = isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.int64)
    return value if found and _frozen(node) and any(not _frozen(user) for user in node.users) else None


def _frozen(node: fx.Node) -> bool:
    return info(node).branch == "original" and info(node).role == "frozen"


def _perturbed(graph: fx.GraphModule, inputs: tuple, rng: torch.Generator) -> tuple:
    """The inputs with perturbed rounding, except the probes."""
    probes = probe_positions(graph)
    return tuple(
        (
            x
            if i in probes or not isinstance(x, torch.Tensor) or not x.is_floating_point()
            else _jittered(x, rng)
        )
        for i, x in enumerate(inputs)
    )


def _jittered(x: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    noise = (2 * torch.rand(x.shape, generator=rng) - 1).to(x)
    return x * (1 + UNITS * torch.finfo(x.dtype).eps * noise)
