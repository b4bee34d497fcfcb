"""Support boxes of rows and columns, and the whole of F as a sparse matrix: probes whose fields do not overlap share a pass."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import NotLocal, PlaceIndexError
from ...passes.rewrite import Program
from ...results.progress import steps
from .reach import Reach, reaches

if TYPE_CHECKING:
    from ..linear import Operator


@dataclass(frozen=True)
class Field:
    """A box that holds every coefficient which is not zero.

    box   one slice a dimension of the un-batched tensor;  shape  of that tensor
    """

    box: tuple[slice, ...]
    shape: tuple[int, ...]

    @property
    def full(self) -> bool:
        return all(s.stop - s.start == n for s, n in zip(self.box, self.shape))


class Support:
    """Which inputs every output can depend on, per axis: un-batched dimensions of a network of one input and one output."""

    def __init__(self, program: Program, F: Operator):
        self.inputs, self.outputs = F.inputs.shape, F.outputs.shape
        batched = 1 if not F.inputs.batched else 0
        found = reaches(program).get(next(iter(program.affine.values())), {})
        shifted = {
            d - batched: Reach(r.axis - batched, r.first, r.last)
            for d, r in found.items()
            if d >= batched and r.axis >= batched
        }
        axes = [r.axis for r in shifted.values()]
        self.reach = {d: r for d, r in shifted.items() if axes.count(r.axis) == 1}

    def receptive(self, index: tuple[int, ...]) -> Field:
        """The inputs that an output can depend on."""
        place = _checked(index, self.outputs)
        box = [slice(0, n) for n in self.inputs]
        for d, r in self.reach.items():
            first, last = int(r.first[place[d]]), int(r.last[place[d]])
            box[r.axis] = slice(first, last + 1) if first <= last else slice(0, 0)
        return Field(tuple(box), self.inputs)

    def projective(self, index: tuple[int, ...]) -> Field:
        """The outputs that can depend on an input."""
        place = _checked(index, self.inputs)
        box = [slice(0, n) for n in self.outputs]
        for d, r in self.reach.items():
            first, last = _touched(r, place[r.axis])
            box[d] = slice(first, last + 1)
        return Field(tuple(box), self.outputs)


def _checked(index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = index if isinstance(index, tuple) else (index,)
    whole = all(hasattr(i, "__index__") and not isinstance(i, (bool, np.bool_)) for i in index)
    if len(index) != len(shape) or not whole or not all(-n <= int(i) < n for i, n in zip(index, shape)):
        raise PlaceIndexError(f"index {index} is not a place of a tensor of shape {shape}")
    return tuple(int(i) % n for i, n in zip(index, shape))


def _touched(r: Reach, j: int) -> tuple[int, int]:
    """First and last place of a dimension whose interval holds j; (0, -1) where there is none."""
    where = np.nonzero((r.first <= j) & (j <= r.last))[0]
    return (int(where[0]), int(where[-1])) if len(where) else (0, -1)


def colours(intervals: list[tuple[int, int]]) -> list[int]:
    """A colour for every interval, so that those of one colour do not overlap; as few as there can be."""
    order = sorted(range(len(intervals)), key=lambda i: intervals[i])
    ends: list[int] = []
    found = [0] * len(intervals)
    for i in order:
        first, last = intervals[i]
        colour = next((c for c, end in enumerate(ends) if end < first), len(ends))
        ends[colour : colour + 1] = [max(last, first)]
        found[i] = colour
    return found


@dataclass(frozen=True)
class Plan:
    """How the whole matrix is found: by columns or by rows, and which places of every axis are probed together.

    groups  for every dimension of the probed space, lists of places that share a pass;  owners  for dimensions of the other
    space that follow one: {dimension: (probed dimension, owner of every place in every group, -1 where none)}
    """

    by: str
    groups: list[list[list[int]]]
    owners: dict[int, tuple[int, list[np.ndarray]]]

    @property
    def passes(self) -> int:
        count = 1
        for each in self.groups:
            count *= len(each)
        return count


def plan(support: Support) -> Plan:
    """By columns or by rows, whichever takes fewer passes."""
    return min((_plan(support, by) for by in ("columns", "rows")), key=lambda p: p.passes)


def _plan(support: Support, by: str) -> Plan:
    probed, other = (
        (support.inputs, support.outputs) if by == "columns" else (support.outputs, support.inputs)
    )
    groups = [[[i] for i in range(n)] for n in probed]
    owners: dict[int, tuple[int, list[np.ndarray]]] = {}
    for d, r in support.reach.items():
        axis, across = (r.axis, d) if by == "columns" else (d, r.axis)
        each = (
            [_touched(r, j) for j in range(probed[axis])]
            if by == "columns"
            else list(zip(r.first.tolist(), r.last.tolist()))
        )
        painted = colours(each)
        groups[axis] = [
            [i for i, c in enumerate(painted) if c == colour] for colour in range(max(painted) + 1)
        ]
        owners[across] = (axis, [_owner(group, each, other[across]) for group in groups[axis]])
    return Plan(by, groups, owners)


def _owner(group: list[int], intervals: list[tuple[int, int]], n: int) -> np.ndarray:
    owner = np.full(n, -1)
    for i in group:
        first, last = intervals[i]
        owner[max(first, 0) : last + 1] = i
    return owner


def to_sparse(F: Operator, support: Support, progress: bool = True):
    """The whole matrix of F, (N, n), as a ``scipy.sparse.csr_matrix``; see ``Operator.to_sparse``."""
    chosen = plan(support)
    if F.inputs.batched:
        raise NotLocal("to_sparse is about one image: interpret one of the batch")
    if not support.reach:
        raise NotLocal(
            "F is not local, as far as the graph tells: every output may depend on every input. F.to_dense()"
            f" takes {min(F.shape)} passes"
        )
    operator = F if chosen.by == "columns" else F.T
    found = []
    with steps(chosen.passes, "passes", progress) as bar:
        for batch in _chunks(itertools.product(*(range(len(g)) for g in chosen.groups)), operator.chunk):
            for pass_, result in zip(batch, _run(operator, chosen, batch)):
                found.append(_entries(chosen, pass_, result, operator.inputs.shape))
            bar.update(len(batch))
    matrix = _assembled(found, operator.shape)
    return matrix.tocsr() if chosen.by == "columns" else matrix.T


def _assembled(passes: list[tuple[np.ndarray, ...]], shape: tuple[int, int]):
    """(results, probes) as CSC from every pass's (places in the result, probes, values): one pass alone has a probe, and its places ascend, so they come out sorted."""
    from scipy.sparse import coo_matrix

    places, probes, values = (np.concatenate(parts) for parts in zip(*passes))
    return coo_matrix((values, (places, probes)), shape=shape).tocsc()


