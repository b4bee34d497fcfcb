"""Casts and moves between dtypes and devices: linear."""

from ..twins import Identity
from .declare import Sample, linear


def to(x, first=None, second=None, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None):
    named = dict(dtype=dtype, device=device)
    return Identity("to", tuple(a for a in (first, second) if a is not None), {k: v for k, v in named.items() if v is not None})


def type_as(x, other):
    return Identity("type_as", (other,))


def _cast(name):
    def twin(x):
        return Identity(name)

    return linear(name, name, twin, interval=lambda bound, a: bound(a["x"]), samples=(Sample(),) if name == "double" else (), formula="y1 = x1 in another dtype", source="the paper, eq. 7")


_KEEP = dict(interval=lambda bound, a: bound(a["x"]), formula="y1 = x1 in another dtype", source="the paper, eq. 7")
TO = linear("to", "to", to, **_KEEP)
TYPE_AS = linear("type_as", "type_as", type_as, ignores=("other",), **_KEEP)
FLOAT, DOUBLE, HALF, BFLOAT16 = (_cast(name) for name in ("float", "double", "half", "bfloat16"))
