"""Piecewise-linear units: which piece is active is frozen, its slope and intercept are the twin."""

import torch

from ..twins import Gate, Mask
from .declare import like


def clipped(x, y, low, high):
    """Identity inside (low, high), the frozen value outside; a NaN in x0 stays in the constant."""
    inside = (x > low) & (x < high)
    return Mask(keep=inside, other=y)


def linear_piece(x, y, inside, slope):
    """Slope * x + y0 - slope * x0 inside, the frozen value outside."""
    factor = torch.where(inside, like(x, slope), like(x, 0.0))
    return Gate(factor=factor, offset=torch.where(inside, y - x * slope, y))
