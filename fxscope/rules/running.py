"""Products and log-sum-exps of all entries, and of all up to each: weights of x0 for every entry of x1.

A product of n entries is homogeneous of degree n, so that <gradient, x1>/n gives y0 at x1 = x0, as the
uniform variant of a product of two. The gradient is made of products, and not of quotients y0/x0: an entry
may be 0.
"""

import torch
import torch.nn.functional as F

from ..twins import shifted
from ..twins.applied import Applied, Shift
from ..twins.norms import InnerProduct
from . import _reduced
from ._ranks import reduced_rank
from .declare import Sample, mask
from .spread import last_dims


def _before(x):
    """The products of the entries before each, along the last dimension."""
    return torch.cumprod(F.pad(x, [1, -1], value=1.0), -1)


def _gradient(x, dim):
    """The product of all other entries, for each."""
    x = x.movedim(dim, -1)
    return (_before(x) * _before(x.flip([-1])).flip([-1])).movedim(-1, dim)


def _degree(x, dim, keepdim=False):
    return torch.ones_like(x).sum(dim, keepdim=keepdim)


def whole(x, dim=None, keepdim=False, dtype=None, *, call):
    (d,) = last_dims(call, dim)
    weight = _gradient(x, d) / _degree(x, d, True)
    return InnerProduct(weight, None, (shifted(d),), keepdim)


def whole_taylor(x, dim=None, keepdim=False, dtype=None, *, call, y):
    (d,) = last_dims(call, dim)
    return InnerProduct(_gradient(x, d), y - y * _degree(x, d, keepdim), (shifted(d),), keepdim)


def expand(x, dim=None, keepdim=False, dtype=None):
    """Of everything, and of values in another dtype."""
    if dtype is not None:
        return torch.prod(x.to(dtype)) if dim is None else torch.prod(x.to(dtype), dim, keepdim)
    return torch.prod(torch.flatten(x), 0) if dim is None else None


def _weighted(k, x, weight, dim):
    return (x.movedim(dim, -1).unsqueeze(-2) @ weight).squeeze(-2).movedim(-1, dim)


def _weighted_back(k, y, x, weight, dim):
    return _weighted(k, y, weight.transpose(-2, -1), dim)


def _mixed(call, weight, dim):
    """y1 at each place is the sum of the entries of x1 up to there, with these weights (..., from, to)."""
    return Applied(_weighted, _weighted_back, (weight,), (shifted(dim),))


def _gradients(x):
    """The product of all other entries up to each place, along the last dimension: (..., from, to)."""
    later = (x.unsqueeze(-2) + torch.zeros_like(x).unsqueeze(-1)).triu(1)
    behind = torch.where(torch.ones_like(later).triu(1) > 0, later, 1.0)
    return (torch.cumprod(behind, -1) * _before(x).unsqueeze(-1)).triu()


def products(x, dim, dtype=None, *, call):
    (d,) = last_dims(call, dim)
    x = x.movedim(d, -1)
    return _mixed(call, _gradients(x) / torch.ones_like(x).cumsum(-1).unsqueeze(-2), d)


def products_taylor(x, dim, dtype=None, *, call, y):
    (d,) = last_dims(call, dim)
    twin = _mixed(call, _gradients(x.movedim(d, -1)), d)
    value = call.record(twin, [call.value("x")], like=y, rank=call.rank("x"))
    return Shift(y - y * torch.ones_like(x).cumsum(d)), [value]


def of_dtype(function):
    def expand(x, dim, dtype=None):
        return None if dtype is None else function(x.to(dtype), dim)

    return expand


def sums(x, dim, *, call, y):
    """The softmax over the entries up to each place; y0 less its mean of x0 is the constant."""
    (d,) = last_dims(call, dim)
    moved, end = x.movedim(d, -1), y.movedim(d, -1)
    # what is masked in front of all else is no entry yet
    end = torch.where(end == -float("inf"), torch.zeros_like(end), end)
    weight = torch.exp((moved.unsqueeze(-1) - end.unsqueeze(-2)).clamp(max=0.0)).triu()
    seen = torch.where(moved == -float("inf"), torch.zeros_like(moved), moved)
    value = call.record(_mixed(call, weight, d), [call.value("x")], like=y, rank=call.rank("x"))
    return Shift(y - (seen.unsqueeze(-2) @ weight).squeeze(-2).movedim(-1, d)), [value]


_ATEN = torch.ops.aten
_PLACES = (Sample(kwargs={"dim": 2}), Sample((2, 5), {"dim": -1}))
PROD = mask(
    "prod",
    torch.prod,
    whole,
    taylor=whole_taylor,
    functions=(_ATEN.prod.dim_int, _ATEN.prod.default),
    methods=("prod",),
    expand=expand,
    rank=reduced_rank,
    reduced=_reduced.reduction,
    samples=(
        Sample(kwargs={"dim": 1}, spellings=("prod", "prod.dim_int")),
        Sample(kwargs={"dim": -1, "keepdim": True}, spellings=("prod", "prod.dim_int")),
        Sample((2, 3), independent_batch=False, spellings=("prod", "prod.default")),
    ),
    formula=(
        "h(x) = x_1 ... x_n;  y1 = <g0, x1>/n, g0 the products of the others;  taylor: <g0, x1> - (n - 1) y0"
    ),
    source="the paper, eq. 2 with c = 0",
)
CUMPROD = mask(
    "cumprod",
    torch.cumprod,
    products,
    taylor=products_taylor,
    functions=(_ATEN.cumprod.default,),
    methods=("cumprod",),
    expand=of_dtype(torch.cumprod),
    reduced=_reduced.all_but("dim"),
    samples=(*_PLACES, Sample(kwargs={"dim": 1, "dtype": torch.float64})),
    formula="h(x)_k = x_1 ... x_k;  y1 as of prod, with n = k",
    source="the paper, eq. 2 with c = 0",
)
LOGCUMSUMEXP = mask(
    "logcumsumexp",
    torch.logcumsumexp,
    sums,
    taylor=sums,
    functions=(_ATEN.logcumsumexp.default,),
    methods=("logcumsumexp",),
    reduced=_reduced.all_but("dim"),
    samples=_PLACES,
    formula="h(x)_k = log sum exp(x_1 .. x_k);  y1 = <s0, x1> + h0 - <s0, x0>, s0 = softmax(x0) up to k",
    source="the paper, eq. 4 (h is convex: no ratio)",
)
