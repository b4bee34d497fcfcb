"""Where the images of a batch are in every value of the tape, so that what a constant adds can be told apart by image."""

from __future__ import annotations

from typing import Any

import torch

from ..passes.rewrite import Probe, Program, Record
from ..twins import Concat, Dims, Einsum, Expand, Index, Item, Repeat, Reshape, Stack
from ..twins.contraction import terms


def batch_major(program: Program) -> bool:
    """Whether every additive constant stands where the images are slowest.

    In a layout (L, B, E) or (L*B, E), as in torch.nn.MultiheadAttention, it does not: there a constant's share of one image
    is found by a reverse pass from that image alone. False where it is not certain.
    """
    at: dict[Any, int | None] = dict.fromkeys(program.probes, 0)
    for record in program.tape:
        given = [(v, lift) for v, lift in zip(record.inputs, _lifts(record)) if v in at]
        found = {_lifted(at[v], lift) for v, lift in given} or {0}
        if len(given) < len(record.inputs) and found != {0}:
            return False  # a constant operand of a concatenation, in the layout of the others
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
    """Dimensions that are new in front of every input."""
    twin = record.twin
    lift = getattr(twin, "lifts", None) or (getattr(twin, "lift", 0),) * len(record.inputs)
    return tuple(v if isinstance(v, int) else 0 for v in lift)


def _lifted(at: int | None, lift: int) -> int | None:
    return None if at is None else at + lift


def _moved(record: Record, at: int | None) -> int | None:
    """The dimension of the batch behind a twin, from that in front of it; the probes' own dimension is not counted."""
    if at is None:
        return None
    twin, rank = record.twin, record.rank
    if isinstance(twin, Dims):
        return _dims(twin, at, rank)
    if isinstance(twin, Index):
        return _index(twin.key if isinstance(twin.key, tuple) else (twin.key,), at)
    if isinstance(twin, Einsum):
        inputs, output = terms(twin.equation)
        return (
            None
            if "." in twin.equation or inputs[twin.at][at] not in output
            else output.index(inputs[twin.at][at])
        )
    if isinstance(twin, Stack):
        return None if twin.dim < 0 and at else at + (0 <= twin.dim <= at)
    if isinstance(twin, Concat):
        # image after image, and then those of another operand
        return None if twin.dim == at or (rank is not None and twin.dim + rank == at) else at
    if isinstance(twin, (Item, Expand, Repeat)):
        return at
    if isinstance(twin, Reshape):
        return None if at else 0
    before = (
        getattr(record.inputs[0], "rank", None)
        if record.inputs and not isinstance(record.inputs[0], Probe)
        else rank
    )
    return at if at == 0 or (before is not None and before == rank) else None


def _dims(twin: Dims, at: int, rank: int | None) -> int | None:
    if twin.same:
        return at
    if twin.function is torch.permute:
        return list(twin.args[0]).index(at + 1) - 1
    if twin.function is torch.transpose:
        return _transposed(twin.args, at, rank)
    dims = twin.args[0] if isinstance(twin.args[0], (list, tuple)) else [twin.args[0]]
    if twin.function is torch.unsqueeze:
        return at + (dims[0] - 1 <= at) if dims[0] > 0 else at if at == 0 and dims[0] in (-1, -2) else None
    if twin.function in (torch.select, torch.unbind, torch.squeeze):
        return (
            None
            if any(d < 1 or d - 1 == at for d in dims) and at
            else at - sum(d - 1 < at for d in dims if d > 0)
        )
    return at if at == 0 or all(isinstance(d, int) and d - 1 > at for d in dims) else None


def _transposed(dims: tuple, at: int, rank: int | None) -> int | None:
    if any(d < 0 for d in dims) and rank is None:
        return None
    a, b = (d - 1 if d > 0 else d + rank for d in dims)
    return b if at == a else a if at == b else at


def _index(key: tuple, at: int) -> int | None:
    """Basic indexing in front of the batch's dimension takes dimensions away, None adds one."""
    seen = found = 0
    for part in key:
        if part is None:
            found += 1
        elif part is Ellipsis:
            return found + at - seen
        elif not isinstance(part, (int, slice)):
            return None  # by places
        elif seen == at:
            return found if isinstance(part, slice) else None
        else:
            seen, found = seen + 1, found + isinstance(part, slice)
    return found + at - seen
