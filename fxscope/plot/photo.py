"""Photographs in figures: as they are, pale beneath a filter, and with what a mask leaves out pale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..errors import ShapeError
from .marks import mark
from .style import check_image, current


def pixels(image: torch.Tensor) -> np.ndarray:
    """(H, W, 3) in [0, 1]; values outside of [0, 1] are rescaled, from the smallest to the largest."""
    check_image(image)
    data = image.detach().double().cpu()
    data = data if data.dim() == 3 else data[None]
    low, high = (0.0, 1.0) if data.min() >= 0 and data.max() <= 1 else (float(data.min()), float(data.max()))
    data = (data - low) / ((high - low) or 1.0)
    data = data if data.shape[0] == 3 else data.mean(0, keepdim=True).expand(3, -1, -1)
    return data.permute(1, 2, 0).numpy()


def rescaled(image: torch.Tensor | None) -> str:
    """What a figure says of a photograph that is not in [0, 1]; "" if it is, or if there is none."""
    if image is None:
        return ""
    low, high = float(image.min()), float(image.max())
    return "" if low >= 0 and high <= 1 else f"the photograph from {low:.3g} (black) to {high:.3g} (white)"


def sizes(panels: dict[str, torch.Tensor]) -> str:
    """What a figure says of the sizes of images, in pixels."""
    found = {title: f"{each.shape[-1]} x {each.shape[-2]}" for title, each in panels.items()}
    if len(set(found.values())) == 1:
        return f"{next(iter(found.values()))} pixels{' each' if len(found) > 1 else ''}"
    return f"{', '.join(f'{title.strip()} {size}'.strip() for title, size in found.items())} pixels"


def with_places(figure: Any, image: torch.Tensor | None, places: Sequence[tuple[int, int]]) -> Any:
    """The panel of a figure; a photograph, if there is one, stands beside it, with corners around places."""
    if image is None:
        return figure.subplots()
    beside, axis = figure.subplots(1, 2, width_ratios=(1, 2))
    photo(beside, image, "input")
    for y, x in places:
        mark(beside, y, x, max(image.shape[-2:]), 1.6)
    return axis


def check_size(image: torch.Tensor, shape: tuple[int, ...], what: str) -> None:
    """Raise ``ShapeError`` if a photograph does not have the height and width of what lies over it."""
    check_image(image)
    if tuple(image.shape[-2:]) != tuple(shape[-2:]):
        raise ShapeError(
            f"{what}: the photograph has {image.shape[-1]} x {image.shape[-2]} pixels and the filter"
            f" {shape[-1]} x {shape[-2]}; give the image on whose pixels it is: x0 for a row, y0 for a column"
        )


def photo(axis: Any, image: torch.Tensor, title: str, mask: Any = None) -> None:
    """Show a photograph; pixels outside of the mask are pale."""
    data = pixels(image)
    if mask is not None:
        data = np.where(np.asarray(mask.cpu())[..., None], data, pale(image, 0.2))
    axis.imshow(data, interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()


def pale(image: torch.Tensor, kept: float = 0.45) -> np.ndarray:
    """(H, W, 3): a photograph in grey, near the colour of the paper, as a ground for what lies over it."""
    from matplotlib.colors import to_rgb

    grey = pixels(image).mean(2, keepdims=True)
    return kept * grey + (1 - kept) * np.array(to_rgb(current().paper))
