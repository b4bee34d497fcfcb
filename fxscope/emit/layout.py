"""Where the images of a batch are in every value of the tape.

With it, what a constant adds can be told apart by image.
"""

from __future__ import annotations

from typing import Any

from ..passes.rewrite import Probe, Program, Record


def batch_major(program: Program) -> bool:
    """Whether every additive constant stands where the images are slowest.

    In a layout (L, B, E) or (L*B, E), as in torch.nn.MultiheadAttention, it does not: there a constant's
    share of one image is found by a reverse pass from that image alone. False where it is not certain.
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
    """Dimensions that are new in front of every input; None where the graph does not tell how many."""
    twin = record.twin
    lift = getattr(twin, "lifts", None) or (getattr(twin, "lift", 0),) * len(record.inputs)
    return tuple(v if isinstance(v, int) or v is None else 0 for v in lift)


def _lifted(at: int | None, lift: int | None) -> int | None:
    return None if at is None or lift is None else at + lift


def _moved(record: Record, at: int | None) -> int | None:
    """The dimension of the batch behind a twin, from that in front of it.

    The probes' own dimension is not counted.
    """
    first = record.inputs[0]
    before = record.rank if isinstance(first, Probe) else first.rank
    return None if at is None else record.twin.batch_axis(at, before, record.rank)