def as_numpy(values: torch.Tensor) -> np.ndarray:
    """Half precision as single: numpy has no bfloat16, and scipy computes in neither."""
    return (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).cpu().numpy()


def _chunks(items: Any, size: int):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _run(operator: Operator, chosen: Plan, batch: list[tuple[int, ...]]) -> torch.Tensor:
    """One pass for every choice of a group in each dimension: ones at all its places."""
    probes = operator.inputs.zeros(len(batch))[0]
    for k, pass_ in enumerate(batch):
        places = [torch.tensor(groups[g]) for groups, g in zip(chosen.groups, pass_)]
        probes[k][torch.meshgrid(*places, indexing="ij")] = 1
    return operator @ operator.inputs.build([probes])


def _entries(
    chosen: Plan, pass_: tuple[int, ...], found: torch.Tensor, shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """(flat place in the result, flat place of the probe, value) of every coefficient that is not zero."""
    data = as_numpy(found)
    strides = np.cumprod([1, *shape[:0:-1]])[::-1]
    size = np.int32 if max(data.size, np.prod(shape)) < 2**31 else np.int64
    across = {axis: (dim, owners[pass_[axis]]) for dim, (axis, owners) in chosen.owners.items()}
    probe = np.zeros([1] * data.ndim, dtype=size)
    for axis, stride in enumerate(strides):
        dim, owner = across.get(axis, (0, np.array([chosen.groups[axis][pass_[axis]][0]])))
        probe = probe + np.where(owner < 0, -np.prod(shape), owner * stride).astype(size).reshape(
            [-1 if d == dim else 1 for d in range(data.ndim)]
        )
    places = np.flatnonzero(data).astype(size)
    probes = np.broadcast_to(probe, data.shape).reshape(-1)[places]
    if (probes < 0).any():
        raise NotLocal(
            "a coefficient lies outside the support that the graph tells: the reach of an operator is wrong,"
            " please report the model"
        )
    return places, probes, data.reshape(-1)[places]
