"""The variants of a normalisation over ``dims``: frozen statistics, frozen deviation, Taylor."""

import torch

from ..twins import Normalize
from ..twins.norms import Centred, TangentNorm


def wide(x):
    """Values of x in single precision at least, as torch's own kernels take statistics.

    Squares of half precision overflow from 256 on.
    """
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _deviation(x, dims, eps):
    mean = x.mean(dims, keepdim=True)
    return mean, torch.rsqrt(x.var(dims, unbiased=False, keepdim=True) + eps)


def frozen(x, dims, g, b, eps):
    """y1 = g (x1 - mu0)/sigma0 + b: pointwise."""
    mean, inverse = _deviation(wide(x), dims, eps)
    factor = inverse if g is None else inverse * g
    offset = -mean * factor
    return Normalize(factor.to(x.dtype), (offset if b is None else offset + b).to(x.dtype))


def centred(x, dims, g, b, eps):
    """y1 = g (x1 - mu(x1))/sigma0 + b: the mean stays linear."""
    _, inverse = _deviation(wide(x), dims, eps)
    return Centred(
        (inverse if g is None else inverse * g).to(x.dtype), b, tuple(d if d < 0 else d + 1 for d in dims)
    )


def tangent(x, y, dims, g, eps):
    """y1 = y0 + J (x1 - x0), with J v = g/sigma0 (v - mean(v) - z0 mean(z0 v)).

    z0 is the normalised x0; J x0 is not y0.
    """
    mean, inverse = _deviation(wide(x), dims, eps)
    centre = wide(x) - mean
    z = centre * inverse
    scale = inverse if g is None else inverse * g
    shifted = tuple(d if d < 0 else d + 1 for d in dims)
    offset = y - scale * (centre - z * (z * centre).mean(dims, keepdim=True))
    return TangentNorm(scale.to(x.dtype), z.to(x.dtype), offset.to(x.dtype), shifted)
