"""Small pictures as data in the page, and lines and bars as SVG whose colours the page's style gives."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from html import escape

import numpy as np

ABOVE, BELOW = (224, 102, 12), (38, 120, 200)  # the same on light and dark paper
STRENGTH = 1.3  # of colours, so that three fifths of the largest is full


@dataclass(frozen=True)
class Figure:
    """A figure of the article: what is in it, and what it says."""

    kind: str
    inner: str
    caption: str

    def _repr_html_(self) -> str:
        return (
            f'<figure class="article-figure {self.kind}" data-figure="{self.kind}">{self.inner}'
            f"<figcaption>{self.caption}</figcaption></figure>"
        )


def picture(pixels: np.ndarray, alt: str, kind: str = "") -> str:
    """An image element of grey values (h, w) or RGBA (h, w, 4)."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="PNG", optimize=True)
    data = base64.b64encode(out.getvalue()).decode()
    height, width = pixels.shape[:2]
    return (
        f'<img class="pixels {kind}" src="data:image/png;base64,{data}" width="{width}" height="{height}"'
        f' alt="{escape(alt, quote=True)}">'
    )


def signed(codes: np.ndarray) -> np.ndarray:
    """RGBA of codes -127..127: orange above 0, blue below, and the paper where nothing is."""
    pixels = np.zeros((*codes.shape, 4), np.uint8)
    pixels[..., :3] = np.where(codes[..., None] > 0, ABOVE, BELOW)
    pixels[..., 3] = np.minimum(255, STRENGTH * 2 * np.abs(codes.astype(np.int16)))
    return pixels


def blended(codes: np.ndarray, grey: np.ndarray) -> np.ndarray:
    """RGBA of codes over the grey values of a photograph, which is made paler."""
    colours, paper = signed(codes), 110 + 0.55 * grey[..., None].astype(np.float64)
    strength = colours[..., 3:] / 255
    shown = np.concatenate([paper + (colours[..., :3] - paper) * strength, np.full_like(paper, 255)], -1)
    return shown.round().astype(np.uint8)


def square(codes: np.ndarray, size: int) -> np.ndarray:
    """Codes (h, w) in the middle of a square."""
    pad = (size - codes.shape[0]) // 2
    return np.pad(codes, pad)


def svg(width: float, height: float, body: str, alt: str) -> str:
    """An SVG element of that size, as wide as its place."""
    words = escape(alt, quote=True)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{words}">{body}</svg>'


def polyline(points, kind: str) -> str:
    """A line through points (x, y)."""
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    """Words at a place."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def number(value: float, digits: int = 2) -> str:
    """A number with a true minus sign."""
    return f"{value:.{digits}f}".replace("-", "−")
