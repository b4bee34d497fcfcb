"""Places of images drawn at random, whose rows and columns are averaged."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from ..linop import LinearInterpreter

SAMPLED = 16  # number of places


def sample(
    shape: Sequence[int], count: int = SAMPLED, margin: int = 8, seed: int = 0
) -> list[tuple[int, int]]:
    """Places (y, x) drawn at random, away from the border."""
    rng = torch.Generator().manual_seed(seed)
    m = min(margin, min(shape) // 4)

    def drawn(size: int) -> int:
        return int(torch.randint(m, size - m, (), generator=rng))

    return [(drawn(shape[0]), drawn(shape[1])) for _ in range(count)]


def sampled(lin: LinearInterpreter, count: int = SAMPLED) -> tuple[list, list]:
    """Input pixels drawn at random, and the outputs that are centred nearest to them."""
    lines = lin.F.alignment()
    box = lines.inside()
    drawn = sample([s.stop - s.start for s in box], count)
    outs = [lines.output_of([i + s.start for i, s in zip(place, box)]) for place in drawn]
    return [lines.input_of(out) for out in outs], outs


def zoom(lin: LinearInterpreter, radius: int) -> int:
    """A radius of input pixels, in outputs."""
    return max(1, math.ceil(radius * max(lin.F.alignment().scale)))
