"""Quantiles: the order of x0 and the weights between two places of it are frozen."""

import torch

from . import _reduced
from ._ranks import reduced_rank
from .declare import Sample, composite

_ROUND = {"lower": torch.floor, "higher": torch.ceil, "nearest": torch.round}


def quantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    """Of a slice with NaN it is NaN."""
    x, dim, keepdim = _one_dimension(x, q, dim, keepdim)
    none = torch.isnan(x)
    last = torch.ones_like(x).sum(dim, keepdim=True) - 1
    place = torch.where(none.any(dim, True), last, last * q)
    return _at(x, place, dim, keepdim, interpolation)


def nanquantile(x, q, dim=None, keepdim=False, interpolation="linear"):
    x, dim, keepdim = _one_dimension(x, q, dim, keepdim)
    there = torch.where(torch.isnan(x), torch.zeros_like(x), torch.ones_like(x))
    last = there.sum(dim, keepdim=True) - 1
    return _at(x, (last * q).clamp_min(0.0), dim, keepdim, interpolation)


def _one_dimension(x, q, dim, keepdim):
    """What is sorted, and along which dimension; of everything, where none is named."""
    if not isinstance(q, (int, float)):
        raise TypeError("several quantiles at once")
    if dim is not None:
        return x, dim, keepdim
    if keepdim:
        raise TypeError("a quantile of everything that keeps its dimensions")
    return torch.flatten(x), -1, False


def _at(x, place, dim, keepdim, interpolation):
    """The sorted values at a place between two of them."""
    values = torch.sort(x, dim)[0]
    if interpolation in _ROUND:
        found = torch.gather(values, dim, _ROUND[interpolation](place).long())
    else:
        low = torch.floor(place)
        weight = place - low if interpolation == "linear" else 0.5
        below, above = (torch.gather(values, dim, p.long()) for p in (low, torch.ceil(place)))
        found = below + (above - below) * weight
    return found if keepdim else found.select(dim, 0)  # PyTorch Geometric puts a function in torch.select


_ATEN = torch.ops.aten


def _rule(name, expand):
    return composite(
        name,
        getattr(torch, name),
        expand,
        "the two values are weighed in another order",
        functions=(getattr(_ATEN, name).scalar,),
        methods=(name,),
        rank=reduced_rank,
        reduced=_reduced.reduction,
        samples=(
            Sample(kwargs={"q": 0.3, "dim": 1}),
            Sample(kwargs={"q": 0.8, "dim": -1, "keepdim": True}),
            Sample(kwargs={"q": 0.4, "dim": 2, "interpolation": "midpoint"}),
            Sample(kwargs={"q": 0.4, "dim": 2, "interpolation": "nearest"}),
            Sample((2, 5), {"q": 0.3}, independent_batch=False),
        ),
        formula="h(x) = between two of the sorted values;  y1 = between x1 at their places, so weighed",
        source="the paper, Fig. 2 (indices)",
        interval=lambda bound, a: bound(a["x"]),
    )


QUANTILE, NANQUANTILE = _rule("quantile", quantile), _rule("nanquantile", nanquantile)
