"""Quotients with a removable singularity at 0, in a form that is exact on both sides of it."""

import torch


def _near(x, radius: float):
    return x.abs() < radius


def _nonzero(x, near):
    """x, with 1 where a series is used instead, so that neither branch of ``where`` makes NaN in value or gradient."""
    return torch.where(near, torch.ones_like(x), x)


def tanhc(x):
    """tanh(x)/x, 1 at 0."""
    near = _near(x, 1e-2)
    square = torch.where(near, x * x, torch.zeros_like(x))
    series = 1 + square * (-1 / 3 + square * (2 / 15 + square * (-17 / 315)))
    safe = _nonzero(x, near)
    return torch.where(near, series, torch.tanh(safe) / safe)


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


def sinc(x):
    """sin(x)/x, 1 at 0."""
    near = _near(x, 1e-2)
    square = torch.where(near, x * x, torch.zeros_like(x))
    series = 1 + square * (-1 / 6 + square * (1 / 120 + square * (-1 / 5040)))
    safe = _nonzero(x, near)
    return torch.where(near, series, torch.sin(safe) / safe)


def logcosh(x):
    """log cosh x, exact near 0 (by sinh) and far from it (by |x|)."""
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
