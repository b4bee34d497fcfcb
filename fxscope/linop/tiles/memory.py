"""Whether the interpreter of a whole image fits into memory, and which tiles do where it does not."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from ..local.crop import Whole

BUDGET = 512 << 20  # bytes that the values of one tile may take
LEAST = 64  # pixels to a side of a tile
ALIVE = 4  # values of the largest size that a pass holds at once


def size_of(whole: Whole) -> int:
    """The pixels to a side of a tile whose values take about ``BUDGET``, its halo included."""
    pixels = math.prod(whole.inputs[1:])
    side = math.sqrt(BUDGET * pixels / (ALIVE * _largest(whole)))
    middle = {d: (n // 2, n // 2) for d, n in enumerate(whole.outputs[1:], 2)}
    follows = whole.traced.follows[whole.output]
    field = whole.field({d: ends for d, ends in middle.items() if d in follows})
    return max(LEAST, int(side) - max(last - first for first, last in field.values()))


def fits(whole: Whole) -> bool:
    """Whether the whole image takes at most half of the memory that is free."""
    return needs(whole) <= free() // 2


def needs(whole: Whole) -> int:
    """About the bytes of an interpreter of the whole image: what a pass holds, a mask a value, and x0."""
    masks = sum(v.numel() for n, v in whole.traced.values.items() if n in whole.traced.follows)
    values = whole.traced.values
    ends = 3 * _bytes(values[whole.output]) + 2 * _bytes(values[whole.image])
    return ALIVE * _largest(whole) + masks + ends


def _largest(whole: Whole) -> int:
    return max(_bytes(whole.traced.values[n]) for n in whole.traced.follows)


def _bytes(value: torch.Tensor) -> int:
    return value.numel() * value.element_size()


def free() -> int:
    """Bytes of memory that a new program can take without swapping, within the limit of its group."""
    known = Path("/proc/meminfo")
    if known.exists():
        lines = dict(line.split(":", 1) for line in known.read_text().splitlines())
        found = int(lines["MemAvailable"].split()[0]) << 10
    else:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    group = Path("/sys/fs/cgroup/memory.max")
    limit = group.read_text().strip() if group.exists() else "max"
    if limit.isdigit():
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        found = min(found, max(0, int(limit) - used))
    return found
