"""Matrix products: linear in one factor.

With both factors on the path of the probe one is frozen, as in any product.
"""

import operator

import torch

from ..twins import Add, Gate, MatmulLeft, MatmulRight, Offset
from ..twins.norms import InnerProduct
from ._contracted import matrices, matrix_product
from ._moves import product_of_matrices
from ._ranks import limits, widest
from .declare import Sample, product
from .product import decide


def matmul(x, other, *, call, y):
    a, b = call.value("x"), call.value("other")
    if any(call.value(name) is not None and call.rank(name) == 1 for name in ("x", "other")):
        raise TypeError("a vector without a batch")
    if b is None and call.rank("other") == 1:
        return InnerProduct(other), [a]
    if a is None and call.rank("x") == 1:
        return InnerProduct(x.unsqueeze(-1), dims=(-2,)), [b]
    if b is None:
        return _right(call, other), [a]
    if a is None:
        return _left(call, x), [b]
    chosen = decide(call, lambda facts: matrices(facts, call.arguments["x"], call.arguments["other"]))
    if chosen == "left":
        return _right(call, other), [a]
    if chosen == "right":
        return _left(call, x), [b]
    both = call.record(
        Add(1, (0, 0)),
        [
            call.record(_right(call, other), [a], like=y),
            call.record(_left(call, x), [b], like=y),
        ],
        like=y,
    )
    if chosen == "taylor":
        return Offset(y, -1, grows=False), [both]
    return Gate(factor=0.5), [both]


def _right(call, other):
    return MatmulRight(other, call.need_lift("x", "other"))


def _left(call, x):
    return MatmulLeft(x, call.need_lift("other", "x"))


def matmul_rank(rank, a):
    p, q = rank(a["x"]), rank(a["other"])
    if isinstance(p, int) and isinstance(q, int) and min(p, q) == 1:
        return max(p, q) - 1
    if q == 2:
        return p  # a vector times a matrix is a vector
    return widest(p, q) if min(limits(p)[0], limits(q)[0]) > 1 else None


MATMUL = product(
    "matmul",
    torch.matmul,
    matmul,
    matmul,
    ("left", "right", "uniform", "gate", "taylor"),
    local=product_of_matrices,
    functions=(
        operator.matmul,
        torch.bmm,
        torch.mm,
        torch.ops.aten.matmul.default,
        torch.ops.aten.bmm.default,
        torch.ops.aten.mm.default,
        torch.mv,
        torch.spmm,
        torch.sparse.mm,
        torch.ops.aten._sparse_mm.default,
        torch.ops.aten.mv.default,
    ),
    methods=("matmul", "bmm", "mm", "mv", "__matmul__"),
    carries=("x", "other"),
    rank=matmul_rank,
    reduced=matrix_product,
    samples=(
        Sample(
            (2, 3, 5),
            tensors={"other": (2, 5, 4)},
            spellings=("matmul", "bmm", "matmul.default", "bmm.default"),
        ),
        Sample(
            (3, 5),
            tensors={"other": (5, 4)},
            spellings=("matmul", "__matmul__", "mm", "matmul.default", "mm.default"),
        ),
        Sample((3, 5), tensors={"other": (5,)}, spellings=("matmul", "mv", "matmul.default", "mv.default")),
        Sample((5, 4), tensors={"other": (2, 3, 4, 6)}, independent_batch=False, spellings=("matmul",)),
        Sample(
            (2, 3, 5), call=lambda f, x: f(x, torch.tanh(x).transpose(-1, -2)), spellings=("matmul", "bmm")
        ),
        Sample(
            (2, 3, 5), call=lambda f, x: f(torch.softmax(x, -1), x.transpose(-1, -2)), spellings=("matmul",)
        ),
        Sample((2, 3, 5), call=lambda f, x: f(x, (x + 1).transpose(-1, -2)), spellings=("matmul",)),
    ),
    formula="y1 = A0 B1, A1 B0, or their mean",
    source="the paper, eq. 2",
)
