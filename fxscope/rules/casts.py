"""Casts and moves between dtypes and devices: linear."""

import torch

from ..twins import Identity
from . import _reduced
from ._local import elementwise
from .declare import Sample, composite, linear


def to(
    x, first=None, second=None, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None
):
    named = {"dtype": dtype, "device": device}
    return Identity("to", (), {k: v for k, v in named.items() if v is not None})


def by_name(
    x, first=None, second=None, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None
):
    """x.to(dtype), x.to(device), x.to(other) and x.to(device, dtype) with their arguments named."""
    if first is None and second is None:
        return None
    given = {"dtype": dtype, "device": device}
    for value in (first, second):
        given |= _named(value)
    return x.to(**{k: v for k, v in given.items() if v is not None})


def _named(value):
    if value is None or isinstance(value, bool):
        return {}
    if isinstance(value, torch.dtype):
        return {"dtype": value}
    if isinstance(value, torch.fx.Proxy):
        attribute = value.node.args[1] if value.node.target is getattr else None
        return (
            {attribute: value}
            if attribute in ("dtype", "device")
            else {"dtype": value.dtype, "device": value.device}
        )
    return {"device": value}


def type_as(x, other):
    return Identity("type_as", (other,))


def _cast(name):
    def twin(x):
        return Identity(name)

    return linear(
        name,
        name,
        twin,
        reduced=_reduced.kept,
        local=elementwise,
        interval=lambda bound, a: bound(a["x"]),
        samples=(Sample(),) if name in ("double", "cpu") else (),
        unsampled="" if name in ("double", "cpu") else "it rounds, and so obeys no law to 1e-9",
        formula="y1 = x1 in another dtype",
        source="the paper, eq. 7",
    )


_KEEP = {
    "reduced": _reduced.kept,
    "interval": lambda bound, a: bound(a["x"]),
    "formula": "y1 = x1 in another dtype",
    "source": "the paper, eq. 7",
}
TO = linear(
    "to",
    "to",
    to,
    local=elementwise,
    expand=by_name,
    ignores=("first", "second"),
    samples=(
        Sample(kwargs={"dtype": torch.float64}),
        Sample(call=lambda f, x: (x * 2).to(torch.float64)),
        Sample(tensors={"other": (1,)}, call=lambda f, x, other: x.to(other)),
        Sample(tensors={"other": (1,)}, call=lambda f, x, other: x.to(other.dtype)),
    ),
    **_KEEP,
)
TYPE_AS = linear(
    "type_as",
    "type_as",
    type_as,
    local=elementwise,
    ignores=("other",),
    samples=(Sample(tensors={"other": (1,)}),),
    **_KEEP,
)
FLOAT, DOUBLE, HALF, BFLOAT16, CPU = (_cast(name) for name in ("float", "double", "half", "bfloat16", "cpu"))


def to_dtype(x, dtype, non_blocking=False, copy=False, memory_format=None):
    return x.to(dtype=dtype)


def to_device(x, device, dtype, non_blocking=False, copy=False, memory_format=None):
    return x.to(device=device, dtype=dtype)


def to_copy(
    x,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=None,
    non_blocking=False,
    memory_format=None,
    copy=False,
):
    return x.to(**{k: v for k, v in {"dtype": dtype, "device": device}.items() if v is not None})


_ATEN = torch.ops.aten
_WIDE = (Sample(kwargs={"dtype": torch.float64}),)
TO_DTYPE = composite("to_dtype", _ATEN.to.dtype, to_dtype, "", samples=_WIDE, **_KEEP)
TO_DEVICE = composite(
    "to_device",
    _ATEN.to.device,
    to_device,
    "",
    samples=(Sample(kwargs={"device": torch.device("cpu"), "dtype": torch.float64}),),
    **_KEEP,
)
TO_COPY = composite(
    "to_copy", _ATEN._to_copy.default, to_copy, "", functions=(_ATEN.to.dtype_layout,), samples=_WIDE, **_KEEP
)
