"""Sums, differences and negation: linear; a frozen or constant operand is an additive constant."""

import operator

import torch

from ..twins import Add, Negate, Offset
from . import _reduced
from ._local import elementwise
from ._ranks import Broadcast
from .declare import Sample, composite, linear


def _numbers_only(call, name):
    return call.rank(name) == 0


def add(x, other, *, call):
    a, b = call.value("x"), call.value("other")
    if a is not None and b is not None:
        return Add(1, (call.lift("x", "other"), call.lift("other", "x"))), [a, b]
    if a is not None:
        return Offset(other, 1, call.lift("x", "other"), grows=not _numbers_only(call, "other")), [a]
    return Offset(x, 1, call.lift("other", "x"), grows=not _numbers_only(call, "x")), [b]


def sub(x, other, *, call):
    a, b = call.value("x"), call.value("other")
    if a is not None and b is not None:
        return Add(-1, (call.lift("x", "other"), call.lift("other", "x"))), [a, b]
    if a is not None:
        return Offset(other, -1, call.lift("x", "other"), grows=not _numbers_only(call, "other")), [a]
    return Offset(x, 1, call.lift("other", "x"), grows=not _numbers_only(call, "x")), [
        call.record(Negate(), [b])
    ]


def neg(x):
    return Negate()


def _with_alpha(function):
    return lambda x, other, alpha=1: function(x, other) if alpha == 1 else function(x, other * alpha)


_BOTH = {
    "carries": ("x", "other"),
    "rank": Broadcast(("x", "other")),
    "reduced": _reduced.elementwise,
    "local": elementwise,
    "source": "the paper, eq. 2",
}
_SAMPLES = (
    Sample(tensors={"other": (2, 3, 6, 7)}),
    Sample(tensors={"other": (7,)}),
    Sample(kwargs={"other": 1.5}),
    Sample((6, 7), tensors={"other": (2, 3, 1, 7)}, independent_batch=False),
    Sample(call=lambda f, x: f(x, x.mean((2, 3)).unsqueeze(-1).unsqueeze(-1))),
)
_SCALED = (
    *_SAMPLES,
    Sample(kwargs={"alpha": 0.5}, tensors={"other": (3, 1, 1)}),
    Sample(kwargs={"alpha": -2}, call=lambda f, x, alpha: f(x, x.abs(), alpha=alpha)),
)


ADD = linear(
    "add",
    operator.add,
    add,
    functions=(torch.ops.aten.add.Scalar,),
    methods=("__add__", "__radd__"),
    samples=_SAMPLES,
    interval=lambda bound, a: (
        bound(a["x"])[0] + bound(a["other"])[0],
        bound(a["x"])[1] + bound(a["other"])[1],
    ),
    formula="y1 = a1 + b1; a frozen operand is a constant",
    **_BOTH,
)
SUB = linear(
    "sub",
    operator.sub,
    sub,
    methods=("__sub__",),
    samples=_SAMPLES,
    interval=lambda bound, a: (
        bound(a["x"])[0] - bound(a["other"])[1],
        bound(a["x"])[1] - bound(a["other"])[0],
    ),
    formula="y1 = a1 - b1; a frozen operand is a constant",
    **_BOTH,
)
ADD_ALPHA = composite(
    "add_alpha",
    torch.add,
    _with_alpha(operator.add),
    "a product and a sum for one operator",
    functions=(torch.ops.aten.add.Tensor,),
    methods=("add",),
    samples=_SCALED,
    formula="a1 + alpha b1",
    **_BOTH,
)
SUB_ALPHA = composite(
    "sub_alpha",
    torch.sub,
    _with_alpha(operator.sub),
    "a product and a sum for one operator",
    functions=(torch.subtract, torch.ops.aten.sub.Tensor, torch.ops.aten.sub.Scalar),
    methods=("sub", "subtract"),
    samples=_SCALED,
    formula="a1 - alpha b1",
    **_BOTH,
)
RSUB = composite(
    "rsub",
    torch.rsub,
    lambda x, other, alpha=1: other - (x if alpha == 1 else x * alpha),
    "a product and a sum for one operator",
    functions=(torch.ops.aten.rsub.Tensor, torch.ops.aten.rsub.Scalar),
    methods=("__rsub__",),
    samples=(Sample(tensors={"other": (7,)}), Sample(kwargs={"other": 1.5})),
    formula="b1 - alpha a1",
    **_BOTH,
)
NEG = linear(
    "neg",
    operator.neg,
    neg,
    local=elementwise,
    functions=(torch.neg, torch.negative, torch.ops.aten.neg.default),
    methods=("neg", "negative"),
    reduced=_reduced.kept,
    samples=(Sample(),),
    interval=lambda bound, a: (-bound(a["x"])[1], -bound(a["x"])[0]),
    formula="y1 = -x1",
    source="the paper, eq. 2",
)
