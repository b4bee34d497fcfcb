"""Sums of numbers that do not depend on the order or on the grouping of the terms: whole numbers.

A number is written as three whole numbers, the places before the binary point, the next 40 and the next 40:
it is rounded once, to a multiple of 2^-80. Whole numbers are summed exactly, so that parts of a study can be
merged in any order and in any grouping, and give the same bits.
"""

from __future__ import annotations

import torch

from ..errors import NonFinite

BITS = 40
LARGEST = 2.0**38  # the largest number that is taken; 2^24 of them can be summed
UNIT = 2.0**BITS


def limbs(values: torch.Tensor, what: str = "a value") -> torch.Tensor:
    """(3, ...), whole numbers a, b, c with ``values = a + b 2^-40 + c 2^-80``, to 2^-81.

    Raises
    ------
    NonFinite
        If a value is not finite, or 2^38 or more.
    """
    rest = values.detach().double().cpu()
    if not bool((rest.abs() < LARGEST).all()):
        raise NonFinite(
            f"{what} is not finite, or {LARGEST:.3g} or more, where exact sums end: divide the network's"
            " output by a constant"
        )
    parts = []
    for _ in range(3):
        whole = rest.round()
        parts.append(whole.long())
        rest = (rest - whole) * UNIT  # both exact
    return torch.stack(parts)


def number(parts: torch.Tensor) -> torch.Tensor:
    """The numbers in double precision of whole numbers (3, ...), or of sums of them."""
    first, second, third = parts
    half = 1 << (BITS - 1)
    carry = (third + half) >> BITS
    second, third = second + carry, third - (carry << BITS)
    carry = (second + half) >> BITS
    first, second = first + carry, second - (carry << BITS)
    return first.double() + (second.double() / UNIT + third.double() / UNIT**2)
