"""RMS normalisation: freeze the root mean square; there is no mean to keep."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Normalize
from ..twins.norms import TangentNorm
from ._local import before_shape
from ._norms import wide
from ._sizes import last_dims_of
from .declare import Sample, normalize


def _inverse(x, eps, call):
    """Dimensions, and 1/rms in single precision at least."""
    dims = last_dims_of(call.arguments["normalized_shape"], call.facts, "rms_norm")
    x = wide(x)
    square = (x * x).mean(dims, keepdim=True)
    return dims, torch.rsqrt(square + (_epsilon(square) if eps is None else eps))


def _epsilon(x):
    """The machine epsilon of the dtype that torch computes in, as a value of the graph.

    It is the default eps of torch, computed from the rounding error of 4/3.
    """
    third = torch.ones_like(x) * 4 / 3 - 1
    return (third * 3 - 1).abs()


def stats(x, normalized_shape, weight=None, eps=None, *, call):
    _, inverse = _inverse(x, eps, call)
    return Normalize((inverse if weight is None else inverse * weight).to(x.dtype))


def taylor(x, normalized_shape, weight=None, eps=None, *, y, call):
    dims, inverse = _inverse(x, eps, call)
    z = wide(x) * inverse
    factor = inverse if weight is None else inverse * weight
    offset = y - factor * (wide(x) - z * (z * wide(x)).mean(dims, keepdim=True))
    return TangentNorm(factor.to(x.dtype), z.to(x.dtype), offset.to(x.dtype), tuple(dims), centre=False)


RULE = normalize(
    "rms_norm",
    F.rms_norm,
    stats,
    stats,
    taylor,
    local=before_shape,
    functions=(torch.rms_norm, torch.ops.aten.rms_norm.default),
    modules=(nn.RMSNorm,),
    samples=(
        Sample(
            (2, 5, 7),
            {"normalized_shape": (7,), "eps": 1e-5},
            {"normalized_shape": 7, "eps": 1e-5},
            {"weight": (7,)},
        ),
        Sample(
            (2, 3, 4, 5),
            {"normalized_shape": (4, 5), "eps": 0.1},
            {"normalized_shape": (4, 5), "eps": 0.1, "elementwise_affine": False},
        ),
        Sample((2, 5, 7), {"normalized_shape": (7,)}, {"normalized_shape": 7, "elementwise_affine": False}),
    ),
    formula="h(x) = g x/rms(x);  y1 = g x1/rms(x0)",
    source="the paper, Fig. 2",
)
