"""The frames of a film: photograph, rows, columns and outputs on one canvas, with what is measured below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..channels import pictures
from .colours import TABLE, coloured
from .readings import Reading, Rectangle, Subject
from .walks import Place

GAP, LINE, TEXT = 12, 18, 13
TICK = 7  # pixels of the marks at the borders of a panel
BAR = 8  # height of the colour bar
PAPER, INK, PALE = (250, 250, 250), (30, 30, 30), (130, 130, 130)
# of networks; colour-blind readers tell them apart (Okabe and Ito)
HUES = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233))

Readings = Mapping[str, Reading]


def hue(number: int) -> tuple[int, int, int]:
    """The colour of a network."""
    return HUES[number % len(HUES)]


@dataclass(frozen=True)
class Panel:
    """Where a picture is drawn: left, top, width and height of the canvas."""

    left: int
    top: int
    width: int
    height: int

    def window(self, whole: Place, around: Place, zoom: int | None) -> Rectangle:
        """(top, left, bottom, right) of what is seen of a picture: all, or ``zoom`` pixels to each side.

        The longer side has more, so that pixels stay square.
        """
        if zoom is None:
            return 0, 0, *whole
        sides = [min(2 * round(zoom * n / min(whole)) + 1, n) for n in whole]
        start = [min(max(p - s // 2, 0), n - s) for p, n, s in zip(around, whole, sides)]
        return start[0], start[1], start[0] + sides[0], start[1] + sides[1]

    def paste(self, canvas: Image.Image, pixels: np.ndarray) -> None:
        """Draw (h, w, 3): pixels as squares where they are enlarged, their mean where they are not."""
        grown = self.width >= pixels.shape[1]
        how = Image.Resampling.NEAREST if grown else Image.Resampling.BOX
        canvas.paste(Image.fromarray(pixels).resize((self.width, self.height), how), (self.left, self.top))

    def at(self, y: float, x: float, seen: Rectangle) -> tuple[float, float]:
        """(x, y) on the canvas of a corner of a pixel of the picture."""
        top, left, bottom, right = seen
        return (
            self.left + (x - left) * self.width / (right - left),
            self.top + (y - top) * self.height / (bottom - top),
        )

    def ticks(self, draw: ImageDraw.ImageDraw, place: Place, seen: Rectangle) -> None:
        """Marks at the four borders, in line with a place."""
        x, y = self.at(place[0] + 0.5, place[1] + 0.5, seen)
        right, bottom = self.left + self.width, self.top + self.height
        for ends in (
            (x, self.top - TICK + 2, x, self.top - 1),
            (x, bottom, x, bottom + TICK - 3),
            (self.left - TICK + 2, y, self.left - 1, y),
            (right, y, right + TICK - 3, y),
        ):
            draw.line(ends, fill=INK, width=2)

    def box(
        self, draw: ImageDraw.ImageDraw, found: Rectangle, seen: Rectangle, colour: tuple[int, int, int]
    ) -> None:
        """A rectangle around pixels of the picture, dark and light so that it is seen on both."""
        top, left, bottom, right = found
        (x, y), (end_x, end_y) = self.at(top, left, seen), self.at(bottom, right, seen)
        low = max(x, self.left), max(y, self.top)
        high = (
            max(low[0], min(end_x, self.left + self.width) - 1),
            max(low[1], min(end_y, self.top + self.height) - 1),
        )
        for more, tint in ((2, colour), (3, (255, 255, 255))):
            edges = (low[0] - more, low[1] - more, high[0] + more, high[1] + more)
            draw.rectangle(edges, outline=tint, width=1 if more == 3 else 2)


class Canvas:
    """The canvas of a film; what does not change is drawn once.

    Parameters
    ----------
    subjects
        The networks.
    kinds
        "row", "column" or both.
    width
        Of a frame, in pixels.
    scale, zoom
        As ``fxscope.plot.video`` takes them.
    captions
        Lines about all of it.
    """

    def __init__(
        self,
        subjects: Sequence[Subject],
        kinds: Sequence[str],
        width: int,
        scale: str,
        zoom: int | None,
        captions: Sequence[str],
    ) -> None:
        self.subjects, self.kinds, self.scale, self.zoom = subjects, kinds, scale, zoom
        self.font, self.bold = ImageFont.load_default(TEXT), ImageFont.load_default(TEXT + 1)
        self.alone = len(subjects) == 1
        across = len(kinds) + 2 if self.alone else len(subjects) + 1
        self.width = width - width % 2
        self.side = (self.width - GAP * (across + 1)) // across
        height, wide = subjects[0].size
        self.tall = max(2 * TICK, round(self.side * height / wide))
        self.titles = self._titles()
        self.head = GAP + LINE * max(map(len, self.titles))
        self.text_left, self.text_top = GAP, self._bottom(0) + GAP
        self.text_wide = self.width - 2 * GAP if self.alone else self.side
        self.captions = [part for line in captions for part in self.wrapped(line, self.text_wide)]
        self.height = self._height()
        self.paper = self._drawn_once()

    def _titles(self) -> list[list[str]]:
        wide = self.width - 2 * GAP if self.alone else self.side
        return [self.wrapped(s.title, wide, self.bold) for s in self.subjects]

    def panel(self, column: int, row: int) -> Panel:
        """The panel at a place of the grid."""
        top = self.head + row * (LINE + self.tall + GAP) + LINE
        return Panel(GAP + column * (self.side + GAP), top, self.side, self.tall)

    def of(self, subject: int, what: str) -> Panel:
        """The panel of a row, a column or the output of a network."""
        number = [*self.kinds, "output"].index(what)
        return self.panel(1 + number, 0) if self.alone else self.panel(1 + subject, number)

    def _bottom(self, row: int) -> int:
        found = self.panel(0, row)
        return found.top + found.height

    def _height(self) -> int:
        """Of the canvas: the grid, or the text where that is longer."""
        rows = 1 if self.alone else len(self.kinds) + 1
        longest = [self._longest(s, kind) for s in self.subjects for kind in self.kinds]
        count = len(self.captions) + 2 + sum(len(self._lines(kind, r)) for kind, r in longest)
        found = max(self._bottom(rows - 1), self.text_top + BAR + 8 + LINE * count) + GAP
        return found + found % 2

    def _longest(self, subject: Subject, kind: str) -> tuple[str, Reading]:
        """A reading whose text is as long as that of any other."""
        size = subject.size if kind == "row" else subject.output_size
        sums = dict.fromkeys(("y0", "row_x0", "r", "error"), -1.2345e-9)
        radius = subject.radius * subject.scale
        return kind, Reading(np.zeros((1, 1)), (0, 0), 1.0, radius, (0, 0, *size), sums)

    def wrapped(self, text: str, wide: int, font: Any = None) -> list[str]:
        """The text in lines that fit; a word that does not fit is cut."""
        long = (font or self.font).getlength
        lines: list[str] = []
        for word in text.split():
            if lines and long(f"{lines[-1]} {word}") <= wide:
                lines[-1] += f" {word}"
                continue
            while long(word) > wide and len(word) > 1:
                cut = next((n for n in range(len(word) - 1, 0, -1) if long(word[:n]) <= wide), 1)
                lines.append(word[:cut])
                word = word[cut:]
            lines.append(word)
        return lines

    def _drawn_once(self) -> Image.Image:
        canvas = Image.new("RGB", (self.width, self.height), PAPER)
        draw = ImageDraw.Draw(canvas)
        for number, title in enumerate(self.titles):
            left = GAP if self.alone else self.of(number, "output").left
            for i, line in enumerate(title):
                draw.text((left, GAP // 2 + i * LINE), line, hue(number), self.bold)
        photograph = self.panel(0, 0)
        self._label(draw, photograph, "photograph")
        photograph.paste(canvas, _pixels(self.subjects[0], self.subjects[0].lin.x0[0]))
        for number, subject in enumerate(self.subjects):
            for kind in self.kinds:
                limit = subject.limits[kind]
                self._label(draw, self.of(number, kind), f"{kind}, \N{PLUS-MINUS SIGN}{limit:.3g}")
            self._label(draw, self.of(number, "output"), "output")
            self.of(number, "output").paste(canvas, _pixels(subject, subject.lin.y0[0]))
        top = self._bar(canvas, draw)
        for i, line in enumerate(self.captions):
            draw.text((self.text_left, top + i * LINE), line, PALE, self.font)
        return canvas

    def _label(self, draw: ImageDraw.ImageDraw, panel: Panel, text: str) -> None:
        draw.text((panel.left, panel.top - LINE - 1), text, INK, self.font)

    def _bar(self, canvas: Image.Image, draw: ImageDraw.ImageDraw) -> int:
        """The colours of a scale, from its negative to its positive end; returns where text may go on."""
        wide, top = self.text_wide // 3 if not self.alone else self.side // 2, self.text_top + 4
        left = self.text_left + LINE
        table = TABLE if self._is_signed() else np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
        Panel(left, top, wide, BAR).paste(canvas, np.repeat(table[None], 2, 0))
        draw.rectangle((left - 1, top - 1, left + wide, top + BAR), outline=PALE)
        for x, sign in ((self.text_left + 4, "-"), (left + wide + 6, "+")):
            draw.text((x, top - 5), sign, PALE, self.font)
        return top + BAR + 4

    def _is_signed(self) -> bool:
        """Whether a filter is drawn in the colours of the table, and not its channels around grey."""
        shapes = [
            (s.lin.F.inputs if kind == "row" else s.lin.F.outputs).shape
            for s in self.subjects
            for kind in self.kinds
        ]
        return any(shape[0] != 3 for shape in shapes)

    def frame(self, place: Place, said: str, readings: Sequence[Readings]) -> np.ndarray:
        """One frame, (H, W, 3) of bytes."""
        canvas = self.paper.copy()
        draw = ImageDraw.Draw(canvas)
        for number, (subject, found) in enumerate(zip(self.subjects, readings)):
            for kind, reading in found.items():
                self._filter(canvas, draw, number, kind, reading)
            whole = (0, 0, *subject.output_size)
            at = subject.centre("column", place)
            self.of(number, "output").ticks(draw, at, whole)
            column = found.get("column")
            if column is not None and column.support is not None:
                self.of(number, "output").box(draw, column.support, whole, hue(number))
        self._photograph(draw, place, readings)
        self._numbers(draw, said, readings)
        return np.asarray(canvas)

    def _filter(
        self, canvas: Image.Image, draw: ImageDraw.ImageDraw, number: int, kind: str, found: Reading
    ) -> None:
        subject, panel = self.subjects[number], self.of(number, kind)
        zoom = self.zoom and self.zoom * (subject.scale if kind == "column" else 1)
        seen = panel.window(found.picture.shape[:2], found.place, zoom)
        inside = found.picture[seen[0] : seen[2], seen[1] : seen[3]]
        panel.paste(canvas, coloured(inside, subject.limits[kind], self.scale))
        edge = (panel.left - 1, panel.top - 1, panel.left + panel.width, panel.top + panel.height)
        draw.rectangle(edge, outline=PALE)
        panel.ticks(draw, found.place, seen)

    def _photograph(self, draw: ImageDraw.ImageDraw, place: Place, readings: Sequence[Readings]) -> None:
        panel, whole = self.panel(0, 0), (0, 0, *self.subjects[0].size)
        for number, found in enumerate(readings):
            row = found.get("row")
            if row is not None and row.support is not None:
                panel.box(draw, row.support, whole, hue(number))
        panel.ticks(draw, place, whole)
        panel.box(draw, (place[0], place[1], place[0] + 1, place[1] + 1), whole, INK)

    def _numbers(self, draw: ImageDraw.ImageDraw, said: str, readings: Sequence[Readings]) -> None:
        lines: list[tuple[str, Any]] = [(part, INK) for part in self.wrapped(said, self.text_wide)]
        for number, found in enumerate(readings):
            colour = INK if self.alone else hue(number)
            for kind, reading in found.items():
                lines += [(part, colour) for part in self._lines(kind, reading)]
        top = self.text_top + BAR + 8 + len(self.captions) * LINE
        for i, (line, colour) in enumerate(lines):
            draw.text((self.text_left, top + i * LINE), line, colour, self.font)

    def _lines(self, kind: str, found: Reading) -> list[str]:
        """What is said of a filter, in lines that fit."""
        lines = self.wrapped(f"{kind}: {found.text(self.alone)}", self.text_wide)
        if kind == "row":
            s = found.sums
            whole = f"<row, x0> {s['row_x0']:+.5g}, r {s['r']:+.5g}: " if self.alone else ""
            said = f"{whole}y0 = {s['y0']:.5g}, error {s['error']:.0e}"
            lines += self.wrapped(said, self.text_wide)
        return lines


def _pixels(subject: Subject, image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) of bytes of an image that the network takes or gives."""
    image = image.detach().cpu()
    if image.shape[0] not in (1, 3):
        found = pictures([image])
        return coloured(found.arrays[0], found.limit, "linear")
    pixels = subject.show(image).double().mul(255).round().to(torch.uint8)
    return pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
