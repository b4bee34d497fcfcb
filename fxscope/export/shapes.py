"""Which sizes of a graph's inputs are free when it is exported, and inputs of other sizes to check the file on.

B images, K probes of each: x0 of shape (B, ...), x1 of shape (K*B, ...) in the flat form, (K, B, ...) in the stacked one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch.export import Dim, ExportedProgram

from ..errors import FxscopeError
from ..ir import info


@dataclass(frozen=True)
class Layout:
    """Where images and probes lie among the inputs of a graph: positions of the inputs that hold B images, and of the probes."""

    images: tuple[int, ...]
    probes: tuple[int, ...]
    stacked: bool

    def sizes(self, inputs: tuple) -> tuple[int, int]:
        """(B, K) of some inputs."""
        B = inputs[self.images[0]].shape[0] if self.images else 1
        return B, (self.stack(inputs[self.probes[0]], B).shape[0] if self.probes else 0)

    def stack(self, x1: torch.Tensor, B: int) -> torch.Tensor:
        """Probes as (K, B, ...)."""
        return x1 if self.stacked else x1.unflatten(0, (-1, B))

    def resized(self, inputs: tuple, B: int, K: int) -> tuple:
        """The inputs cut, or repeated in variation, to B images and K probes."""
        given, _ = self.sizes(inputs)

        def resize(i: int, x: Any) -> Any:
            if i in self.images:
                return _fit(x, 0, B)
            if i in self.probes:
                x = _fit(_fit(self.stack(x, given), 1, B), 0, K)
                return x if self.stacked else x.flatten(0, 1)
            return x

        return tuple(resize(i, x) for i, x in enumerate(inputs))

    def tied(self, inputs: tuple) -> tuple:
        """The inputs with x1 = x0 (paper, eq. 3) where the probe has the shape of the image; else as they are."""
        if not self._comparable(inputs):
            return inputs
        x0 = inputs[self.images[0]]
        return tuple((x0[None] if self.stacked else x0) if i in self.probes else x for i, x in enumerate(inputs))

    def is_tied(self, inputs: tuple) -> bool:
        """Whether every probe is x0 itself."""
        if not self._comparable(inputs):
            return False
        x0 = inputs[self.images[0]]
        x1 = self.stack(inputs[self.probes[0]], x0.shape[0])
        return torch.equal(x1, x0.expand_as(x1))

    def _comparable(self, inputs: tuple) -> bool:
        if len(self.probes) != 1 or not self.images:
            return False
        x0 = inputs[self.images[0]]
        return self.stack(inputs[self.probes[0]], x0.shape[0]).shape[1:] == x0.shape


def placeholders(graph: fx.GraphModule) -> list[fx.Node]:
    """The inputs of a graph, in order."""
    return [n for n in graph.graph.nodes if n.op == "placeholder"]


def probe_positions(graph: fx.GraphModule) -> tuple[int, ...]:
    """Positions of the probes among the inputs: those of the interpreter branch."""
    return tuple(i for i, n in enumerate(placeholders(graph)) if info(n).branch == "interpreter")


def layout_of(graph: fx.GraphModule, inputs: tuple) -> Layout:
    """The layout of a graph; an input is taken to hold images where its first size is that of the first input."""
    probes = probe_positions(graph)
    tensors = [i for i, x in enumerate(inputs) if isinstance(x, torch.Tensor) and x.dim() and i not in probes]
    images = tuple(i for i in tensors if inputs[i].shape[0] == inputs[tensors[0]].shape[0])
    return Layout(images, probes, graph.meta.get("fxscope", {}).get("probes") == "stacked")


def free_shapes(layout: Layout, inputs: tuple) -> tuple:
    """``dynamic_shapes`` of torch.export with the batch and the number of probes free."""
    _require_probes(layout, inputs)
    B, K, KB = Dim("B", min=1), Dim("K", min=1), Dim("KB", min=1)
    probe = {0: K, 1: B} if layout.stacked else {0: KB}
    return tuple(probe if i in layout.probes else {0: B} if i in layout.images else None for i in range(len(inputs)))


def _require_probes(layout: Layout, inputs: tuple) -> None:
    B, _ = layout.sizes(inputs) if layout.stacked or not layout.probes else (inputs[layout.images[0]].shape[0], 0)
    for i in layout.probes:
        got = tuple(inputs[i].shape)
        if got[1] != B if layout.stacked else got[0] % B:
            form = "(K, B, ...)" if layout.stacked else "(K*B, ...)"
            raise FxscopeError(f"input {i} of shape {got} does not hold probes of {B} images, {form}; where the batch lies elsewhere, say what is free with dynamic_shapes=")


def free_sizes(program: ExportedProgram, layout: Layout) -> tuple[bool, bool]:
    """Whether the batch, and the number of probes, is free in an exported program."""
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    inputs = [values.get(name) for name in program.graph_signature.user_inputs]
    batch = [_symbols(inputs[i].shape[0]) for i in layout.images]
    probes = [_symbols(inputs[i].shape[0]).difference(*batch) for i in layout.probes]
    return bool(batch) and all(batch), bool(probes) and all(probes)


def _symbols(size: Any) -> set:
    return set(size.node.expr.free_symbols) if isinstance(size, torch.SymInt) else set()


def widened(inputs: tuple, layout: Layout) -> tuple:
    """The inputs repeated until B and K are at least two: exporters take a size of one for a constant."""
    B, K = layout.sizes(inputs)
    return layout.resized(inputs, max(B, 2), max(K, 2))


def cases(inputs: tuple, layout: Layout, free: tuple[bool, bool]) -> list[tuple]:
    """What to check a file on: the inputs; one more image and probe; one of each with x1 = x0. Only what is free varies."""
    found = [inputs]
    if any(free):
        B, K = layout.sizes(inputs)
        found.append(layout.resized(inputs, B + free[0], K + free[1]))
        if all(free) and (B, K) != (1, 1):
            found.append(layout.tied(layout.resized(inputs, 1, 1)))
    return found


def _fit(x: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    """x cut to ``size`` slices along ``dim``, or continued by its own slices, mirrored and scaled so that no two are equal."""
    while x.shape[dim] < size:
        more = x.narrow(dim, 0, min(size - x.shape[dim], x.shape[dim]))
        x = torch.cat([x, more.flip(-1) * 0.7 if x.is_floating_point() and x.dim() > dim + 1 else more], dim)
    return x.narrow(dim, 0, size)
