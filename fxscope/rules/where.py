"""where and masked_fill: the condition is frozen, both branches stay linear."""

import torch

from ..twins import Masked
from . import _reduced
from ._local import elementwise
from ._ranks import Broadcast
from .declare import Sample, composite, select
from .extremum import choose


def where(condition, x, other, *, call, y):
    frozen = next((name for name in ("x", "other") if call.value(name) is None), None)
    if frozen is not None and call.rank(frozen) != 0:  # the frozen operand may be wider than both others
        condition = condition.expand_as(y)
    return choose(call, condition, y, "condition")


def masked_fill(x, mask, value, *, call, y):
    return Masked(~mask, y, call.lift("x", "mask"), grows=True), [call.value("x")]


def _either(first, second):
    """Bounds of a value that is one of two."""
    return lambda bound, a: (
        min(bound(a[first])[0], bound(a[second])[0]),
        max(bound(a[first])[1], bound(a[second])[1]),
    )


def _bits(*shape):
    return lambda rng: torch.rand(shape, generator=rng) > 0.4


_ATEN = torch.ops.aten
WHERE = select(
    "where",
    torch.where,
    where,
    local=elementwise,
    functions=(_ATEN.where.self, _ATEN.where.ScalarOther, _ATEN.where.ScalarSelf),
    carries=("x", "other"),
    rank=Broadcast(("condition", "x", "other")),
    interval=_either("x", "other"),
    reduced=_reduced.elementwise,
    samples=(
        Sample(
            tensors={"condition": _bits(2, 3, 6, 7), "other": (2, 3, 6, 7)},
            call=lambda f, x, condition, other: f(condition, x, other),
        ),
        Sample(
            tensors={"condition": _bits(3, 1, 1)},
            kwargs={"other": 0.7},
            call=lambda f, x, condition, other: f(condition, x, other),
        ),
        Sample(
            tensors={"condition": _bits(6, 7)},
            kwargs={"other": -1.5},
            call=lambda f, x, condition, other: f(condition, other, x),
        ),
        Sample(call=lambda f, x: f(x > 0.2, x, x * 0.5), spellings=("where",)),
        Sample(
            (2, 3, 1, 7),
            tensors={"condition": _bits(7), "other": (2, 3, 6, 7)},
            call=lambda f, x, condition, other: f(condition, x, other),
        ),
        Sample(
            (2, 3, 1, 1),
            tensors={"condition": _bits(1, 6, 1), "other": (5,)},
            call=lambda f, x, condition, other: f(condition, other, x),
        ),
        Sample(
            (2, 7),
            tensors={"condition": _bits(4, 1, 1)},
            kwargs={"other": 0.7},
            call=lambda f, x, condition, other: f(condition, x, other),
            independent_batch=False,
        ),
    ),
    formula="y1 = a1 where the frozen condition holds, b1 elsewhere",
    source="the paper, eq. 2",
)
WHERE_METHOD = composite(
    "where_method",
    "where",
    lambda x, condition, other: torch.where(condition, x, other),
    "",
    carries=("x", "other"),
    samples=(
        Sample(
            tensors={"condition": _bits(2, 3, 6, 7), "other": (2, 3, 6, 7)},
            call=lambda f, x, condition, other: x.where(condition, other),
        ),
    ),
    formula="where",
    source="the paper, eq. 2",
)
MASKED_FILL = select(
    "masked_fill",
    torch.masked_fill,
    masked_fill,
    local=elementwise,
    functions=(_ATEN.masked_fill.Scalar, _ATEN.masked_fill.Tensor),
    methods=("masked_fill",),
    rank=Broadcast(("x", "mask")),
    interval=_either("x", "value"),
    reduced=_reduced.elementwise,
    samples=(
        Sample(tensors={"mask": _bits(3, 6, 7)}, kwargs={"value": -2.0}),
        Sample(tensors={"mask": _bits(7)}, kwargs={"value": float("-inf")}),
        Sample(tensors={"mask": _bits(7), "value": lambda rng: torch.tensor(0.7, dtype=torch.float64)}),
    ),
    formula="y1 = x1 where the mask is off, the value elsewhere",
    source="the paper, eq. 2",
)
