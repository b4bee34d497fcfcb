"""How long the steps of a report are expected to take, from one pass of the network."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import torch

from .networks import Network, tile_of
from .outputs import ALL, FAST_SIDE, LAWS, STEPS, Asked

SIDES = "side-by-side"

# Measured on two cores, in passes of the network on x0: of a step's work, and for its figures in seconds.
PASSES = {
    "interpreter": (4, 1.0),
    "contributions": (6, 0.7),
    "discussion": (12, 0.7),
    "votes": (25, 1.0),
    "output and residual": (8, 1.0),
    "rows and columns": (25, 1.5),
    "eigen-images": (220, 2.0),
    "tokens and layers": (10, 1.0),
    ALL: (8, 1.0),
    "graph": (1, 2.0),
    "laws": (100, 3.0),
}
PER_NODE = {
    "interpreter": 0.02,
    "graph": 0.05,
    "live": 0.2,
    "laws": 0.05,
}  # seconds for a module of the network


def expected(
    networks: Mapping[str, Network],
    pictures: list[tuple[str, torch.Tensor]],
    asked: Asked,
    missing: Sequence[str],
) -> dict[str, dict[str, float]]:
    """{chapter or part of one: {step: seconds}} of those that are ``missing``."""
    found: dict[str, dict[str, float]] = {}
    if "live" in missing:
        found["live"] = {
            f"demonstration of {n.name}": 5 + PER_NODE["live"] * _modules(n) for n in networks.values()
        }
    for name, n in networks.items():
        if any(each.startswith(f"{name}/") for each in missing):
            found |= {f"{name}/{part}": steps for part, steps in _of(n, pictures, asked).items()}
    if SIDES in missing:
        found[SIDES] = {SIDES: sum(steps.get(ALL, 2.0) for steps in found.values())}
    return {name: steps for name, steps in found.items() if name in missing}


def _of(n: Network, pictures: list[tuple[str, torch.Tensor]], asked: Asked) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for title, picture in pictures:
        x0 = n.take(picture)
        size = tile_of(n, x0, asked.tile)
        if size is not None:
            found[title] = {f"{title}: in tiles": _in_tiles(n, x0, size)}
            continue
        seconds = seconds_of(n, x0)
        found[title] = {
            f"{title}: {step}": _step(n, step, seconds, _part(step, x0, asked))
            for step in ("interpreter", *STEPS[n.kind])
        }
    if n.kind == "scores" and len(pictures) > 1:
        found[ALL] = {ALL: len(pictures) * _step(n, ALL, seconds)}
    if not asked.fast:
        small = x0[..., :32, :32] if n.kind == "images" else x0
        found[LAWS] = {"graph": _step(n, "graph", 0), "laws": _step(n, "laws", seconds_of(n, small))}
    return found


def _step(n: Network, step: str, seconds: float, part: float = 1.0) -> float:
    passes, own = PASSES[step]
    return own + passes * seconds * part + PER_NODE.get(step, 0.0) * _modules(n)


def _part(step: str, x0: torch.Tensor, asked: Asked) -> float:
    """The part of a step's work that a fast report does."""
    if not asked.fast or step not in ("eigen-images", "votes"):
        return 1.0
    return 0.4 if step == "votes" else 0.5 * min(1.0, FAST_SIDE**2 / (x0.shape[2] * x0.shape[3]))


def _in_tiles(n: Network, x0: torch.Tensor, size: int) -> float:
    """A pass over all tiles, each with its interpreter, and what is of the middle."""
    seconds = seconds_of(n, x0[..., :size, :size])
    tiles = -(-x0.shape[2] // size) * -(-x0.shape[3] // size)
    return 8 * tiles * seconds + PASSES["eigen-images"][0] * seconds_of(n, x0[..., :128, :128])


def seconds_of(n: Network, x0: torch.Tensor) -> float:
    """The time of one pass, the shorter one of two."""
    times = []
    with torch.no_grad():
        for _ in range(2):
            began = time.perf_counter()
            n.module(x0)
            times.append(time.perf_counter() - began)
    return min(times)


def _modules(n: Network) -> int:
    return sum(not list(m.children()) for m in n.module.modules())
