"""How filters over channels become pictures: one decision for all figures.

A mean over channels shows little of a filter whose colours cancel. So three channels are drawn as colours
around grey, which shows all of them. Any other number of channels is drawn along the direction of the
channels that holds most of the filter's energy: the first singular vector of its matrix channels x pixels.
The figure states the share of the energy that is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import NonFinite
from .style import SIGNED, TEXT, check_image, limit_of, scale_bar

GREY = "gray"  # the scale of one channel of a picture in colour


@dataclass(frozen=True)
class Pictures:
    """Filters as pictures on one symmetric scale.

    arrays    (H, W), signed, or (H, W, 3), colours in [0, 1] where grey stands for 0
    strength  (H, W), the largest magnitude of every pixel over the channels
    limit     the value at which the scale ends
    shares    the share of the energy of every filter that its picture shows
    channels  the numbers of channels of the filters
    """

    arrays: list[np.ndarray]
    strength: list[np.ndarray]
    limit: float
    shares: list[float]
    channels: tuple[int, ...]

    @property
    def in_colour(self) -> bool:
        """Whether the pictures are colours."""
        return self.arrays[0].ndim == 3

    @property
    def note(self) -> str:
        """What the figure says about its channels; "" if every filter has one."""
        low, high = (f"{100 * share:.0f}" for share in (min(self.shares), max(self.shares)))
        shown = f"{low}%" if low == high else f"{low} to {high}%"
        if set(self.channels) <= {1}:
            return "" if shown == "100%" else f"{shown} of the energy"
        if self.in_colour:
            return f"channels 1, 2, 3 as red, green, blue; grey is 0; {shown} of the energy"
        counts = " and ".join(map(str, sorted(set(self.channels))))
        return f"strongest direction of {counts} channels: {shown} of the energy"

    def draw(self, axis: Any, number: int = 0) -> Any:
        """Show one picture; a colour bar of what is returned has the scale of all of them."""
        cmap = GREY if self.in_colour else SIGNED
        limits = {"vmin": -self.limit, "vmax": self.limit}
        return axis.imshow(self.arrays[number], cmap=cmap, interpolation="nearest", **limits)


def pictures(filters: Sequence[torch.Tensor], saturate: float = 1.0) -> Pictures:
    """The pictures of filters (C, H, W) or (H, W), in colours if all of them have three channels.

    The scale ends at the largest magnitude divided by ``saturate``, where values are cut.
    """
    data = [_data(each) for each in filters]
    channels = tuple(len(each) for each in data)
    strength = [np.abs(each).max(0) for each in data]
    in_colour = set(channels) == {3}
    whole = data if in_colour else [_strongest(each) for each in data]
    limit = limit_of(whole) / saturate
    seen = [np.clip(each, -limit, limit) for each in whole]
    shares = [_share(*each) for each in zip(data, whole, seen)]
    arrays = [0.5 + each.transpose(1, 2, 0) / (2 * limit) for each in seen] if in_colour else seen
    return Pictures(arrays, strength, limit, shares, channels)


def signed_panels(
    figure: Any, axes: Any, panels: dict[str, torch.Tensor], cross: bool = False, size: float = TEXT
) -> str:
    """Show filters on one symmetric scale with a colour bar; ``cross`` marks the middle of each.

    Returns the note on their channels.
    """
    found = pictures(list(panels.values()))
    for number, (axis, title) in enumerate(zip(axes, panels)):
        shown = found.draw(axis, number)
        if cross:
            height, width = found.strength[number].shape
            axis.plot(width // 2, height // 2, "+", color="k", markersize=5, markeredgewidth=0.7)
        axis.set_title(title, fontsize=size)
        axis.set_axis_off()
    scale_bar(figure, shown, list(axes), found.limit)
    return found.note


def _data(values: torch.Tensor) -> np.ndarray:
    """A filter as numbers (C, H, W)."""
    check_image(values)
    found = values.detach().double().cpu()
    return (found if found.dim() == 3 else found[None]).numpy()


def _strongest(data: np.ndarray) -> np.ndarray:
    """A filter (C, H, W) along the strongest direction of its channels, a vector of length 1.

    The sign of the direction lets a filter that is the same in all channels keep its own.
    """
    if len(data) == 1:
        return data[0]
    if not np.isfinite(data).all():
        raise NonFinite("a filter holds NaN or infinite values, and has no strongest direction of channels")
    flat = data.reshape(len(data), -1) / (np.abs(data).max() or 1.0)  # squares neither under- nor overflow
    direction = np.linalg.eigh(flat @ flat.T)[1][:, -1]
    total = direction.sum()
    sign = total if abs(total) > 1e-6 else direction[np.abs(direction).argmax()]
    return np.tensordot(direction * np.sign(sign), data, 1)


def _share(data: np.ndarray, whole: np.ndarray, seen: np.ndarray) -> float:
    """1 - |data - seen|^2 / |data|^2, where ``seen`` is ``whole``, the projected data, cut."""
    scale = np.abs(data).max() or 1.0
    data, whole, seen = data / scale, whole / scale, seen / scale
    total = np.square(data).sum()
    return float((2 * whole * seen - np.square(seen)).sum() / total) if total else 1.0
