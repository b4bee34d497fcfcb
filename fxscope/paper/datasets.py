"""Data for the trained stand-ins: handwritten digits, drawn facades, and a painterly filter."""

from __future__ import annotations

import functools

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import ImageError
from ..images.conventions import INK_MEAN, INK_STD

PAINTER_MEAN, PAINTER_STD = (0.62, 0.50, 0.36), (0.24, 0.20, 0.22)
LABELS = {
    "background": (0, 0, 170),
    "facade": (0, 0, 255),
    "window": (0, 85, 255),
    "door": (0, 170, 255),
    "cornice": (0, 255, 255),
    "sill": (85, 255, 170),
    "balcony": (170, 255, 85),
    "blind": (255, 255, 0),
}  # the colours that the CMP facades use


@functools.cache
def digits(split: str = "test", seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The digits of scikit-learn in [0, 1], (N, 1, 32, 32), and their labels (N,).

    The 8x8 images are enlarged to 24x24 (bilinear), and get a border of 4 pixels.

    Parameters
    ----------
    split : {"train", "test"}
        1347 training images, or 450 held-out images.
    seed : int
        Seed of the stratified split.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ModuleNotFoundError as error:
        raise ImageError("the digits need scikit-learn: pip install 'fxscope[images]'") from error
    data = load_digits()
    parts = train_test_split(data.images, data.target, test_size=450, random_state=seed, stratify=data.target)
    images, labels = (parts[0], parts[2]) if split == "train" else (parts[1], parts[3])
    ink = torch.from_numpy(images).float()[:, None] / 16
    ink = F.pad(F.interpolate(ink, size=(24, 24), mode="bilinear", align_corners=False), (4, 4, 4, 4))
    return ink, torch.from_numpy(labels).long()


def normalised(ink: torch.Tensor) -> torch.Tensor:
    """Digits in [0, 1], normalised as the classifiers take them."""
    return (ink - INK_MEAN) / INK_STD


def facade(seed: int, size: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """A drawn facade: photo (3, H, W) in [0, 1], and its classes (H, W) as positions in ``LABELS``."""
    rng = np.random.default_rng(seed)
    canvas = _Canvas(rng, size)
    top = int(size * rng.uniform(0.06, 0.16))
    left, right = int(size * rng.uniform(0, 0.06)), size - int(size * rng.uniform(0, 0.06))
    wall = np.array([0.55, 0.45, 0.38]) + rng.uniform(-0.15, 0.3, 3) * [1, 0.9, 0.8]
    canvas.sky()
    canvas.box(top, size, left, right, wall, "facade", rough=rng.uniform(0.02, 0.06))
    canvas.courses(top, left, right, rng)
    unit = size / 128
    floors, columns = int(rng.integers(3, 6)), int(rng.integers(3, 6))
    tall, wide = (size - top) / floors, (right - left) / columns
    light, glass, shade = (
        wall * rng.uniform(1.15, 1.35),
        rng.uniform(0.05, 0.28, 3),
        rng.uniform(0.15, 0.6, 3),
    )
    h, w = tall * rng.uniform(0.42, 0.6), wide * rng.uniform(0.38, 0.6)
    style = {"sill": rng.random() < 0.7, "blind": rng.random() < 0.5, "balcony": rng.random() < 0.5}
    door = int(rng.integers(columns))
    canvas.box(top - 2 * unit, top + 4 * unit, left, right, light, "cornice")
    for floor in range(floors):
        base = top + floor * tall
        if floor and floor == floors - 1:
            canvas.box(base - 2 * unit, base + 1 * unit, left, right, light, "cornice")
        for column in range(columns):
            y, x = base + (tall - h) * 0.5 + 2 * unit, left + column * wide + (wide - w) / 2
            if floor == floors - 1 and column == door:
                canvas.box(y - 2 * unit, size, x, x + w, shade, "door", rough=0.02)
                continue
            canvas.window(y, x, h, w, light, glass, unit)
            if style["blind"] and rng.random() < 0.5:
                canvas.box(
                    y, y + h * rng.uniform(0.2, 0.6), x + unit, x + w - unit, shade * 0.5 + 0.45, "blind"
                )
            if style["sill"]:
                canvas.box(y + h, y + h + 2.5 * unit, x - 2 * unit, x + w + 2 * unit, light * 1.1, "sill")
            if style["balcony"] and 0 < floor < floors - 1 and column % 2 == door % 2:
                canvas.balcony(y + h * 0.6, x - 3 * unit, h * 0.4 + 3 * unit, w + 6 * unit, unit)
    return canvas.done(rng)


class _Canvas:
    def __init__(self, rng: np.random.Generator, size: int):
        self.rng, self.size = rng, size
        self.photo, self.labels = np.zeros((size, size, 3)), np.zeros((size, size), dtype=np.int64)

    def sky(self) -> None:
        a, b = np.array([0.55, 0.7, 0.9]) + self.rng.uniform(-0.1, 0.1, 3), np.array([0.85, 0.88, 0.92])
        t = np.linspace(0, 1, self.size)[:, None, None] ** 0.5
        self.photo[:] = a * (1 - t) + b * t

    def box(self, top, bottom, left, right, colour, label: str, rough: float = 0.0) -> None:
        y0, y1, x0, x1 = (round(min(max(v, 0), self.size)) for v in (top, bottom, left, right))
        self.photo[y0:y1, x0:x1] = colour + rough * self.rng.standard_normal((y1 - y0, x1 - x0, 1))
        self.labels[y0:y1, x0:x1] = list(LABELS).index(label)

    def courses(self, top: int, left: int, right: int, rng: np.random.Generator) -> None:
        """Courses of brick as darker lines, on some facades."""
        if rng.random() < 0.5:
            step = int(rng.integers(4, 8))
            self.photo[top::step, left:right] *= 0.9

    def window(self, y, x, h, w, frame, glass, unit) -> None:
        self.box(y, y + h, x, x + w, frame, "window")
        self.box(y + unit, y + h - unit, x + unit, x + w - unit, glass, "window", rough=0.03)
        self.box(y + unit, y + h - unit, x + w / 2 - unit / 2, x + w / 2 + unit / 2, frame, "window")
        self.box(y + h * 0.4, y + h * 0.4 + unit, x, x + w, frame, "window")

    def balcony(self, y, x, h, w, unit) -> None:
        self.box(y, y + h, x, x + w, np.array([0.3, 0.3, 0.32]), "balcony")
        y0, y1, x0, x1 = (round(v) for v in (y + unit, y + h - unit, x, x + w))
        self.photo[max(y0, 0) : y1, max(x0, 0) : x1 : 3] += 0.35

    def done(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Add light that fades across the picture, and a little noise."""
        slope = rng.uniform(-0.15, 0.15, 2)
        y, x = np.mgrid[-0.5 : 0.5 : self.size * 1j, -0.5 : 0.5 : self.size * 1j]
        lit = self.photo * (1 + slope[0] * y + slope[1] * x)[..., None] + 0.015 * rng.standard_normal(
            self.photo.shape
        )
        return torch.from_numpy(lit.clip(0, 1)).float().permute(2, 0, 1).contiguous(), torch.from_numpy(
            self.labels
        )


def palette() -> torch.Tensor:
    """The label colours in [0, 1], (classes, 3)."""
    return torch.tensor(list(LABELS.values()), dtype=torch.float32) / 255


def label_map(labels: torch.Tensor) -> torch.Tensor:
    """Class numbers (H, W) as a coloured picture (3, H, W) in [0, 1]."""
    return palette()[labels].permute(2, 0, 1).contiguous()


def nearest_label(picture: torch.Tensor) -> torch.Tensor:
    """The class with the nearest colour at each pixel: (3, H, W) in [0, 1] to (H, W)."""
    distances = (picture[None] - palette()[:, :, None, None]).square().sum(1)
    return distances.argmin(0)


def painterly(picture: torch.Tensor, radius: int = 3) -> torch.Tensor:
    """A photograph (3, H, W) in [0, 1] as a painting: Kuwahara's filter, dark outlines, and a palette.

    Kuwahara's filter takes, of the four squares of side ``radius`` + 1 at a pixel, the mean of the one with
    the smallest variance.
    """
    side = radius + 1
    x = F.pad(picture[None], (radius,) * 4, mode="reflect")
    grey = x.mean(1, keepdim=True)
    means, spread = (
        F.avg_pool2d(x, side, 1),
        F.avg_pool2d(grey * grey, side, 1) - F.avg_pool2d(grey, side, 1).square(),
    )
    h, w = picture.shape[1:]
    corners = [(dy, dx) for dy in (0, radius) for dx in (0, radius)]
    means = torch.stack([means[0, :, dy : dy + h, dx : dx + w] for dy, dx in corners])
    spread = torch.stack([spread[0, 0, dy : dy + h, dx : dx + w] for dy, dx in corners])
    flat = means.gather(0, spread.argmin(0)[None, None].expand(1, 3, h, w))[0]
    vivid = recoloured(flat)
    return (vivid * (1 - 0.7 * _outline(vivid.mean(0, keepdim=True)))).clamp(0, 1)


def recoloured(picture: torch.Tensor) -> torch.Tensor:
    """A picture (3, H, W) with the mean and deviation of the painter's palette in every channel."""
    mean, std = (s[:, None, None] for s in (picture.mean((1, 2)), picture.std((1, 2)).clamp_min(1e-3)))
    palette = torch.tensor([PAINTER_MEAN, PAINTER_STD])[:, :, None, None]
    return (palette[0] + palette[1] * (picture - mean) / std).clamp(0, 1)


def _outline(luma: torch.Tensor) -> torch.Tensor:
    """(1, H, W) in [0, 1]: where the luminance changes quickly."""
    x = F.pad(luma[None], (1,) * 4, mode="replicate")[0]
    dy, dx = (x[:, 2:, 1:-1] - x[:, :-2, 1:-1]) / 2, (x[:, 1:-1, 2:] - x[:, 1:-1, :-2]) / 2
    return ((dy.square() + dx.square()).sqrt() * 5 - 0.3).clamp(0, 1)
