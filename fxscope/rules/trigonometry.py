"""Sine and error function by their ratio, cosine by its distance from 1."""

import math

import torch

from ..twins import Gate
from ._stable import sinc
from .declare import Sample, like, mask


def sin(x):
    return Gate(factor=sinc(x))


def sin_taylor(x, *, y):
    slope = torch.cos(x)
    return Gate(factor=slope, offset=y - slope * x)


def cos(x):
    # (cos x - 1)/x = -x/2 sinc(x/2)^2
    half = sinc(x * 0.5)
    return Gate(factor=x * half * half * -0.5, offset=like(x, 1.0))


def cos_taylor(x, *, y):
    slope = -torch.sin(x)
    return Gate(factor=slope, offset=y - slope * x)


def erf(x):
    near = x.abs() < 1e-3
    safe = torch.where(near, torch.ones_like(x), x)
    small = torch.where(near, x * x, torch.zeros_like(x))
    return Gate(factor=torch.where(near, (1 - small * (1 / 3 - small * 0.1)) * (2 / math.sqrt(math.pi)), torch.erf(safe) / safe))


def erf_taylor(x, *, y):
    slope = torch.exp(-x * x) * (2 / math.sqrt(math.pi))
    return Gate(factor=slope, offset=y - slope * x)


_UNIT = dict(samples=(Sample(),), interval=lambda bound, a: (-1.0, 1.0))
SIN = mask("sin", torch.sin, sin, taylor=sin_taylor, methods=("sin",), formula="y1 = sin(x0)/x0 x1", source="the paper, eq. 2 with c = 0", **_UNIT)
COS = mask("cos", torch.cos, cos, taylor=cos_taylor, methods=("cos",), formula="y1 = (cos(x0) - 1)/x0 x1 + 1", source="READINGS 1", **_UNIT)
ERF = mask("erf", torch.erf, erf, taylor=erf_taylor, functions=(torch.special.erf,), methods=("erf",), formula="y1 = erf(x0)/x0 x1", source="the paper, eq. 2 with c = 0", **_UNIT)
