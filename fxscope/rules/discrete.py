"""Comparisons, rounding, arg-reductions, look-ups and fresh tensors: constants of x0."""

import operator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Identity
from . import _reduced
from ._complex import direction
from ._local import elementwise, fresh, in_front, over_dims, unread
from ._ranks import Broadcast, reduced_rank, shift
from ._sizes import count
from .declare import Sample, composite, constant


def one(x):
    """Y = f(x)."""


def two(x, other):
    """Y = f(x, other)."""


def reduced(x, dim=None, keepdim=False):
    """Y = f(x, dim)."""


def counted(x, dim=None):
    """Y = how many entries are not 0."""


def close(x, other, rtol=1e-05, atol=1e-08, equal_nan=False):
    """Y = whether x is near to other."""


def bucketed(x, boundaries, out_int32=False, right=False):
    """Y = the numbers of the intervals that x lies in."""


def ordered(x, dim=-1, descending=False, stable=False):
    """Y = the order of x."""


def filled(
    x,
    fill_value,
    dtype=None,
    layout=None,
    device=None,
    pin_memory=False,
    requires_grad=False,
    memory_format=None,
):
    """A fresh tensor with the size of x, all of one value."""


def made(x, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False, memory_format=None):
    """A fresh tensor with the size of x."""


def looked_up(
    input, weight, padding_idx=None, max_norm=None, norm_type=2.0, scale_grad_by_freq=False, sparse=False
):
    """Rows of a table at indices."""


def encoded(x, num_classes=-1):
    """Indices as unit vectors."""


def straight(x):
    return Identity()


def _same(rank, a):
    """The rank of the first argument."""
    return rank(next(iter(a.values())))


_NO_PROBE = "no probe enters it"
_BITS: dict[str, Any] = {
    "carries": (),
    "rank": Broadcast(),
    "bits": True,
    "interval": lambda bound, a: (0.0, 1.0),
    "formula": "a constant",
    "source": "the paper, eq. 2 with A = 0",
    "unsampled": _NO_PROBE,
}
_FRESH: dict[str, Any] = {
    "carries": (),
    "rank": _same,
    "formula": "a constant",
    "source": "the paper, eq. 2 with A = 0",
    "unsampled": _NO_PROBE,
}
_INDEX: dict[str, Any] = {**_FRESH, "integers": True}


def _comparison(name, target, *functions):
    return constant(name, target, two, local=elementwise, functions=functions, methods=(name,), **_BITS)


EQ = _comparison("eq", operator.eq, torch.eq)
NE = _comparison("ne", operator.ne, torch.ne)
LT = _comparison("lt", operator.lt, torch.lt, torch.less)
LE = _comparison("le", operator.le, torch.le, torch.less_equal)
GT = _comparison("gt", operator.gt, torch.gt, torch.greater)
GE = _comparison("ge", operator.ge, torch.ge, torch.greater_equal)
INVERT = constant("invert", operator.invert, one, local=elementwise, functions=(torch.bitwise_not,), **_BITS)
LOGICAL_NOT, ISNAN, ISINF, ISFINITE, SIGNBIT = (
    constant(n, getattr(torch, n), one, local=elementwise, methods=(n,), **_BITS)
    for n in ("logical_not", "isnan", "isinf", "isfinite", "signbit")
)
LOGICAL_AND, LOGICAL_OR, LOGICAL_XOR = (
    constant(n, getattr(torch, n), two, local=elementwise, methods=(n,), **_BITS)
    for n in ("logical_and", "logical_or", "logical_xor")
)
ISPOSINF, ISNEGINF, ISREAL = (
    constant(n, getattr(torch, n), one, local=elementwise, **_BITS)
    for n in ("isposinf", "isneginf", "isreal")
)
ISCLOSE = constant("isclose", torch.isclose, close, local=elementwise, methods=("isclose",), **_BITS)
ANY, ALL = (
    constant(n, getattr(torch, n), reduced, local=over_dims, methods=(n,), **{**_BITS, "rank": reduced_rank})
    for n in ("any", "all")
)
COUNT_NONZERO = constant(
    "count_nonzero",
    torch.count_nonzero,
    counted,
    local=over_dims,
    methods=("count_nonzero",),
    **{**_FRESH, "rank": lambda rank, a: reduced_rank(rank, {**a, "keepdim": False})},
)
BUCKETIZE = constant("bucketize", torch.bucketize, bucketed, local=elementwise, **_FRESH)
DETACH = constant(
    "detach",
    torch.detach,
    one,
    reduced=_reduced.kept,
    local=elementwise,
    methods=("detach",),
    functions=(torch.ops.aten.detach.default,),
    interval=lambda bound, a: bound(a["x"]),
    samples=(Sample(),),
    formula="y1 = y0: the author's own constant",
    source="the paper, eq. 2 with A = 0",
)


