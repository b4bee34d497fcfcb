"""Cosine similarity and distances, written out as norms: a norm is frozen where values are divided by it.

A distance is homogeneous of degree one in the difference, and frozen as every norm (``rules/spread.py``).
"""

import torch

from .declare import Sample, composite


def _norm(x, p, dim, keepdim):
    return torch.linalg.vector_norm(x, p, dim, keepdim)


def _unit(x, dim, eps):
    return x / _norm(x, 2, dim, True).clamp_min(eps)


def cosine(x1, x2, dim=1, eps=1e-8):
    a, b = x1 + torch.zeros_like(x2), x2 + torch.zeros_like(x1)  # which broadcast
    return (_unit(a, dim, eps) * _unit(b, dim, eps)).sum(dim)


def pairwise(x1, x2, p=2.0, eps=1e-6, keepdim=False):
    return _norm(x1 - x2 + eps, p, -1, keepdim)


def between_all(x1, x2, p=2.0, compute_mode=None):
    return _norm(x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1, False)


def between_pairs(x, p=2.0):
    """The distances of cdist(x, x) above its diagonal, row by row."""
    n = x.size(0)
    first, second = torch.triu_indices(n, n, 1, device=x.device).unbind(0)
    return _norm(x.index_select(0, first) - x.index_select(0, second), p, -1, False)


def between_two(input, other, p=2):
    return torch.linalg.vector_norm(input - other, p)


_ATEN = torch.ops.aten
_ORDER = "a norm of differences, in operators of its own"


def _rule(name, target, expand, samples, formula, **fields):
    return composite(
        name,
        target,
        expand,
        _ORDER,
        **{"carries": ("x1", "x2"), **fields},
        samples=samples,
        formula=formula,
        source="the paper, eq. 2 with c = 0; Fig. 2 for the norms",
    )


def _of_itself(f, x, **given):
    return f(x, x.flip(1) * 0.5 + 0.1, **given)


def _with_mode(f, x, x2):
    """ATen's forms take how it is computed as well."""
    return f(x, x2, 2.0, *(() if f is torch.cdist else (None,)))


COSINE_SIMILARITY = _rule(
    "cosine_similarity",
    torch.cosine_similarity,
    cosine,
    (
        Sample((2, 4, 5), tensors={"x2": (2, 4, 5)}),
        Sample((2, 4, 5), {"dim": -1}, tensors={"x2": (4, 5)}),
        Sample((2, 4, 5), {"dim": 2, "eps": 1e-6}, call=_of_itself, modules=()),
    ),
    "h(a, b) = <a, b>/(|a| |b|);  norms frozen, and of two operands the product of their units is uniform",
    functions=(_ATEN.cosine_similarity.default,),
    modules=(torch.nn.CosineSimilarity,),
    interval=lambda bound, a: (-1.0, 1.0),
)
PAIRWISE_DISTANCE = _rule(
    "pairwise_distance",
    torch.pairwise_distance,
    pairwise,
    (
        Sample((2, 4, 5), tensors={"x2": (2, 4, 5)}),
        Sample((2, 4, 5), {"p": 1.0, "keepdim": True}, tensors={"x2": (4, 5)}),
        Sample((2, 4, 5), call=_of_itself, modules=()),
    ),
    "h(a, b) = |a - b + e|_p;  y1 = <w0, a1 - b1 + e>, w0 the gradient of the norm",
    functions=(_ATEN.pairwise_distance.default,),
    modules={torch.nn.PairwiseDistance: lambda m: {"p": m.norm, "eps": m.eps, "keepdim": m.keepdim}},
)
CDIST = _rule(
    "cdist",
    torch.cdist,
    between_all,
    (
        Sample((2, 4, 5), tensors={"x2": (3, 5)}),
        Sample((2, 4, 5), {"p": 1.0}, tensors={"x2": (3, 5)}),
        Sample((2, 4, 5), tensors={"x2": (2, 3, 5)}, call=_with_mode),
        Sample((2, 4, 5), call=lambda f, x: f(x, x[:, :3] * -0.5 + 0.3)),
    ),
    "h(a, b)_ij = |a_i - b_j|_p;  y1 = <w0, a1_i - b1_j>, w0 the gradient of the norm",
    functions=(_ATEN.cdist.default, _ATEN._cdist_forward.default),
)
PDIST = _rule(
    "pdist",
    torch.pdist,
    between_pairs,
    (
        Sample((4, 5), independent_batch=False),
        Sample((3, 5), {"p": 1.0}, independent_batch=False),
        Sample((4, 2), {"p": 3.0}, independent_batch=False),
    ),
    "h(x)_ij = |x_i - x_j|_p, i < j;  y1 = <w0, x1_i - x1_j>, w0 the gradient of the norm",
    carries=("x",),
    functions=(_ATEN.pdist.default, _ATEN._pdist_forward.default),
    rank=lambda rank, a: 1,
    input_rank=2,
)
DIST = _rule(
    "dist",
    torch.dist,
    between_two,
    (Sample((2, 5), tensors={"other": (2, 5)}, independent_batch=False),),
    "h(a, b) = |a - b|_p;  y1 = <w0, a1 - b1>, w0 the gradient of the norm",
    carries=("input", "other"),
    functions=(_ATEN.dist.default,),
    methods=("dist",),
)
