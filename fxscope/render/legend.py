"""The legend of a drawing: the kinds of twin that occur in it, with the freeze edges that lead to them."""

from __future__ import annotations

from .geometry import REGULAR
from .operations import Picture
from .palette import FAMILIES, MEANING

_LABELS = {kind: label for label, kind in FAMILIES.items()}
_SWATCH, _EDGE, _STEP = 14.0, 26.0, 20.0


def legend(picture: Picture, x: float, y: float, room: float) -> tuple[list[str], float, float]:
    """(SVG parts, height, width) of the legend, in lines of up to ``room`` pixels."""
    entries = _entries(picture) if picture.freezes else []
    parts, left, line, widest = [], 0.0, 0, 0.0
    for kind, text, width in entries:
        if left and left + width > room:
            left, line = 0.0, line + 1
        parts.append(_entry(kind, text, x + left, y + _STEP * line))
        left += width
        widest = max(widest, left)
    return parts, _STEP * (line + 1) if parts else 0.0, widest


def _entries(picture: Picture) -> list[tuple[str, str, float]]:
    """(kind, text, width) of every kind that occurs."""
    used = {box.kind for box in picture.boxes.values()}
    entries = []
    for kind, meaning in MEANING.items():
        if kind in used:
            label = _LABELS.get(kind, "")
            text = f"{kind} ({label}): {meaning}" if label not in ("", kind) else f"{kind}: {meaning}"
            entries.append((kind, text, _SWATCH + (_EDGE if label else 0) + REGULAR * len(text) + 22))
    if any(box.alone for box in picture.boxes.values()):
        entries.append(("linear alone", "no twin: runs on x0 only", _SWATCH + REGULAR * 24 + 22))
    return entries


def _entry(kind: str, text: str, x: float, y: float) -> str:
    label = _LABELS.get(kind, "")
    edge = (
        f'<path class="freeze {label}" d="M{x + _SWATCH + 4:.1f} {y + 2:.1f}h{_EDGE - 4:.0f}"/>'
        if label
        else ""
    )
    start = x + _SWATCH + (_EDGE if label else 0) + 7
    return (
        f'<g class="{kind}"><rect x="{x:.1f}" y="{y - 5:.1f}" width="{_SWATCH}" height="{_SWATCH}"'
        f' rx="3"/></g>{edge}<text x="{start:.1f}" y="{y + 6:.1f}">{text}</text>'
    )
