"""Networks as users have them in a file of their own: ``own.py:reader`` comes with its preprocessing."""

from __future__ import annotations

from typing import Any

from torch import nn

LABELS = ("a", "b", "c", "d", "e")


def plain() -> nn.Module:
    """A small reader of lines of text, of which nothing says what input it takes."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.BatchNorm2d(8),
        nn.Hardswish(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.PReLU(),
        nn.AdaptiveAvgPool2d((2, 8)),
        nn.Flatten(),
        nn.Linear(256, len(LABELS)),
    )


def reader() -> tuple[nn.Module, dict[str, Any], tuple[str, ...]]:
    """The same with its input: 40 x 190 pixels, BGR in 0..255 minus a mean, padded to 48 x 192."""
    preprocess = {
        "size": (40, 190),
        "resize": "cover",
        "crop": "center",
        "range": (0, 255),
        "mean": (104, 117, 123),
        "channels": "BGR",
        "multiple": 16,
    }
    return plain(), preprocess, LABELS


def valid() -> nn.Module:
    """A network of images without padding: 16 pixels a side give 16."""
    return nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.LeakyReLU(0.1), nn.Conv2d(12, 12, 3), nn.PixelShuffle(2), nn.Conv2d(3, 3, 9)
    )


def transformer() -> nn.Module:
    """A vision transformer of two layers on 32 x 32 pixels."""
    from torchvision.models import VisionTransformer

    return VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=10
    )
