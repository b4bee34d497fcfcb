"""The batch dimension of every value of the tape: it gives every share of a constant its image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ..passes.rewrite import Probe, Program, Record
from ..twins import Concat, Dims, Einsum, Expand, Index, Item, Repeat, Reshape, Stack
from ..twins.contraction import terms


def batch_major(program: Program) -> bool:
    """Whether every additive constant has the batch as its leading dimension; False where it is not certain.

    In a layout (L, B, E) or (L*B, E), as in torch.nn.MultiheadAttention, it has not. There, a reverse pass
    from one image alone gives the share of that image.
    """
    at: dict[Any, int | None] = dict.fromkeys(program.probes, 0)
    for record in program.tape:
        given = [(v, lift) for v, lift in zip(record.inputs, _lifts(record)) if v in at]
        found = {_lifted(at[v], lift) for v, lift in given} or {0}
        if len(given) < len(record.inputs) and found != {0}:
            return False  # a constant operand of a concatenation has the layout of the others
        if record.inputs:
            at[record] = _moved(record, found.pop()) if len(found) == 1 else None
        if _adds(record) and at.get(record, 0) != 0:
            return False
    return True


def _adds(record: Record) -> bool:
    return record.twin.adds == "constant" or any(
        getattr(record.twin, name) is not None for name in record.twin.additive
    )


def _lifts(record: Record) -> tuple:
    """How many dimensions every input gets in front."""
    twin = record.twin
    lift = getattr(twin, "lifts", None) or (getattr(twin, "lift", 0),) * len(record.inputs)
    return tuple(v if isinstance(v, int) else 0 for v in lift)


def _lifted(at: int | None, lift: int) -> int | None:
    return None if at is None else at + lift


def _moved(record: Record, at: int | None) -> int | None:
    """The batch dimension of a twin's output, from that of its input, without K; None where not certain."""
    if at is None:
        return None
    twin = record.twin
    if isinstance(twin, Dims):
        return _dims(twin, at, record.rank)
    if isinstance(twin, Index):
        return _index(twin.key if isinstance(twin.key, tuple) else (twin.key,), at)
    if isinstance(twin, Einsum):
        return _einsum(twin, at)
    if isinstance(twin, Stack):
        return _stack(twin.dim, at)
    if isinstance(twin, Concat):
        return None if _joins_batch(twin.dim, record.rank, at) else at
    if isinstance(twin, (Item, Expand, Repeat)):
        return at
    if at == 0:
        return 0
    if isinstance(twin, Reshape):
        return None
    before = _rank_before(record)
    return at if before is not None and before == record.rank else None


def _rank_before(record: Record) -> int | None:
    """The rank of the first input; that of the output where the input is a probe or there is none."""
    if not record.inputs or isinstance(record.inputs[0], Probe):
        return record.rank
    return record.inputs[0].rank


def _einsum(twin: Einsum, at: int) -> int | None:
    """The batch keeps its letter, where the equation has no ellipsis and does not sum over that letter."""
    if "." in twin.equation:
        return None
    inputs, output = terms(twin.equation)
    letter = inputs[twin.at][at]
    return output.index(letter) if letter in output else None


def _stack(dim: int, at: int) -> int | None:
    """A new dimension in front of the batch moves it by one."""
    if dim < 0:
        return 0 if at == 0 else None
    return at + 1 if dim <= at else at


def _joins_batch(dim: int, rank: int | None, at: int) -> bool:
    """Whether a concatenation puts the images of one operand behind those of another."""
    return dim == at or (rank is not None and dim + rank == at)


def _dims(twin: Dims, at: int, rank: int | None) -> int | None:
    """The batch dimension behind an operator on dimensions; its arguments count K as dimension 0."""
    if twin.same:
        return at
    if twin.function is torch.permute:
        return list(twin.args[0]).index(at + 1) - 1
    if twin.function is torch.transpose:
        return _transposed(twin.args, at, rank)
    dims = twin.args[0] if isinstance(twin.args[0], (list, tuple)) else [twin.args[0]]
    if twin.function is torch.unsqueeze:
        return _unsqueezed(dims[0], at)
    if twin.function in (torch.select, torch.unbind, torch.squeeze):
        return _without(dims, at)
    if at == 0 or all(isinstance(d, int) and d - 1 > at for d in dims):
        return at
    return None


def _unsqueezed(d: int, at: int) -> int | None:
    """A dimension that is inserted in front of the batch moves it by one."""
    if d > 0:
        return at + 1 if d - 1 <= at else at
    return 0 if at == 0 and d in (-1, -2) else None


def _without(dims: Sequence[int], at: int) -> int | None:
    """Every dimension that is removed in front of the batch moves it by one."""
    if at and any(d < 1 or d - 1 == at for d in dims):
        return None
    return at - sum(0 < d <= at for d in dims)


def _transposed(dims: tuple, at: int, rank: int | None) -> int | None:
    if rank is None and any(d < 0 for d in dims):
        return None
    a, b = (d - 1 if d > 0 else d + (rank or 0) for d in dims)
    return {a: b, b: a}.get(at, at)


def _index(key: tuple, at: int) -> int | None:
    """The batch dimension behind basic indexing; None for advanced indexing."""
    seen = found = 0
    for part in key:
        if part is None:
            found += 1
        elif part is Ellipsis:
            return found + at - seen
        elif not isinstance(part, (int, slice)):
            return None
        elif seen == at:
            return found if isinstance(part, slice) else None
        else:
            seen, found = seen + 1, found + isinstance(part, slice)
    return found + at - seen
