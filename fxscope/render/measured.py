"""What one run of a graph on an example tells: the shape of every result, and its multiply-adds."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..errors import WrongArgument
from ..graph.ir import emitted, info
from .operations import Picture, homes_of


def measure(gm: fx.GraphModule, picture: Picture, example: Any) -> None:
    """Write shapes and multiply-adds on the boxes of a picture that is not folded."""
    run = _Run(gm)
    inputs = _inputs(gm, example)
    try:
        with torch.no_grad():
            run.run(*inputs)
    except Exception as error:
        shapes = ", ".join(_shape(value) or repr(value) for value in inputs)
        raise WrongArgument(
            f"the graph does not run on example, {shapes}: {error}. Give what the graph itself is called with"
        ) from error
    for node, name in homes_of(gm).items():
        box = picture.boxes[name]
        box.adds += run.adds[node]
        if name[0] == "interpreter" or node.name == name[1] or not info(node).origin:
            box.shape = run.shapes[node] or box.shape  # of a twin, what its last node gives
    for (branch, key), (_, target) in picture.data:
        end = picture.boxes[branch, target]
        end.shape = end.shape or (picture.boxes[branch, key].shape if target == "output" else "")


def _inputs(gm: fx.GraphModule, example: Any) -> tuple:
    """The inputs of a run. One tensor is x0, and where the probe has its shape x1 too."""
    if isinstance(example, (tuple, list)):
        return tuple(example)
    if not isinstance(example, torch.Tensor):
        raise WrongArgument(f"example is a tensor or a tuple of the graph's inputs, got {example!r}")
    notes = emitted(gm)
    places = [node for node in gm.graph.nodes if node.op == "placeholder"]
    if notes.get("form") in ("pair", "filter") and len(places) == 2:
        return example, example[None] if notes.get("probes") == "stacked" else example
    return (example,)


class _Run(fx.Interpreter):
    """A run that keeps what each node gave only as long as another needs it."""

    def __init__(self, gm: fx.GraphModule) -> None:
        super().__init__(gm)
        self.shapes: dict[fx.Node, str] = {}
        self.adds: dict[fx.Node, int] = {}

    def run_node(self, n: fx.Node) -> Any:
        from torch.utils.flop_counter import FlopCounterMode  # with triton, where that is installed

        with FlopCounterMode(display=False) as counter:
            value = super().run_node(n)
        self.shapes[n], self.adds[n] = _shape(value), counter.get_total_flops() // 2
        return value


def _shape(value: Any) -> str:
    """1×64×56×56; of several tensors, one after the other."""
    if isinstance(value, torch.Tensor):
        return "×".join(map(str, value.shape)) or "number"
    if isinstance(value, (tuple, list)):
        return ", ".join(filter(None, map(_shape, value)))
    return ""


def spelled(count: int) -> str:
    """A count in three digits: 9,408 or 1.81 G."""
    for size, letter in ((10**9, "G"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            number = float(f"{count / (1000 if letter == 'k' else size):.3g}")
            return f"{number:g} {letter}"
    return f"{count:,}"
