"""Whether the interpreter of a whole image fits into memory, and which tiles do where it does not."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import torch
import torch.fx as fx
from torch import nn

from ...passes.attempts import canonical
from ...passes.sizes import shapes_at
from ..local.crop import Whole

BUDGET = 256 << 20  # bytes that the values of one tile may take
LEAST = 64  # pixels to a side of a tile
ALIVE = 4  # values of the largest size that a pass holds at once


def size_of(whole: Whole, budget: int = BUDGET) -> int:
    """The pixels to a side of a tile whose values take about so many bytes, its halo included."""
    pixels = math.prod(whole.inputs[1:])
    side = math.sqrt(budget * pixels / (ALIVE * _largest(whole)))
    middle = {d: (n // 2, n // 2) for d, n in enumerate(whole.outputs[1:], 2)}
    follows = whole.traced.follows[whole.output]
    field = whole.field({d: ends for d, ends in middle.items() if d in follows})
    return max(LEAST, int(side) - max(last - first for first, last in field.values()))


def may_fit(model: nn.Module, x0: torch.Tensor) -> bool:
    """Whether a network that is not local may be read whole: it takes half of the free memory, or less.

    True too where its sizes are not known without a run.
    """
    try:
        graph = canonical(model, None, "symbolic", rank=x0.dim())
        sizes = shapes_at(graph, tuple(x0.shape), x0.dtype)
    except Exception:  # whatever stops it here, the interpreter of the whole image names it
        return True
    return fits({n: sizes[n.name] for n in graph.graph.nodes if n.name in sizes})


def fits(values: dict[fx.Node, Any]) -> bool:
    """Whether an interpreter at these sizes takes at most half of the memory that is free."""
    return needs(values) <= free() // 2


def needs(values: dict[fx.Node, Any]) -> int:
    """About the bytes of an interpreter at these sizes: what a pass holds, and a mask for each value."""
    known = [v for n, v in values.items() if isinstance(v, torch.Tensor) and n.op != "get_attr"]
    ends = (v for n, v in values.items() if n.op in ("placeholder", "output"))
    results = 3 * sum(_bytes(v) for v in ends if isinstance(v, torch.Tensor))
    return ALIVE * max(map(_bytes, known)) + sum(v.numel() for v in known) + results


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