def _step(name, function, *functions, **fields):
    return constant(
        name,
        function,
        one,
        local=elementwise,
        functions=functions,
        methods=(name,),
        reduced=_reduced.kept,
        variants={"straight": straight, "taylor": None},
        breaks={"straight": ("law 2", "straight-through: y1 = x1")},
        samples=(Sample(),),
        interval=(lambda bound, a: (-1.0, 1.0)) if name in ("sign", "sgn") else None,
        formula="y1 = y0;  straight: y1 = x1 (straight-through: not exact in eq. 3)",
        source="the paper, eq. 2 with A = 0",
        **fields,
    )


SIGN, ROUND, FLOOR, CEIL, TRUNC = (
    _step(n, getattr(torch, n), getattr(torch.ops.aten, n).default)
    for n in ("sign", "round", "floor", "ceil", "trunc")
)
SGN = _step("sgn", torch.sgn, torch.ops.aten.sgn.default, expand=direction)  # of complex numbers, z/|z|
ARGMAX = constant(
    "argmax", torch.argmax, reduced, local=over_dims, methods=("argmax",), **{**_INDEX, "rank": reduced_rank}
)
ARGMIN = constant(
    "argmin", torch.argmin, reduced, local=over_dims, methods=("argmin",), **{**_INDEX, "rank": reduced_rank}
)
ARGSORT = constant("argsort", torch.argsort, ordered, local=over_dims, methods=("argsort",), **_INDEX)
ONE_HOT = constant(
    "one_hot",
    F.one_hot,
    encoded,
    local=in_front,
    **{**_BITS, "bits": False, "integers": True, "rank": lambda rank, a: shift(rank(a["x"]), 1)},
)
EMBEDDING = constant(
    "embedding",
    F.embedding,
    looked_up,
    local=in_front,
    modules={
        nn.Embedding: lambda m: {
            k: getattr(m, k)
            for k in ("weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
        }
    },
    **{**_FRESH, "rank": lambda rank, a: shift(rank(a["input"]), 1)},
)
FULL_LIKE = constant("full_like", torch.full_like, filled, local=unread, **_FRESH)
ONES_LIKE, ZEROS_LIKE = (
    constant(n, getattr(torch, n), made, local=unread, **_FRESH) for n in ("ones_like", "zeros_like")
)
EMPTY_LIKE, RAND_LIKE, RANDN_LIKE = (
    constant(n, getattr(torch, n), made, **_FRESH) for n in ("empty_like", "rand_like", "randn_like")
)


def looked_up_aten(weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    return F.embedding(indices, weight)


EMBEDDING_ATEN = composite(
    "embedding_aten",
    torch.ops.aten.embedding.default,
    looked_up_aten,
    "",
    carries=(),
    formula="a constant",
    source="the paper, eq. 2 with A = 0",
    unsampled=_NO_PROBE,
)


def sized(x, size, dtype=None, device=None, layout=None):
    """A tensor of its own size; x tells its dtype and device."""


def sized_full(x, size, fill_value, dtype=None, device=None, layout=None):
    """The same, of one value."""


def filled_with(x, value):
    return value.expand_as(x) if isinstance(value, torch.fx.Proxy) else torch.full_like(x, value)


_SIZED: dict[str, Any] = {
    **_FRESH,
    "rank": lambda rank, a: count(rank, a["size"]),
    "variadic": True,
}
NEW_ZEROS, NEW_ONES = (constant(n, n, sized, local=fresh, **_SIZED) for n in ("new_zeros", "new_ones"))
NEW_EMPTY = constant("new_empty", "new_empty", sized, **_SIZED)
NEW_FULL = constant("new_full", "new_full", sized_full, **_SIZED)
FILL = composite(
    "fill",
    torch.fill,
    filled_with,
    "",
    functions=(torch.ops.aten.fill.Scalar, torch.ops.aten.fill.Tensor),
    methods=("fill",),
    carries=(),
    formula="a constant",
    source="the paper, eq. 2 with A = 0",
    unsampled=_NO_PROBE,
)
