"""Casts and moves between dtypes and devices: linear."""

import torch

from ..twins import Identity
from . import _reduced
from ._local import elementwise
from ._of_node import rounds
from .declare import Sample, composite, linear


def to(
    x, first=None, second=None, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None
):
    named = {"dtype": dtype, "device": device}
    return Identity("to", (), {k: v for k, v in named.items() if v is not None})


def by_name(
    x, first=None, second=None, dtype=None, device=None, non_blocking=False, copy=False, memory_format=None
):
    """x.to(dtype), x.to(device), x.to(other) and x.to(device, dtype) with their arguments named.

    A cast to integers is that operator, which rounds.
    """
    given = {"dtype": dtype, "device": device}
    for value in (first, second):
        given |= _named(value)
    rounded = _INTEGERS.get(given["dtype"])
    if rounded is not None:
        moved = x if given["device"] is None else x.to(device=given["device"])
        return getattr(moved, rounded)()
    if first is None and second is None:
        return None
    return _given(x, **given, memory_format=memory_format)


def of_type(x, dtype):
    """x.type(dtype); a type by its name is not known here."""
    return x.to(dtype=dtype) if isinstance(dtype, torch.dtype) else None


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


def _rounding(name):
    """A cast to integers: the numbers of integers are kept, and floating values are frozen as they round."""

    def twin(x):
        return Identity(name)

    return linear(
        name,
        name,
        twin,
        reduced=_reduced.kept,
        local=elementwise,
        integers=True,
        rank=lambda rank, a: rank(a["x"]),
        interval=lambda bound, a: _with_zero(*bound(a["x"])),
        samples=(Sample(call=lambda f, x: f(x * 3) * x),),
        formula="y1 = y0: values that are rounded are constants",
        source="the paper, eq. 2 with A = 0",
    )


def _like_integers(value):
    """Whether a dtype is that of integers, or that of a value which holds them."""
    if isinstance(value, torch.fx.Node) and value.target is getattr:
        value = value.args[0]
    return isinstance(value, torch.fx.Node) and rounds(value)


def _with_zero(low, high):
    """Bounds of values that are rounded towards 0."""
    return min(low, 0.0), max(high, 0.0)


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


_INTEGERS = {
    torch.bool: "bool",
    torch.uint8: "byte",
    torch.int8: "char",
    torch.int16: "short",
    torch.int32: "int",
    torch.int64: "long",
}
BYTE, CHAR, SHORT, INT, LONG = (_rounding(name) for name in _INTEGERS.values() if name != "bool")
BOOL = composite(
    "bool",
    "bool",
    lambda x: torch.ne(x, 0),  # TorchScript has no such method
    "",
    bits=True,
    samples=(Sample(call=lambda f, x: x * f(x)),),
    formula="y1 = y0: truth values are constants",
    source="the paper, eq. 2 with A = 0",
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
    integers=lambda a: _like_integers(a["dtype"]),
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
    integers=lambda a: _like_integers(a["other"]),
    local=elementwise,
    ignores=("other",),
    samples=(Sample(tensors={"other": (1,)}),),
    **_KEEP,
)
TYPE = composite("type", "type", of_type, "", samples=(Sample(kwargs={"dtype": torch.float64}),), **_KEEP)
FLOAT, DOUBLE, HALF, BFLOAT16, CPU = (_cast(name) for name in ("float", "double", "half", "bfloat16", "cpu"))


def to_dtype(x, dtype, non_blocking=False, copy=False, memory_format=None):
    return _given(x, dtype=dtype, memory_format=memory_format)


def to_device(x, device, dtype, non_blocking=False, copy=False, memory_format=None):
    return _given(x, device=device, dtype=dtype, memory_format=memory_format)


def _given(x, **options):
    return x.to(**{k: v for k, v in options.items() if v is not None})


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
    return _given(x, dtype=dtype, device=device, memory_format=memory_format)


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
