"""Small pictures for notebooks: figures and images as PNG, bars and chains of boxes as SVG.

Only figures need matplotlib. Every picture is an ``<img>`` on white, as on paper, and is read on light and on
dark pages. An SVG is one, too: of an inline SVG in a notebook that someone else ran, JupyterLab and GitHub
take the marks away and leave its words in one heap.
"""

from __future__ import annotations

import base64
import html
import io
import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .tables import clipped

SIDE = 900  # pixels of a figure
THUMBNAIL = 160  # pixels of an image
HEAVY = 110_000  # bytes of a figure
BLUE = "#3b82c4"  # is seen on white and on black
_IMG = "max-width:100%;height:auto;background:#fff;border-radius:4px;padding:4px;box-sizing:border-box"


def of_figure(figure: Any, alt: str) -> str:
    """A matplotlib figure as an image of at most ``HEAVY`` bytes."""
    width, height = figure.get_size_inches()
    dots = min(120.0, SIDE / width, SIDE / height)
    while True:
        png = _drawn(figure, dots)
        if len(png) <= HEAVY or dots < 30:
            return _img(png, alt)
        dots *= 0.7


def _drawn(figure: Any, dots: float) -> bytes:
    """The figure as PNG of 256 colours."""
    from PIL import Image

    drawn, found = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what does not fit in a small figure
        figure.savefig(drawn, format="png", dpi=dots, facecolor="white")
    Image.open(drawn).convert("RGB").quantize(256).save(found, format="png", optimize=True)
    return found.getvalue()


def image(values: torch.Tensor, alt: str) -> str:
    """An image, (H, W) or (C, H, W) with one or three channels, from its least value to its largest."""
    shown = values.detach().to("cpu", torch.float32)
    shown = shown[None] if shown.dim() == 2 else shown
    shrink = max(1, math.ceil(max(shown.shape[1:]) / THUMBNAIL))
    small = torch.nn.functional.avg_pool2d(shown[None], shrink, ceil_mode=True)[0]
    least, most = float(small.min()), float(small.max())
    levels = ((small - least) * (255 / ((most - least) or 1.0))).round().clamp(0, 255).to(torch.uint8)
    grow = max(1, THUMBNAIL // max(levels.shape[1:]))
    levels = levels.repeat_interleave(grow, 1).repeat_interleave(grow, 2)
    return _img(_png(levels), alt)


def is_image(values: Any) -> bool:
    """Whether ``image`` draws it."""
    return (
        isinstance(values, torch.Tensor)
        and values.is_floating_point()
        and values.dim() in (2, 3)
        and (values.dim() == 2 or values.shape[0] in (1, 3))
        and min(values.shape[-2:]) > 1
        and max(values.shape[-2:]) <= 64 * min(values.shape[-2:])
    )


def _png(levels: torch.Tensor) -> bytes:
    """(1 or 3, H, W) of uint8 as PNG."""
    channels, height, width = levels.shape
    rows = levels.permute(1, 2, 0).reshape(height, -1).contiguous().numpy()
    data = b"".join(b"\0" + row.tobytes() for row in rows)

    def part(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(data, 9))
        + part(b"IEND", b"")
    )


def _img(data: bytes, alt: str, kind: str = "png") -> str:
    text, alt = base64.b64encode(data).decode(), html.escape(clipped(alt, 300))
    return f'<img alt="{alt}" style="{_IMG}" src="data:image/{kind};base64,{text}" />'


def of_svg(svg: str, alt: str, fit: bool = True) -> str:
    """An SVG as an image, as wide as the page has room for, or of its own size."""
    shown = _img(svg.encode(), alt, "svg+xml")
    return shown if fit else shown.replace("max-width:100%", "max-width:none", 1)


def of_file(path: Path, alt: str) -> str:
    """A PNG, GIF or WebP file of at most ``HEAVY`` bytes; "" for another one."""
    if path.stat().st_size > HEAVY:
        return ""
    return _img(path.read_bytes(), alt, path.suffix[1:])


def side_by_side(pictures: Sequence[tuple[str, str]]) -> str:
    """Pictures with their captions, beside each other where there is room."""
    each = "".join(
        f'<figure style="margin:0">{markup}<figcaption>{html.escape(clipped(caption))}</figcaption></figure>'
        for caption, markup in pictures
    )
    return f'<div style="display:flex;flex-wrap:wrap;gap:1em;align-items:flex-end">{each}</div>'


def bars(rows: Sequence[tuple[str, float, str]], alt: str) -> str:
    """Horizontal bars as SVG: (name, length, what stands beside it); the largest length fills the width."""
    most = max((abs(v) for _, v, _ in rows if math.isfinite(v)), default=0.0) or 1.0
    signed = any(v < 0 for _, v, _ in rows)
    begin, room = 14 + 6.5 * max((len(clipped(name, 26)) for name, _, _ in rows), default=0), 220
    zero = begin + room / 2 if signed else begin
    unit = (room / 2 if signed else room) / most
    lines = []
    for i, (name, value, beside) in enumerate(rows):
        y, length = 18 * i + 13, (abs(value) if math.isfinite(value) else 0.0) * unit
        left = zero - length if value < 0 else zero
        lines.append(
            f'<text x="{begin - 6:.0f}" y="{y}" text-anchor="end">{_text(name, 26)}</text>'
            f'<rect x="{left:.1f}" y="{y - 10}" width="{length:.1f}" height="12" fill="{BLUE}" />'
            f'<text x="{begin + room + 6:.0f}" y="{y}">{_text(beside, 16)}</text>'
        )
    return _svg(begin + room + 110, 18 * len(rows) + 2, "".join(lines), alt)


def captioned_bars(rows: Sequence[tuple[str, float, str]], caption: str) -> str:
    """Bars over a line that says what they are."""
    return side_by_side([(caption, bars(rows, caption))])


def chain(parts: Sequence[str], alt: str) -> str:
    """Boxes with arrows between them as SVG; every second part is a box, the others are spaces."""
    x, lines = 4.0, []
    for i, part in enumerate(parts):
        width = 7.0 * len(clipped(part, 40)) + 14
        if i % 2:
            lines.append(
                f'<rect x="{x}" y="4" width="{width}" height="26" rx="4" fill="{BLUE}" fill-opacity="0.25"'
                f' stroke="{BLUE}" />'
            )
        lines.append(f'<text x="{x + width / 2}" y="21" text-anchor="middle">{_text(part, 40)}</text>')
        x += width
        if i + 1 < len(parts):
            lines.append(f'<path d="M{x + 2} 17 h18 m-5 -4 l5 4 l-5 4" fill="none" stroke="black" />')
            x += 24
    return _svg(x + 4, 34, "".join(lines), alt)


def _text(text: str, most: int) -> str:
    return html.escape(clipped(text, most))


def _svg(width: float, height: float, inside: str, alt: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}"'
        f' viewBox="0 0 {width:.0f} {height:.0f}" font-size="12" font-family="sans-serif">{inside}</svg>'
    )
    return of_svg(svg, alt)
