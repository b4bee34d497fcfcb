"""What rounding alone does to an emitted graph: decisions that flip, and how far each output moves.

Another kernel rounds otherwise. A mask bit whose unit stands at its kink then flips, which moves y1 and rows by far more than
y0 (one bit of 1.3 million moved inception's y1 by 2e-2 while y0 agreed to 2e-6). The graph itself shows by how much: it is
run at x0 rounded otherwise, and the decisions that change are counted and named.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.fx as fx

from ..emit.pipeline import tensors_of
from ..graph.ir import info
from .shapes import probe_positions

DRAWS, UNITS = 6, 8  # x0 is perturbed that many times, each entry by up to so many units of its rounding
NAMED = 3


@dataclass(frozen=True)
class Flips:
    """``changed`` of ``total`` masks and indices, the most in one draw, at ``places``; ``moved``: the largest relative change of every output."""

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


def flips(graph: fx.GraphModule, inputs: tuple, error) -> Flips:
    """Run ``graph`` at x0 (1 + a few units of rounding) and compare; ``error(a, b)`` is the relative difference of two outputs."""
    outputs, decided = _run(graph, inputs)
    rng = torch.Generator().manual_seed(0)
    changed, places, moved = 0, {}, [0.0] * len(outputs)
    for _ in range(DRAWS):
        others, again = _run(graph, _perturbed(graph, inputs, rng))
        moved = [max(m, error(a, b)) for m, a, b in zip(moved, others, outputs)]
        counts = {place: int((again[place] != bits).sum()) for place, bits in decided.items()}
        changed = max(changed, sum(counts.values()))
        places |= {place: True for place, count in counts.items() if count}
    return Flips(changed, sum(b.numel() for b in decided.values()), tuple(places), tuple(moved))


def _run(graph: fx.GraphModule, inputs: tuple) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    recorder = _Decisions(graph)
    with torch.no_grad():
        return tensors_of(recorder.run(*inputs)), recorder.decided


class _Decisions(fx.Interpreter):
    """Runs a graph and keeps the masks and indices of its original branch, by the place that decided."""

    def __init__(self, graph: fx.GraphModule):
        super().__init__(graph)
        self.decided: dict[str, torch.Tensor] = {}

    def run_node(self, node: fx.Node):
        value = super().run_node(node)
        if isinstance(value, torch.Tensor) and value.dtype in (torch.bool, torch.int64) and _decides(node):
            place = info(node).place or node.name
            self.decided[place if place not in self.decided else node.name] = value
        return value


def _decides(node: fx.Node) -> bool:
    """A frozen node of the original branch that is read by more than the original branch itself."""
    return _frozen(node) and any(not _frozen(user) for user in node.users)


def _frozen(node: fx.Node) -> bool:
    return info(node).branch == "original" and info(node).role == "frozen"


def _perturbed(graph: fx.GraphModule, inputs: tuple, rng: torch.Generator) -> tuple:
    """x0 and everything beside it, rounded otherwise; the probes as they are."""
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
