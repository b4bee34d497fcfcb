"""From signed numbers to colours: scales, and a map for numbers of one channel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

DECADES = 3  # of a logarithmic scale, to each side
# blue, white, red: ColorBrewer's RdBu from its end, which colour-blind readers tell apart; 0 is white
_ANCHORS = (
    (5, 48, 97),
    (33, 102, 172),
    (67, 147, 195),
    (146, 197, 222),
    (209, 229, 240),
    (247, 247, 247),
    (253, 219, 199),
    (244, 165, 130),
    (214, 96, 77),
    (178, 24, 43),
    (103, 0, 31),
)


def _log(v: np.ndarray) -> np.ndarray:
    return np.sign(v) * np.log1p(10.0**DECADES * np.abs(v)) / np.log1p(10.0**DECADES)


SCALES: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "linear": (lambda v: v, "linear"),
    "root": (lambda v: np.sign(v) * np.sqrt(np.abs(v)), "signed root"),
    "log": (_log, f"signed log, {DECADES} decades"),
}


def _table() -> np.ndarray:
    at, ends = np.linspace(0, len(_ANCHORS) - 1, 256), np.arange(len(_ANCHORS))
    anchors = np.array(_ANCHORS, dtype=float)
    return np.stack([np.interp(at, ends, anchors[:, c]) for c in range(3)], 1).round().astype(np.uint8)


TABLE = _table()


def coloured(picture: np.ndarray, limit: float, scale: str) -> np.ndarray:
    """(H, W, 3) of bytes: three channels around grey, one channel from blue over white to red."""
    levels = np.clip(SCALES[scale][0](np.clip(picture / limit, -1, 1)), -1, 1)
    numbers = np.rint((levels + 1) * 127.5).astype(np.uint8)
    return numbers if picture.ndim == 3 else TABLE[numbers]
