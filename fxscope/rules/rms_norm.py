"""RMS normalisation: freeze the root mean square; there is no mean to keep."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Normalize
from ..twins.norms import TangentNorm
from .declare import Sample, normalize


def _inverse(x, normalized_shape, eps):
    dims = [-d for d in range(len(normalized_shape), 0, -1)]
    eps = torch.finfo(torch.float32).eps if eps is None else eps
    return dims, torch.rsqrt((x * x).mean(dims, keepdim=True) + eps)


def stats(x, normalized_shape, weight=None, eps=None):
    _, inverse = _inverse(x, normalized_shape, eps)
    return Normalize(inverse if weight is None else inverse * weight)


def taylor(x, normalized_shape, weight=None, eps=None, *, y):
    dims, inverse = _inverse(x, normalized_shape, eps)
    z = x * inverse
    factor = inverse if weight is None else inverse * weight
    return TangentNorm(factor, z, y - factor * (x - z * (z * x).mean(dims, keepdim=True)), tuple(dims), centre=False)


RULE = normalize(
    "rms_norm", F.rms_norm, stats, stats, taylor, modules=(nn.RMSNorm,), samples=(Sample((2, 5, 7), {"normalized_shape": (7,), "eps": 1e-5}, tensors={"weight": (7,)}),),
    formula="h(x) = g x/rms(x);  y1 = g x1/rms(x0)", source="the paper, Fig. 2",
)
