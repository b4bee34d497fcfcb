"""Boxes that hold rows and columns, and F as a sparse matrix from probes that share a pass."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...errors import NotLocal, PlaceIndexError
from ...passes.rewrite import Program
from ...results.display import Displayed
from ...results.progress import steps
from .alignment import Alignment, alignment
from .reach import Reach, reaches

if TYPE_CHECKING:
    from ..linear import Operator


@dataclass(frozen=True, repr=False)
class Field(Displayed):
    """A box that holds all nonzero coefficients of a row or a column.

    Attributes
    ----------
    box : tuple of slice
        One slice for each dimension of the un-batched tensor.
    shape : tuple of int
        Shape of this tensor.
    """

    box: tuple[slice, ...]
    shape: tuple[int, ...]

    @property
    def full(self) -> bool:
        """Whether the box is the whole tensor."""
        return all(s.stop - s.start == n for s, n in zip(self.box, self.shape))


class Support:
    """The inputs on which each output can depend, along each un-batched axis; one input, one output."""

    def __init__(self, program: Program, F: Operator):
        self.program, self.F = program, F
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

    def alignment(self) -> Alignment:
        """Where the outputs lie in the input."""
        return alignment(self.program, self.F)

    def receptive(self, index: tuple[int, ...]) -> Field:
        """The box of inputs on which an output can depend."""
        place = checked_place(index, self.outputs)
        box = [slice(0, n) for n in self.inputs]
        for d, r in self.reach.items():
            first, last = int(r.first[place[d]]), int(r.last[place[d]])
            box[r.axis] = slice(first, last + 1) if first <= last else slice(0, 0)
        return Field(tuple(box), self.inputs)

    def projective(self, index: tuple[int, ...]) -> Field:
        """The box of outputs that can depend on an input."""
        place = checked_place(index, self.inputs)
        box = [slice(0, n) for n in self.outputs]
        for d, r in self.reach.items():
            first, last = _touched(r, place[r.axis])
            box[d] = slice(first, last + 1)
        return Field(tuple(box), self.outputs)


def checked_place(index: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """An index of one place, without negative numbers; raises ``PlaceIndexError`` if it is none."""
    index = index if isinstance(index, tuple) else (index,)
    whole = all(hasattr(i, "__index__") and not isinstance(i, (bool, np.bool_)) for i in index)
    if len(index) != len(shape) or not whole or not all(-n <= int(i) < n for i, n in zip(index, shape)):
        raise PlaceIndexError(f"index {index} is not a place of a tensor of shape {shape}")
    return tuple(int(i) % n for i, n in zip(index, shape))


def _touched(r: Reach, j: int) -> tuple[int, int]:
    """First and last place of a dimension whose interval holds j; (0, -1) if there is none."""
    where = np.nonzero((r.first <= j) & (j <= r.last))[0]
    return (int(where[0]), int(where[-1])) if len(where) else (0, -1)


def colours(intervals: list[tuple[int, int]]) -> list[int]:
    """Colour intervals with as few colours as possible, so that intervals of one colour do not overlap."""
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
    """How the whole matrix is computed: by columns or by rows, and the places of each axis that share a pass.

    Attributes
    ----------
    by : {"columns", "rows"}
        The probed space is that of the inputs for "columns", and that of the outputs for "rows".
    groups : list
        For each dimension of the probed space, lists of places that share a pass.
    owners : dict
        {dimension of the other space: (the probed dimension that it follows, owners)}. The owners of a group
        are the probed place to which each place belongs, -1 for none.
    """

    by: str
    groups: list[list[list[int]]]
    owners: dict[int, tuple[int, list[np.ndarray]]]

    @property
    def passes(self) -> int:
        """Number of passes."""
        return math.prod(len(each) for each in self.groups)


def plan(support: Support) -> Plan:
    """The plan by columns or by rows, whichever takes fewer passes."""
    return min((_plan(support, by) for by in ("columns", "rows")), key=lambda p: p.passes)


def _plan(support: Support, by: str) -> Plan:
    probed, other = support.inputs, support.outputs
    if by == "rows":
        probed, other = other, probed
    groups = [[[i] for i in range(n)] for n in probed]
    owners: dict[int, tuple[int, list[np.ndarray]]] = {}
    for d, r in support.reach.items():
        if by == "columns":
            axis, across = r.axis, d
            each = [_touched(r, j) for j in range(probed[axis])]
        else:
            axis, across = d, r.axis
            each = list(zip(r.first.tolist(), r.last.tolist()))
        painted = colours(each)
        groups[axis] = [
            [i for i, c in enumerate(painted) if c == colour] for colour in range(max(painted) + 1)
        ]
        owners[across] = (axis, [_owner(group, each, other[across]) for group in groups[axis]])
    return Plan(by, groups, owners)


def _owner(group: list[int], intervals: list[tuple[int, int]], n: int) -> np.ndarray:
    """The interval of a group that holds each of n places, -1 for none."""
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
    """The matrix (results, probes) as CSC, from (places in the result, probes, values) of all passes.

    Each probe belongs to one pass, in which places ascend, so the entries are sorted.
    """
    from scipy.sparse import coo_matrix

    places, probes, values = (np.concatenate(parts) for parts in zip(*passes))
    return coo_matrix((values, (places, probes)), shape=shape).tocsc()


def as_numpy(values: torch.Tensor) -> np.ndarray:
    """A numpy array; half precision becomes single, which scipy needs and numpy needs for bfloat16."""
    return (values.float() if values.dtype in (torch.float16, torch.bfloat16) else values).cpu().numpy()


def _chunks(items: Any, size: int):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


def _run(operator: Operator, chosen: Plan, batch: list[tuple[int, ...]]) -> torch.Tensor:
    """Run one batch of passes; in each, the probe is 1 at all places of its groups."""
    probes = operator.inputs.zeros(len(batch))[0]
    for k, pass_ in enumerate(batch):
        places = [torch.tensor(groups[g]) for groups, g in zip(chosen.groups, pass_)]
        probes[k][torch.meshgrid(*places, indexing="ij")] = 1
    return operator @ operator.inputs.build([probes])


def _entries(
    chosen: Plan, pass_: tuple[int, ...], found: torch.Tensor, shape: tuple[int, ...]
) -> tuple[np.ndarray, ...]:
    """(flat places in the result, flat places of the probes, values) of all nonzero coefficients."""
    data = as_numpy(found)
    strides = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    outside = -math.prod(shape)
    size = np.dtype("int32" if max(data.size, -outside) < 2**31 else "int64")
    across = {axis: (dim, owners[pass_[axis]]) for dim, (axis, owners) in chosen.owners.items()}
    probe: np.ndarray = np.zeros([1] * data.ndim, dtype=size)
    for axis, stride in enumerate(strides):
        dim, owner = across.get(axis, (0, np.array([chosen.groups[axis][pass_[axis]][0]])))
        probe = probe + np.where(owner < 0, outside, owner * stride).astype(size).reshape(
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
