"""What rounding alone does to an emitted graph: decisions that flip, and how far each output moves.

A different kernel rounds differently. The mask bit of a unit at its kink may then flip, and this moves y1 and
rows far more than y0: one bit of 1.3 million moved inception's y1 by 2e-2, while y0 agreed to 2e-6. Running
the graph itself at x0 with different rounding shows how much; the decisions that change are counted and
named.
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
from .shapes import probe_positions

DRAWS, UNITS = 6, 8  # x0 is perturbed that many times, each entry by up to so many units of its rounding
NAMED = 3


@dataclass(frozen=True)
class Flips:
    """The decisions that rounding alone flips.

    changed   how many masks and indices flip, the most in one draw
    total     how many masks and indices there are
    places    where they flip
    moved     the largest relative change of every output
    """

    changed: int
    total: int
    places: tuple[str, ...]
    moved: tuple[float, ...]

    def __str__(self) -> str:
        where = ", ".join(self.places[:NAMED]) + (" ..." if len(self.places) > NAMED else "")
        return (
            f"rounding x0 otherwise flips {self.changed} of {self.total:,}"
            f" decisions{f' ({where})' if where else ''}, which moves the graph's own output by"
            f" {max(self.moved):.1e}"
        )


def flips(
    graph: fx.GraphModule, inputs: tuple, error: Callable[[torch.Tensor, torch.Tensor], float]
) -> Flips:
    """Run ``graph`` at x0 (1 + a few units of rounding), and compare.

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
    """The outputs, and the masks and indices of the original branch by the place that decided."""
    recorder = Recorder(graph, _decision)
    with torch.no_grad():
        outputs = tensors_of(recorder.run(*inputs))
    decided: dict[str, torch.Tensor] = {}
    for node, value in recorder.kept.items():
        place = info(node).place or node.name
        decided[place if place not in decided else node.name] = value
    return outputs, decided


def _decision(node: fx.Node, value: Any) -> torch.Tensor | None:
    """A mask or index that the original branch computed and the interpreter branch reads; else None."""
    found = isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.int64)
    return value if found and _frozen(node) and any(not _frozen(user) for user in node.users) else None


def _frozen(node: fx.Node) -> bool:
    return info(node).branch == "original" and info(node).role == "frozen"


def _perturbed(graph: fx.GraphModule, inputs: tuple, rng: torch.Generator) -> tuple:
    """The inputs with different rounding, except the probes."""
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
