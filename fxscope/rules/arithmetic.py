"""Sums, differences and negation: linear; a frozen or constant operand is an additive constant."""

import operator

import torch

from ..twins import Add, Negate, Offset
from ._ranks import widest
from .declare import Sample, linear


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
    return Offset(x, 1, call.lift("other", "x"), grows=not _numbers_only(call, "x")), [call.record(Negate(), [b])]


def neg(x):
    return Negate()


def broadcast_rank(rank, a):
    return widest(rank(a["x"]), rank(a["other"]))


def _with_alpha(function):
    return lambda x, other, alpha=1: function(x, other) if alpha == 1 else function(x, other * alpha)


_BOTH = dict(carries=("x", "other"), rank=broadcast_rank, source="the paper, eq. 2")
_SAMPLES = (Sample(tensors={"other": (2, 3, 6, 7)}), Sample(tensors={"other": (7,)}), Sample(kwargs={"other": 1.5}))


def add_alpha(x, other, alpha=1):
    raise AssertionError("expanded before it is rewritten")


ADD = linear(
    "add", operator.add, add, functions=(torch.ops.aten.add.Scalar,), methods=("__add__", "__radd__"), samples=_SAMPLES,
    interval=lambda bound, a: (bound(a["x"])[0] + bound(a["other"])[0], bound(a["x"])[1] + bound(a["other"])[1]),
    formula="y1 = a1 + b1; a frozen operand is a constant", **_BOTH,
)
SUB = linear(
    "sub", operator.sub, sub, methods=("__sub__",), samples=_SAMPLES,
    interval=lambda bound, a: (bound(a["x"])[0] - bound(a["other"])[1], bound(a["x"])[1] - bound(a["other"])[0]),
    formula="y1 = a1 - b1; a frozen operand is a constant", **_BOTH,
)
ADD_ALPHA = linear("add_alpha", torch.add, add_alpha, functions=(torch.ops.aten.add.Tensor,), methods=("add",), expand=_with_alpha(operator.add), formula="a1 + alpha b1", **_BOTH)
SUB_ALPHA = linear("sub_alpha", torch.sub, add_alpha, functions=(torch.subtract, torch.ops.aten.sub.Tensor), methods=("sub", "subtract"), expand=_with_alpha(operator.sub), formula="a1 - alpha b1", **_BOTH)
RSUB = linear("rsub", torch.rsub, add_alpha, methods=("__rsub__",), expand=lambda x, other, alpha=1: other - (x if alpha == 1 else x * alpha), formula="b1 - alpha a1", **_BOTH)
NEG = linear(
    "neg", operator.neg, neg, functions=(torch.neg, torch.negative, torch.ops.aten.neg.default), methods=("neg", "negative"), samples=(Sample(),),
    interval=lambda bound, a: (-bound(a["x"])[1], -bound(a["x"])[0]), formula="y1 = -x1", source="the paper, eq. 2",
)
