"""Bars along the depth of a network: grouped by block, the largest by name, and the rest of every block."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .style import SMALL, current, small

MANY = 28  # more bars than this are condensed
TOP = 14  # and so many keep their names
BLOCKS = 12  # at most so many blocks
LETTERS = 34  # of a name, and less where they would take more than
SHARE = 0.4  # of the figure's width


@dataclass(frozen=True)
class Bar:
    """One bar: its name, the block it belongs to, the positions of the parts that it sums."""

    name: str
    block: str
    parts: tuple[int, ...]

    @property
    def is_rest(self) -> bool:
        """Whether it is the sum of the parts of a block that have no bar of their own."""
        return len(self.parts) > 1


def blocks(names: Sequence[str]) -> list[str]:
    """The block of every name of a path: prefixes, at most twelve or so.

    The block that holds most names is parted first, as long as it holds more than an eighth of them; one that
    has too many parts is parted into four runs of them.
    """
    paths = [tuple(name.split(".")) for name in names]
    found: dict[str, list[int]] = {"": list(range(len(paths)))}
    depth = {"": 0}
    while True:
        large = [b for b, m in found.items() if b in depth and len(m) > max(4, len(paths) // 8)]
        large = [b for b in large if any(len(paths[i]) > depth[b] + 1 for i in found[b])]
        if not large:
            break
        block = max(large, key=lambda b: len(found[b]))
        inner = depth.pop(block)
        members = found.pop(block)
        parts = dict.fromkeys(paths[i][inner] for i in members if len(paths[i]) > inner + 1)
        if len(found) + len(parts) <= BLOCKS:
            labels = {part: ".".join(filter(None, (block, part))) for part in parts}
            depth |= dict.fromkeys(labels.values(), inner + 1)
        else:
            labels = _runs(block, list(parts))
        for i in members:
            own = labels.get(paths[i][inner], block) if len(paths[i]) > inner + 1 else block
            found.setdefault(own, []).append(i)
    of = [""] * len(paths)
    for block, members in found.items():
        for i in members:
            of[i] = block
    return of


def _runs(block: str, parts: list[str], count: int = 4) -> dict[str, str]:
    """{part: the name of the run that it belongs to} of many parts of a block."""
    size = -(-len(parts) // count)
    runs = [parts[i : i + size] for i in range(0, len(parts), size)]
    names = [run[0] if len(run) == 1 else f"{run[0]}\u2013{run[-1]}" for run in runs]
    return {part: ".".join(filter(None, (block, name))) for run, name in zip(runs, names) for part in run}


def condensed(names: Sequence[str], sizes: np.ndarray, kept: int = 1, top: int = TOP) -> list[Bar]:
    """The bars of parts in their order, where ``sizes`` says which are large.

    The first ``kept`` parts are no layers. With more than ``MANY`` layers the ``top`` largest have bars, and
    those of a block that are not among them are one bar after the others of their block.
    """
    first = [Bar(name, "", (i,)) for i, name in enumerate(names[:kept])]
    of = blocks(names[kept:])
    if len(names) - kept <= MANY:
        return first + [Bar(n, b, (i + kept,)) for i, (n, b) in enumerate(zip(names[kept:], of))]
    large = set(np.argsort(-np.abs(sizes[kept:]), kind="stable")[:top].tolist())
    bars = first
    for block, run in itertools.groupby(range(len(of)), key=lambda i: of[i]):
        members = list(run)
        rest = [i for i in members if i not in large]
        rest = rest if len(rest) > 1 else []  # a single one has a bar of its own, in its place
        bars += [Bar(names[i + kept], block, (i + kept,)) for i in members if i not in rest]
        if rest:
            name = f"{len(rest)} more of {block}" if block else f"{len(rest)} more"
            bars.append(Bar(name, block, tuple(i + kept for i in rest)))
    return bars


def height(bars: int) -> float:
    """Inches of a figure of horizontal bars."""
    return 0.9 + 0.145 * bars


def draw(axis: Any, bars: list[Bar], values: np.ndarray, colours: list[str], std: Any = None) -> None:
    """Draw bars from the top down, with lines of one standard deviation, and shade every other block."""
    ys = np.arange(len(bars))
    style = {"ecolor": current().ink, "error_kw": {"elinewidth": 0.7}, "capsize": 1.5}
    drawn = axis.barh(ys, values, height=0.72, color=colours, xerr=std, **(style if std is not None else {}))
    for bar, patch in zip(bars, drawn.patches):
        if bar.is_rest:
            patch.set_hatch("//////")
            patch.set_edgecolor(current().paper)
    axis.axvline(0, color=current().faint, linewidth=0.6)
    inches = axis.get_figure(root=True).get_figwidth() / current().scale
    letters = min(LETTERS, int(SHARE * inches * 72 / (0.55 * SMALL)))
    axis.set_yticks(ys, [shortened(bar.name, letters) for bar in bars], fontsize=small())
    axis.set_ylim(len(bars) - 0.4, -0.6)
    axis.set_ylabel("layer")
    names = [bar.block for bar in bars]
    start, shaded = 0, False
    for i in range(1, len(bars) + 1):
        if i == len(bars) or names[i] != names[start]:
            if shaded:
                axis.axhspan(start - 0.5, i - 0.5, color=current().faint, alpha=0.14, linewidth=0, zorder=0)
            start, shaded = i, not shaded


def shortened(name: str, letters: int = LETTERS) -> str:
    """A long path without its middle."""
    if len(name) <= letters:
        return name
    tail = letters // 2
    return f"{name[: letters - tail - 1]}\u2026{name[-tail:]}"
