"""The page of the tour: one folder, opens from disk, nothing fetched from outside."""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from .. import photos
from ..errors import ImageError
from ..models import pixelshuffle4x, provenance
from ..render import Drawing
from .chapters import CHAPTERS, Chapter, Subject

SIDE = 256
STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem}figure{margin:1rem 0}"
    "img,svg{max-width:100%;height:auto;background:#fff}figcaption{font-size:.9rem;opacity:.85}table{border-collapse:collapse}td,th{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #8884}"
)


@dataclass(frozen=True)
class TourResult:
    """Where the page is, and every number on it."""

    page: Path
    numbers: dict


def tour(image: "str | None" = None, out: "str | Path" = "fxscope-tour", progress: bool = True) -> TourResult:
    """Write the tour of a photograph (default: one that scikit-image ships) and the bundled x4 network into a folder.

    Raises ``ImageError`` for a file that is no image, or smaller than 64 x 64 pixels.
    """
    subject = _subject(image)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    sections, numbers = [], {"photograph": subject.title}
    for chapter in _progress(CHAPTERS, progress):
        done = chapter(subject)
        sections.append(_section(done, folder))
        numbers[chapter.__name__] = done.numbers
    (folder / "numbers.json").write_text(json.dumps(numbers, indent=2) + "\n")
    page = folder / "index.html"
    page.write_text(_page(subject, sections))
    return TourResult(page, numbers)


def _subject(image: "str | None") -> Subject:
    picture = photos.read(image) if image else photos.shipped("chelsea")
    if min(picture.shape[1:]) < 64:
        raise ImageError(f"{image} is {picture.shape[2]} x {picture.shape[1]} pixels; the tour needs at least 64 x 64")
    top, left = ((s - min(s, SIDE)) // 2 for s in picture.shape[1:])
    picture = photos.luminance(picture[:, top : top + SIDE, left : left + SIDE])
    low = photos.downscale(picture, 4)
    high = picture[:, : 4 * low.shape[1], : 4 * low.shape[2]]
    return Subject(Path(image).name if image else "chelsea (scikit-image)", high[None], low[None], pixelshuffle4x(), _edge(low[0]))


def _edge(low: torch.Tensor) -> tuple[int, int]:
    """The place of the strongest edge away from the border: where filters are worth looking at."""
    margin = 8
    gradient = (low[1:, :-1] - low[:-1, :-1]).abs() + (low[:-1, 1:] - low[:-1, :-1]).abs()
    inner = gradient[margin:-margin, margin:-margin] if min(low.shape) > 2 * margin + 2 else gradient
    offset = margin if inner is not gradient else 0
    y, x = divmod(int(inner.argmax()), inner.shape[1])
    return y + offset, x + offset


def _progress(chapters, progress: bool):
    from tqdm import tqdm

    return tqdm(chapters, desc="tour", unit="chapter", disable=None if progress else True)


def _section(chapter: Chapter, folder: Path) -> str:
    parts = [f"<h2>{html.escape(chapter.title)}</h2>"]
    for name, figure, caption in chapter.figures:
        if isinstance(figure, Drawing):
            figure.save(folder / f"{name}.svg")
            picture = figure.svg
        else:
            figure.savefig(folder / f"{name}.svg")
            figure.savefig(folder / f"{name}.png", dpi=130)
            picture = f'<img src="{name}.png" alt="{html.escape(chapter.title)}">'
        parts.append(f"<figure>{picture}<figcaption>{html.escape(caption)}</figcaption></figure>")
    return "\n".join([*parts, chapter.table])


def _page(subject: Subject, sections: list[str]) -> str:
    made = provenance("pixelshuffle4x")
    about = (
        f"Photograph: {subject.title}. Network: {made['network']}, trained by {made['script']} on {made['data']} (seed {made['seed']}). "
        "Freeze what every ReLU decided on this photograph x0 and the network is one affine map, y1 = F(x0) x1 + r(x0)."
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>fxscope tour</title><link rel="icon" href="data:,"><style>{STYLE}</style></head>'
        f"<body><h1>A tour of one network and one photograph</h1><p>{html.escape(about)}</p>{''.join(sections)}</body></html>\n"
    )
