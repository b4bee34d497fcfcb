"""Which sizes of a graph's inputs are free when it is exported, and inputs of other sizes to check the file on.

B images, K probes of each: x0 of shape (B, ...), x1 of shape (K*B, ...) in the flat form, (K, B, ...) in the stacked one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch.export import Dim, ExportedProgram

from ..ir import info


@dataclass(frozen=True)
class Layout:
    """Where images and probes lie among the inputs of a graph: positions of the inputs that hold B images, and of the probes."""

    images: tuple[int, ...]
    probes: tuple[int, ...]
    stacked: bool
    batch: int

    def stack(self, probe: torch.Tensor) -> torch.Tensor:
        """A probe input as (K, B, ...)."""
        return probe if self.stacked else probe.unflatten(0, (-1, self.batch))

    def unstack(self, probe: torch.Tensor) -> torch.Tensor:
        """(K, B, ...) as the graph takes it."""
        return probe if self.stacked else probe.flatten(0, 1)


def placeholders(graph: fx.GraphModule) -> list[fx.Node]:
    """The inputs of a graph, in order."""
    return [n for n in graph.graph.nodes if n.op == "placeholder"]


def probe_positions(graph: fx.GraphModule) -> tuple[int, ...]:
    """Positions of the probes among the inputs: those of the interpreter branch."""
    return tuple(i for i, n in enumerate(placeholders(graph)) if info(n).branch == "interpreter")


def layout_of(graph: fx.GraphModule, example: tuple) -> Layout:
    """The layout of a graph on an example; an input is taken to hold images where its first size is that of the first input."""
    probes = probe_positions(graph)
    tensors = [i for i, x in enumerate(example) if isinstance(x, torch.Tensor) and x.dim() and i not in probes]
    batch = example[tensors[0]].shape[0] if tensors else 1
    stacked = graph.meta.get("fxscope", {}).get("probes") == "stacked"
    return Layout(tuple(i for i in tensors if example[i].shape[0] == batch), probes, stacked, batch)


def free_shapes(layout: Layout, example: tuple) -> tuple:
    """``dynamic_shapes`` of torch.export with the batch and the number of probes free."""
    B, K, KB = Dim("B", min=1), Dim("K", min=1), Dim("KB", min=1)
    probe = {0: K, 1: B} if layout.stacked else {0: KB}
    return tuple(probe if i in layout.probes else {0: B} if i in layout.images else None for i in range(len(example)))


def free_sizes(program: ExportedProgram, layout: Layout) -> tuple[bool, bool]:
    """Whether the batch and the number of probes are free in an exported program."""
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    inputs = [values.get(name) for name in program.graph_signature.user_inputs]
    batch = all(_symbols(inputs[i].shape[0]) for i in layout.images)
    fixed = set().union(*(_symbols(inputs[i].shape[0]) for i in layout.images))
    probes = all(_symbols(inputs[i].shape[0]) - fixed for i in layout.probes)
    return bool(layout.images) and batch, bool(layout.probes) and probes


def _symbols(size: Any) -> set:
    return size.node.expr.free_symbols if isinstance(size, torch.SymInt) else set()


def widened(example: tuple, layout: Layout) -> tuple:
    """The example repeated until B and K are at least two: exporters take a size of one for a constant."""
    wide = _resize(example, layout, max(layout.batch, 2), 0)
    return _resize(wide, layout_with(layout, wide), max(layout.batch, 2), 2)


def cases(example: tuple, layout: Layout, batch_free: bool, probes_free: bool) -> list[tuple]:
    """The inputs to check a file on: the example; one more image and probe; one image and one probe, x1 = x0. Only what is free varies."""
    found = [example]
    if batch_free or probes_free:
        batch = layout.batch + batch_free
        found.append(_resize(example, layout, batch, _probes(example, layout) + probes_free))
    if batch_free and probes_free and (layout.batch > 1 or _probes(example, layout) > 1):
        found.append(tied(_resize(example, layout, 1, 1), layout_with(layout, None, 1)))
    return found


def tied(example: tuple, layout: Layout) -> tuple:
    """The example with x1 = x0 for one probe, where the probe has the shape of the first input."""
    x0 = example[layout.images[0]] if layout.images else None
    fits = x0 is not None and len(layout.probes) == 1 and layout.stack(example[layout.probes[0]]).shape[1:] == x0.shape
    return tuple(layout.unstack(x0[None]) if fits and i in layout.probes else x for i, x in enumerate(example))


def is_tied(example: tuple, layout: Layout) -> bool:
    """Whether every probe is x0 itself."""
    if len(layout.probes) != 1 or not layout.images:
        return False
    x0, x1 = example[layout.images[0]], layout.stack(example[layout.probes[0]])
    return x1.shape[1:] == x0.shape and torch.equal(x1, x0.expand_as(x1))


def layout_with(layout: Layout, example: tuple | None, batch: int | None = None) -> Layout:
    """The same layout at another batch size."""
    if batch is None:
        batch = example[layout.images[0]].shape[0] if layout.images else layout.batch
    return Layout(layout.images, layout.probes, layout.stacked, batch)


def _probes(example: tuple, layout: Layout) -> int:
    return layout.stack(example[layout.probes[0]]).shape[0] if layout.probes else 0


def _resize(example: tuple, layout: Layout, batch: int, count: int) -> tuple:
    """The example with ``batch`` images and at least (for one: exactly) ``count`` probes."""

    def resized(i: int, x: Any) -> Any:
        if i in layout.images:
            return _fit(x, 0, batch)
        if i in layout.probes:
            stacked = _fit(layout.stack(x), 1, batch)
            return layout.unstack(_fit(stacked, 0, count) if count == 1 or count > stacked.shape[0] else stacked)
        return x

    return tuple(resized(i, x) for i, x in enumerate(example))


def _fit(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """x with ``size`` slices along ``dim``: the first ones, or more of them, mirrored so that no two are equal."""
    while x.shape[dim] < size:
        more = x.narrow(dim, 0, min(size - x.shape[dim], x.shape[dim]))
        x = torch.cat([x, more.flip(-1) * 0.7 if x.is_floating_point() and x.dim() > dim + 1 else more], dim)
    return x.narrow(dim, 0, size)
