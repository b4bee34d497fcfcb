"""Which cases of a cross product the default run takes; the others are marked ``full``."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import pytest


def crossed(*factors: Iterable[Any]) -> list[Any]:
    """Every combination; unmarked are those whose places sum to a multiple of the shortest factor's length.

    Of two factors every value occurs among them, and of three or more every pair of values of two factors.
    """
    values = [list(factor) for factor in factors]
    shortest = min(map(len, values))
    return [
        pytest.param(
            *(v[i] for v, i in zip(values, places)),
            marks=[pytest.mark.full] if sum(places) % shortest else [],
        )
        for places in itertools.product(*(range(len(v)) for v in values))
    ]
