"""F = A B through the narrowest place of a network: many rows for the passes of that place's width."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx
from torch.utils import _pytree as pytree

from ..emit.forward import emit_replay
from ..emit.recorded import emit_record
from ..emit.sources import Slots
from ..emit.transposed import emit_pullback
from ..graph.ir import notes
from ..passes.narrowest import narrowest, split, work
from ..passes.outputs import tensors_of
from ..passes.rewrite import Program, Record
from ..results.progress import steps
from ..twins.places import shape_of
from .local.reach import own_images
from .spaces import only_floating

WORTH = 0.9  # of the time of plain passes, below which the factors are made
BYTES = 1 << 31  # of the factors, at most
FEWEST = 8  # products, below which the network is not searched for a narrow place


@dataclass(frozen=True)
class Side:
    """One factor: for every tensor of a space, its rows at the cut.

    Parameters
    ----------
    rows : list of torch.Tensor
        (B, w, numbers of the tensor) for a cut of w numbers.
    shapes : list of tuple
        The shapes of the tensors in the graphs, with the batch.
    space : Space
        The inputs or the outputs of F.
    """

    rows: list[torch.Tensor]
    shapes: list[tuple[int, ...]]
    space: Any

    def to_cut(self, v: Any) -> torch.Tensor:
        """(B, K, w) from stacked vectors (K, ...) of the space."""
        leaves = pytree.tree_leaves(v)
        parts = [torch.bmm(by_image(t, len(r)), r.transpose(1, 2)) for t, r in zip(leaves, self.rows)]
        return torch.stack(parts).sum(0) if len(parts) > 1 else parts[0]

    def from_cut(self, h: torch.Tensor) -> Any:
        """Stacked vectors of the space from (B, K, w)."""
        leaves = [
            torch.bmm(h, r).transpose(0, 1).reshape(h.shape[1], *shape)
            for r, shape in zip(self.rows, self.shapes)
        ]
        return self.space.build(leaves)


@dataclass(frozen=True)
class Factors:
    """F = A B of one interpreter: the factors between the inputs, the cut and the outputs."""

    inputs: Side
    outputs: Side

    def forward(self, v: Any) -> Any:
        """F v = A (B v) of stacked vectors."""
        return self.outputs.from_cut(self.inputs.to_cut(v))

    def adjoint(self, u: Any) -> Any:
        """F^T u = B^T (A^T u) of stacked vectors."""
        return self.inputs.from_cut(self.outputs.to_cut(u))

    def columns(self) -> torch.Tensor:
        """The columns of F of a single image, (n, N)."""
        first, second = (torch.cat([r[0] for r in side.rows], 1) for side in (self.inputs, self.outputs))
        return first.T @ second

    @property
    def T(self) -> Factors:
        """The factors of F^T."""
        return Factors(self.outputs, self.inputs)


def by_image(t: torch.Tensor, batch: int) -> torch.Tensor:
    """(K, B, ...) as (B, K, numbers)."""
    return t.reshape(len(t), batch, -1).transpose(0, 1)


def identity(lin: Any, start: int, count: int, shape: tuple[int, ...]) -> torch.Tensor:
    """The unit vectors from number ``start`` on of a place (B, ...), (K, B, ...), alike for every image."""
    seeds = torch.zeros(
        count, lin.batch, math.prod(shape) // lin.batch, dtype=lin.F.dtype, device=lin.F.device
    )
    seeds[torch.arange(count), :, torch.arange(start, start + count)] = 1
    return seeds.reshape(count, *shape)


class Cut:
    """The narrowest place of a prepared network.

    Attributes
    ----------
    inputs : tuple
        The shapes of the example's inputs, for which it is the narrowest.
    shape : tuple
        Its own shape on the example.
    dtype : torch.dtype
        Its dtype on the example.
    work : float
        Multiplications of one pass through the whole network.
    place : Record
        The place on the program's tape.
    """

    def __init__(self, program: Program, known: Slots, place: Record):
        self._program, self._known, self.place = program, known, place
        self.inputs = tuple(shape_of(p.node) for p in program.probes)
        self.shape: Any = shape_of(place.like)
        self.dtype = notes(place.like)["val"].dtype if place.like is not None else None
        self.work = work(program)

    @functools.cached_property
    def graphs(self) -> tuple[fx.GraphModule, fx.GraphModule, fx.GraphModule | None]:
        """(states, h2) -> x2, (states, h1) -> y1, and x0 -> (y0, the states beside the recorded ones)."""
        slots = self._known.copy()
        body, head = split(self._program, self.place)
        graphs = emit_pullback(body, "stacked", slots), emit_replay(head, "stacked", slots)
        more = slots.order[len(self._known.order) :]
        return *graphs, emit_record(self._program, "stacked", more) if more else None


def cut_of(program: Program, known: Slots, reach: Callable[[], dict[Any, Any]]) -> Cut | None:
    """The cut of a program some of whose states are known; None if there is none.

    None too if its first dimension does not follow the images of a batch.
    """
    place, x = narrowest(program), shape_of(program.probes[0].node)
    if place is None or x is None:
        return None
    if x and x[0] > 1 and not own_images(reach().get(place, {}), x[0]):
        return None
    return Cut(program, known, place)


def pays(lin: Any, cut: Cut | None, count: int, kept: int, each: float) -> bool:
    """Whether ``count`` products cost less through a cut than one by one.

    Parameters
    ----------
    lin : LinearInterpreter
        The interpreter; a cut is of use at the sizes of the example that told where it is.
    cut : Cut or None
        The narrowest place of the network, if it has one.
    count : int
        How many products are asked for.
    kept : int
        The numbers that are kept for every number of the cut.
    each : float
        What one product costs through the cut for every number of it, in multiplications of a pass.
    """
    if cut is None or cut.inputs != tuple(tuple(t.shape) for t in tensors_of(lin.x)):
        return False
    if len({*lin.F.inputs.dtypes, *lin.F.outputs.dtypes, cut.dtype}) > 1:
        return False  # a network that casts
    width = math.prod(cut.shape) // lin.batch
    fits = width * kept * lin.F.dtype.itemsize <= BYTES
    cheaper = width * (cut.work + each * count) <= WORTH * count * cut.work
    return fits and cheaper and not (lin.batch > 1 and lin.images_mix)


def factors(lin: Any, count: int, progress: bool) -> Factors | None:
    """The factors of ``lin.F``, if ``count`` products cost less with them than one by one."""
    cut: Cut | None = lin.prepared.cut if count >= FEWEST else None
    ends = sum(math.prod(s) for space in (lin.F.inputs, lin.F.outputs) for s in space.shapes)
    if cut is None or not pays(lin, cut, count, kept=ends, each=ends / 2):
        return None
    return _made(lin, cut, math.prod(cut.shape) // lin.batch, progress)


def _made(lin: Any, cut: Cut, width: int, progress: bool) -> Factors:
    """Run the identity at the cut backward to the inputs, and forward to the outputs."""
    lin.fresh.check()
    body, head, record = cut.graphs
    states, chunk = lin.states_with(record), lin.F.chunk
    bodies: list[list[torch.Tensor]] = []
    heads: list[list[torch.Tensor]] = []
    with torch.no_grad(), steps(width, "the narrowest place", progress) as bar:
        for start in range(0, width, chunk):
            some = min(chunk, width - start)
            seeds = identity(lin, start, some, cut.shape)
            bodies.append(pytree.tree_leaves(body(states, seeds)))
            heads.append(pytree.tree_leaves(only_floating(head(states, seeds))))
            bar.update(some)

    return Factors(_side(bodies, lin.batch, lin.F.inputs), _side(heads, lin.batch, lin.F.outputs))


def _side(parts: list[list[torch.Tensor]], batch: int, space: Any) -> Side:
    rows = [torch.cat(each) for each in zip(*parts)]
    return Side([by_image(t, batch).contiguous() for t in rows], [tuple(t.shape[1:]) for t in rows], space)
