"""The size of every value of a program at an input size, by a run on fake tensors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx as fx
from torch._subclasses.fake_tensor import FakeTensorMode

from ..errors import ShapeError
from ..graph.assumptions import DTYPE, assumptions, broken, input_names
from ..graph.interpreter import Recorder


@contextlib.contextmanager
def on_fake_tensors() -> Iterator[None]:
    """Tensors that are made in the block have sizes alone, and meet real weights."""
    torch.clear_autocast_cache()  # its real weights are none of the fake run's, nor its fake ones the model's
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        torch.clear_autocast_cache()


def shapes_at(gm: fx.GraphModule, shape: tuple[int, ...], dtype: torch.dtype) -> dict[str, Any]:
    """{node: fake tensor} of the original graph at an input size."""
    names, known = input_names(gm), [a for a in assumptions(gm) if a.kind != DTYPE]
    unmet = broken(known, [torch.empty(shape, device="meta") for _ in names], names)
    if unmet is not None:
        made_for = f"the graph was not made for inputs of {tuple(shape)}: {unmet}"
        raise ShapeError(f"{made_for}; give example_inputs= of that size")
    recorder = Recorder(gm, lambda node, value: value)
    with on_fake_tensors():
        given = [torch.empty(shape, dtype=dtype) for n in gm.graph.nodes if n.op == "placeholder"]
        recorder.run(*given)
    return {node.name: value for node, value in recorder.kept.items()}
