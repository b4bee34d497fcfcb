"""Rows and joint back-projections: all constants of a network, projected to the pixels in one pass.

Both are linear in the cotangent y2, since the decisions are frozen. For many labels they therefore go through
the narrowest place of the network: they are made once for each of its numbers, and each label is a sum of
those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
import torch.fx as fx

from ..emit.projections import Joint, emit_joint, layer_of
from ..emit.recorded import emit_record
from ..emit.sources import Slots
from ..errors import FxscopeError
from ..linop.interpreter import LinearInterpreter
from ..linop.local.reach import reaches
from ..linop.narrow import FEWEST, Cut, by_image, cut_of, identity, pays
from ..passes.narrowest import split
from ..passes.rewrite import Program
from ..results.progress import steps


def joint_of(lin: LinearInterpreter, count: int, progress: bool = True) -> Plain | Narrow:
    """y2 (K, B, ...) -> rows, joint back-projections and the layers' contributions (K, B, layers)."""
    cut = _cut(lin, count) if count >= FEWEST else None
    graphs, record = lin.prepared.once(("joint", cut is None), lambda: _emitted(lin.program, cut))
    with lin.fresh_run():
        _, state = record(*lin._args)
    body, *head = [Plain(g, state, lin.batch) for g in graphs]
    return body if cut is None else Narrow(lin, body, head[0], cut.shape, progress)


def _cut(lin: LinearInterpreter, count: int) -> Cut | None:
    """The narrowest place, if ``count`` labels cost less through it than one by one."""
    program, numbers = lin.program, lin.x.numel()
    cut = lin.prepared.once("narrowest", lambda: cut_of(program, Slots(), lambda: reaches(program)))
    return cut if pays(lin, cut, count, kept=2 * numbers, each=numbers) else None


def _emitted(program: Program, cut: Cut | None) -> tuple[list[Joint], fx.GraphModule]:
    """The graphs of the whole, or of its two parts around a cut, and the one that records their states."""
    slots = Slots()
    programs = (program,) if cut is None else split(program, cut.place)
    names = [layer_of(r) for r in program.tape]  # of the whole: a batch norm's is in front of it
    ends = len(programs[0].tape)
    parts = (names[:ends], names[ends:])
    graphs = [emit_joint(p, slots, part) for p, part in zip(programs, parts)]
    return graphs, emit_record(program, "stacked", slots.order)


@dataclass(frozen=True)
class Plain:
    """Two passes for every cotangent: one backward with the constants' shares, one that projects these."""

    graphs: Joint
    state: tuple[torch.Tensor, ...]
    batch: int

    @property
    def numbers(self) -> int:
        """Numbers that one cotangent holds."""
        return max(1, sum(2 * s.numel() for s in self.state if s.dtype != torch.int64))

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers with constants."""
        return tuple(self.graphs.layers)

    def __call__(self, y2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, joint back-projections and the layers' contributions."""
        row, shares = self.graphs.shares(self.state, y2)
        if self.graphs.back is None:
            return row, torch.zeros_like(row), row.new_zeros(len(y2), self.batch, 0)
        sums = [summed(s, self.batch) for s in shares]
        layers = [reduce(torch.add, [sums[i] for i in at]) for at in self.graphs.layers.values()]
        return row, self.graphs.back(self.state, *shares), torch.stack(layers, -1)


class Narrow:
    """The same through the narrowest place h: y2 -> h is a short way, h -> pixels a matrix made once."""

    def __init__(self, lin: LinearInterpreter, body: Plain, head: Plain, shape: Any, progress: bool):
        self.head, self.like = head, lin.x
        self.names = tuple(dict.fromkeys((*body.layers, *head.layers)))
        self.at = [[self.names.index(n) for n in p.layers] for p in (body, head)]
        width, size = math.prod(shape) // lin.batch, max(1, min(lin.F.chunk, (1 << 26) // body.numbers))
        found = []
        with torch.no_grad(), steps(width, "the narrowest place", progress) as bar:
            for start in range(0, width, size):
                some = min(size, width - start)
                seeds = identity(lin, start, some, shape)
                found.append([by_image(t, lin.batch) for t in body(seeds)])
                bar.update(some)
        self.rows, self.images, self.contributions = (torch.cat(each, 1) for each in zip(*found))

    @property
    def numbers(self) -> int:
        """Numbers that one cotangent holds."""
        return 4 * self.like.numel()

    def __call__(self, y2: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Rows, joint back-projections and the layers' contributions."""
        h, own, head = (by_image(t, self.head.batch) for t in self.head(y2))
        rows = torch.bmm(h, self.rows)
        images = torch.bmm(h, self.images) + torch.bmm(own, self.rows)
        total = images.new_zeros(*images.shape[:2], len(self.names))
        total[..., self.at[0]] += torch.bmm(h, self.contributions)
        total[..., self.at[1]] += head
        shape = (len(y2), *self.like.shape)
        row, image = (t.transpose(0, 1).reshape(shape) for t in (rows, images))
        return row, image, total.transpose(0, 1)


def summed(share: torch.Tensor, batch: int) -> torch.Tensor:
    """The sum of a share for each image, (K, B).

    With one image any layout is possible, such as (K, L, B, E). With several, dimension 1 has to be the
    images.
    """
    if batch == 1:
        return share.flatten(1).sum(1, keepdim=True)
    if share.shape[1] != batch:
        raise FxscopeError(
            f"the share of a constant has shape {tuple(share.shape)}, whose first dimension after the"
            f" labels is not the batch of {batch}; interpret the images one by one"
        )
    return share.flatten(2).sum(2)
