"""Norms, deviations and variances over dimensions: inner products of x1 with a frozen weight.

Usually they end in a denominator or a gate, which freezes them whole. By themselves they are homogeneous, h(t
x) = t^n h(x) for t > 0, so h(x) = <gradient, x>/n: a weight and no constant. For norms and deviations (n = 1)
it is the Jacobian too.
"""

from typing import Any

import torch

from ..twins import shifted
from ..twins.norms import InnerProduct
from . import _reduced
from ._ranks import reduced_rank
from .declare import Sample, composite, mask


def last_dims(call, dim, name="x"):
    """Dimensions counted from the end; all of them where none is named.

    Where the rank is not known they stay as they are, if all are counted from one end.
    """
    named = list(dim) if isinstance(dim, (list, tuple)) else [] if dim is None else [dim]
    if call.rank(name) is None and named and len({d < 0 for d in named}) == 1:
        return named
    rank = call.need_rank(name)
    if rank == 0:
        raise TypeError("a tensor without dimensions, which has none to reduce")
    return [d % rank - rank for d in named or range(rank)]


def inserted(y, dims):
    """Y with dimensions of size one more, at these places of the result: all counted from one end."""
    for d in sorted(dims, reverse=any(d < 0 for d in dims)):
        y = y.unsqueeze(d)
    return y


def over(divisor, x):
    """x/divisor, 0 where the divisor is: the norm of zeros has no gradient, and torch's is 0."""
    zero = divisor == 0
    return torch.where(zero, torch.zeros_like(x), x / torch.where(zero, torch.ones_like(divisor), divisor))


def unit_weight(x, norm, p, dims):
    """The gradient of |x|_p: sign(x) (|x|/|x|_p)^(p - 1); shared between the largest where p is infinite."""
    if p in (2, 2.0):
        return over(norm, x)
    if p in (1, 1.0):
        return torch.sign(x)
    if p in (float("inf"), float("-inf")):
        largest = torch.where(x.abs() == norm, torch.sign(x), torch.zeros_like(x))
        return over(largest.abs().sum(dims, keepdim=True), largest)
    return torch.sign(x) * torch.pow(over(norm, x.abs()), p - 1)


def _centred(x, dims):
    return x - x.mean(dims, keepdim=True)


def _freedom(x, dims, unbiased, correction):
    """N - c, the number of entries less the correction, as a tensor: sizes stay symbolic."""
    count = torch.ones_like(x).sum(dims, keepdim=True)
    return count - (int(unbiased) if correction is None else correction)


def var(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call):
    dims = last_dims(call, dim)
    return InnerProduct(
        _centred(x, dims) / _freedom(x, dims, unbiased, correction), None, tuple(shifted(dims)), keepdim
    )


def var_taylor(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call, y):
    dims = last_dims(call, dim)
    return InnerProduct(
        _centred(x, dims) * 2 / _freedom(x, dims, unbiased, correction), -y, tuple(shifted(dims)), keepdim
    )


def _truth_first(function):
    """Torch takes ``unbiased`` in the place of ``dim``: x.var(False)."""

    def expand(x, dim=None, unbiased=True, keepdim=False, correction=None):
        return function(x, unbiased=dim) if isinstance(dim, bool) else None

    return expand


def std(x, dim=None, unbiased=True, keepdim=False, correction=None, *, call):
    dims = last_dims(call, dim)
    centred, freedom = _centred(x, dims), _freedom(x, dims, unbiased, correction)
    deviation = torch.sqrt((centred * centred).sum(dims, keepdim=True) / freedom)
    return InnerProduct(over(deviation, centred) / freedom, None, tuple(shifted(dims)), keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False, dtype=None, *, call):
    if dtype is not None or ord == 0:
        raise TypeError(f"a norm with ord={ord}, dtype={dtype}")
    dims = last_dims(call, dim)
    norm = torch.linalg.vector_norm(x, ord, dims, True)
    return InnerProduct(unit_weight(x, norm, ord, dims), None, tuple(shifted(dims)), keepdim)


def norm(x, p="fro", dim=None, keepdim=False, dtype=None, *, call):
    if isinstance(p, str) and p != "fro":
        raise TypeError(f"norm with p={p!r}")
    return vector_norm(x, 2 if p is None or p == "fro" else p, dim, keepdim, dtype, call=call)


def linalg_norm(x, ord=None, dim=None, keepdim=False, *, call):
    if ord not in (None, "fro") and not isinstance(dim, int):
        raise TypeError("a matrix norm; torch.linalg.vector_norm is the norm of vectors")
    return vector_norm(x, 2 if ord in (None, "fro") else ord, dim, keepdim, call=call)


