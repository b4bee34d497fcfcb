"""Quotients with a removable singularity at 0, in a form that is exact on both sides of it."""

import math

import torch


def _near(x, radius: float):
    return x.abs() < radius


def _nonzero(x, near):
    """x, with 1 where a series is used instead.

    So neither branch of ``where`` makes NaN in its value or gradient.
    """
    return torch.where(near, torch.ones_like(x), x)


def series(x, function, coefficients, radius: float = 1e-2):
    """function(x)/x of an odd function.

    Near 0 it is the first terms c0 + c1 x^2 + c2 x^4 + ..., elsewhere the quotient.
    """
    near = _near(x, radius)
    square = torch.where(near, x * x, torch.zeros_like(x))
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = square * total + c
    # inside the radius of convergence of every function that is asked for, and away from 0
    safe = torch.where(near, torch.full_like(x, 0.5), x)
    return torch.where(near, total, function(safe) / safe)


def tanhc(x):
    """tanh(x)/x, 1 at 0."""
    return series(x, torch.tanh, (1.0, -1 / 3, 2 / 15, -17 / 315))


def sinc(x):
    """sin(x)/x, 1 at 0."""
    return series(x, torch.sin, (1.0, -1 / 6, 1 / 120, -1 / 5040))


def sinhc(x):
    """sinh(x)/x, 1 at 0."""
    return series(x, torch.sinh, (1.0, 1 / 6, 1 / 120, 1 / 5040))


def erf_ratio(x):
    """erf(x)/x, 2/sqrt(pi) at 0."""
    two = 2 / math.sqrt(math.pi)
    return series(x, torch.erf, (two, -two / 3, two / 10, -two / 42))


def expm1c(x):
    """(exp(x) - 1)/x, 1 at 0."""
    near = _near(x, 1e-5)
    safe = _nonzero(x, near)
    return torch.where(near, 1 + x * (0.5 + x * (1 / 6)), torch.expm1(safe) / safe)


def log1pc(x):
    """log(1 + x)/x, 1 at 0."""
    near = _near(x, 1e-5)
    safe = _nonzero(x, near)
    return torch.where(near, 1 + x * (-0.5 + x * (1 / 3)), torch.log1p(safe) / safe)


def logcosh(x):
    """Log cosh x, exact near 0 (by sinh) and far from it (by |x|)."""
    near = _near(x, 1.0)
    small = torch.where(near, x, torch.zeros_like(x))
    half = torch.sinh(small * 0.5)
    far = x.abs() + torch.log1p(torch.exp(-2 * x.abs())) - 0.6931471805599453
    return torch.where(near, torch.log1p(2 * half * half), far)


def logcoshc(x):
    """log(cosh x)/x, 0 at 0."""
    near = _near(x, 1e-3)
    safe = _nonzero(x, near)
    return torch.where(near, x * (0.5 - x * x * (1 / 12)), logcosh(safe) / safe)
