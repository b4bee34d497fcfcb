"""Matrix products: linear in one factor; with both on the path of the probe one is frozen, as in any product."""

import operator

import torch

from ..twins import Add, Gate, MatmulLeft, MatmulRight, Offset
from ._ranks import widest
from .declare import Sample, product
from .product import decide


def matmul(x, other, *, call, y):
    a, b = call.value("x"), call.value("other")
    lifts = (call.lift("x", "other"), call.lift("other", "x"))
    if b is None:
        return MatmulRight(other, lifts[0]), [a]
    if a is None:
        return MatmulLeft(x, lifts[1]), [b]
    reading = decide(call)
    if reading == "left":
        return MatmulRight(other, lifts[0]), [a]
    if reading == "right":
        return MatmulLeft(x, lifts[1]), [b]
    both = call.record(Add(1, (0, 0)), [call.record(MatmulRight(other, lifts[0]), [a]), call.record(MatmulLeft(x, lifts[1]), [b])])
    if reading == "taylor":
        return Offset(y, -1, grows=False), [both]
    return Gate(factor=0.5), [both]


def matmul_rank(rank, a):
    p, q = rank(a["x"]), rank(a["other"])
    if isinstance(p, int) and isinstance(q, int) and min(p, q) == 1:
        return max(p, q) - 1
    return widest(p, q)


MATMUL = product(
    "matmul", torch.matmul, matmul, matmul, ("left", "right", "uniform", "gate", "taylor"),
    functions=(operator.matmul, torch.bmm, torch.mm, torch.ops.aten.matmul.default, torch.ops.aten.bmm.default, torch.ops.aten.mm.default), methods=("matmul", "bmm", "mm", "__matmul__"),
    carries=("x", "other"), rank=matmul_rank, samples=(Sample((2, 3, 5), tensors={"other": (2, 5, 4)}),),
    formula="y1 = A0 B1, A1 B0, or their mean", source="the paper, eq. 2",
)