_ATEN = torch.ops.aten
_FIELDS: dict[str, Any] = {
    "rank": reduced_rank,
    "reduced": _reduced.reduction,
    "source": "the paper, eq. 2 with c = 0",
    "interval": lambda bound, a: (0.0, float("inf")),
}
_SPREADS = (
    Sample(kwargs={"dim": (2, 3)}),
    Sample(kwargs={"dim": 1, "unbiased": False, "keepdim": True}),
    Sample(kwargs={"dim": -1, "correction": 2}),
)
_TRUTH: dict[str, Any] = {"call": lambda f, x: f(x, False), "independent_batch": False}
_NORMS = (Sample(kwargs={"dim": (2, 3)}), Sample(kwargs={"dim": 1, "keepdim": True}))
VAR = mask(
    "var",
    torch.var,
    var,
    taylor=var_taylor,
    methods=("var",),
    functions=(_ATEN.var.correction, _ATEN.var.dim, _ATEN.var.default),
    expand=_truth_first(torch.var),
    samples=(*_SPREADS, Sample(**_TRUTH, spellings=("var", "Tensor.var", "var.default"))),
    formula="h(x) = var(x);  y1 = <(x0 - mean)/(n - c), x1>;  taylor: twice that, minus var0",
    **_FIELDS,
)
STD = mask(
    "std",
    torch.std,
    std,
    taylor=std,
    methods=("std",),
    functions=(_ATEN.std.correction, _ATEN.std.dim, _ATEN.std.default),
    expand=_truth_first(torch.std),
    samples=(*_SPREADS, Sample(**_TRUTH, spellings=("std", "Tensor.std", "std.default"))),
    formula="h(x) = std(x);  y1 = <(x0 - mean)/((n - c) std0), x1>",
    **_FIELDS,
)
NORM = mask(
    "norm",
    torch.norm,
    norm,
    taylor=norm,
    methods=("norm",),
    functions=(_ATEN.norm.ScalarOpt_dim,),
    samples=(*_NORMS, Sample(kwargs={"p": 1, "dim": 1})),
    formula="h(x) = |x|;  y1 = <x0, x1>/|x0|, 0 at 0",
    **_FIELDS,
)
VECTOR_NORM = mask(
    "vector_norm",
    torch.linalg.vector_norm,
    vector_norm,
    taylor=vector_norm,
    functions=(_ATEN.linalg_vector_norm.default,),
    samples=(
        *_NORMS,
        Sample(kwargs={"ord": 1, "dim": 1}),
        Sample(kwargs={"ord": 3, "dim": (2, 3)}),
        Sample(kwargs={"ord": float("inf"), "dim": -1}),
    ),
    formula="h(x) = |x|_p;  y1 = <sign(x0) (|x0|/h0)^(p-1), x1>, 0 at 0",
    **_FIELDS,
)
LINALG_NORM = mask(
    "linalg_norm",
    torch.linalg.norm,
    linalg_norm,
    taylor=linalg_norm,
    samples=(*_NORMS, Sample(kwargs={"ord": 1, "dim": -1})),
    formula="h(x) = |x|;  y1 = <x0, x1>/|x0|, 0 at 0",
    **_FIELDS,
)


def _with_mean(spread):
    def expand(x, dim=None, unbiased=True, keepdim=False, correction=None):
        """Both values, each by its own operator."""
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        correction = int(unbiased) if correction is None else correction
        return spread(x, dim=dim, correction=correction, keepdim=keepdim), torch.mean(
            x, [] if dim is None else dim, keepdim
        )

    return expand


_PAIRS = tuple(
    Sample(
        k.shape,
        k.kwargs,
        call=lambda f, x, **given: tuple(f(x, **given)[i] for i in (0, 1)),
        independent_batch=k.independent_batch,
    )
    for k in (*_SPREADS, Sample(kwargs={"keepdim": True}, independent_batch=False))
)
VAR_MEAN = composite(
    "var_mean",
    torch.var_mean,
    _with_mean(torch.var),
    "two kernels for one",
    functions=(_ATEN.var_mean.correction,),
    yields="tensors",
    samples=_PAIRS,
    rank=reduced_rank,
    formula="var and mean",
    source="the paper, eq. 2",
)
STD_MEAN = composite(
    "std_mean",
    torch.std_mean,
    _with_mean(torch.std),
    "two kernels for one",
    functions=(_ATEN.std_mean.correction,),
    yields="tensors",
    samples=_PAIRS,
    rank=reduced_rank,
    formula="std and mean",
    source="the paper, eq. 2",
)
