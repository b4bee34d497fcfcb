"""How filters over channels become pictures: one decision for all figures, which every figure states.

Three rules. "norm" is the norm over the channels with the sign of their sum, so that nothing cancels.
"colour" draws three channels as colours around grey, which shows all of them. "strongest" is the direction of
the channels that holds most of the filter's energy, the first singular vector of its matrix channels x
pixels. The figure states the share of the energy that is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from ..errors import NonFinite, WrongArgument
from .marks import mark
from .photo import pale, photo
from .style import check_image, current, limit_of, scale_bar

GREY = "gray"  # the scale of one channel of a picture in colour
RULES = ("norm", "colour", "strongest")
SCALES = ("linear", "root", "log")
CLIP = 98.0  # colours end where values up to there hold this percentage of the sum of all magnitudes
BLANK = 0.2  # a panel whose largest value is less than this share of the scale would look blank
DECADES = 3  # of a logarithmic scale
WEIGHT = "output per input"


@dataclass(frozen=True)
class Pictures:
    """Filters as pictures on one symmetric scale.

    arrays    (H, W), signed, or (H, W, 3), colours in [0, 1] where grey stands for 0
    strength  (H, W), the largest magnitude of every pixel over the channels
    limit     the value at which the scale ends
    shares    the share of the energy of every filter that its picture shows
    channels  the numbers of channels of the filters
    rule      how channels become a picture
    scale     "linear", "root" or "log"
    cut       what the figure says where values beyond the limit are cut; "" where none are
    """

    arrays: list[np.ndarray]
    strength: list[np.ndarray]
    limit: float
    shares: list[float]
    channels: tuple[int, ...]
    rule: str = "colour"
    scale: str = "linear"
    cut: str = ""

    @property
    def in_colour(self) -> bool:
        """Whether the pictures are colours."""
        return self.arrays[0].ndim == 3

    @property
    def note(self) -> str:
        """What the figure says about its channels and its scale; "" if every filter has one channel."""
        low, high = (f"{100 * share:.0f}" for share in (min(self.shares), max(self.shares)))
        shown = f"{low}%" if low == high else f"{low} to {high}%"
        energy = f"the colours hold {shown} of the energy"
        counts = " and ".join(map(str, sorted(set(self.channels))))
        if set(self.channels) <= {1}:
            said = "" if shown == "100%" else energy
        elif self.in_colour:
            said = f"channels 1, 2, 3 as red, green, blue; grey is 0; {energy}"
        elif self.rule == "norm":
            said = f"norm over {counts} channels with the sign of their sum; {energy}"
        else:
            said = f"strongest direction of {counts} channels; {energy}"
        scale = {"root": "signed square root", "log": f"signed logarithm over {DECADES} decades"}
        return "; ".join(part for part in (said, self.cut, scale.get(self.scale, "")) if part)

    @property
    def norm(self) -> Any:
        """From values to positions on the colour scale, 1/2 for zero."""
        return _norm(self.limit, self.scale)

    def draw(self, axis: Any, number: int = 0) -> Any:
        """Show one picture; a colour bar of what is returned has the scale of all of them."""
        from matplotlib.cm import ScalarMappable

        cmap = GREY if self.in_colour else current().signed
        axis.imshow(self.arrays[number], cmap=cmap, interpolation="nearest", norm=self.norm)
        return ScalarMappable(self.norm, cmap)

    def over(self, axis: Any, number: int, photograph: torch.Tensor) -> None:
        """Show one picture over a pale photograph, the more opaque the larger its values."""
        from matplotlib import colormaps

        axis.imshow(pale(photograph, 0.7), interpolation="nearest")
        array = self.arrays[number]
        if self.in_colour:
            colours, strength = array, 2 * np.abs(array - 0.5).max(2)
        else:
            at = np.asarray(self.norm(array))
            cmap = current().signed
            colours = (colormaps[cmap] if isinstance(cmap, str) else cmap)(at)[..., :3]
            strength = 2 * np.abs(at - 0.5)
        alpha = np.sqrt(np.clip(strength, 0, 1))[..., None]
        axis.imshow(np.concatenate([colours, alpha], 2), interpolation="nearest")


def _norm(limit: float, scale: str) -> Any:
    from matplotlib import colors

    if scale == "log":
        return colors.SymLogNorm(limit / 10**DECADES, vmin=-limit, vmax=limit, clip=True)
    if scale == "root":
        both = (lambda v: np.sign(v) * np.sqrt(np.abs(v)), lambda v: np.sign(v) * np.square(v))
        return colors.FuncNorm(both, vmin=-limit, vmax=limit, clip=True)
    return colors.Normalize(-limit, limit)


def pictures(
    filters: Sequence[torch.Tensor],
    saturate: float = 1.0,
    rule: str | None = None,
    clip: float = 100.0,
    scale: str = "linear",
) -> Pictures:
    """The pictures of filters (C, H, W) or (H, W).

    The scale ends at the value up to which values hold ``clip`` percent of the sum of all magnitudes, divided
    by ``saturate``; larger values are cut. Without a rule three channels are drawn as colours, and any other
    number along the strongest direction.
    """
    _check(rule, clip, scale)
    data = [_data(each) for each in filters]
    channels = tuple(len(each) for each in data)
    strength = [np.abs(each).max(0) for each in data]
    if rule in (None, "colour"):
        rule = "colour" if set(channels) == {3} else "strongest"
    made = {"colour": lambda each: each, "norm": _signed_norm, "strongest": _strongest}[rule]
    whole = [made(each) for each in data]
    largest = limit_of(whole)
    limit = _percentile(whole, clip) / saturate
    seen = [np.clip(each, -limit, limit) for each in whole]
    shares = [_share(*each) for each in zip(data, whole, seen)]
    cut = (
        f"colours end at {limit:.2g} (smaller values hold {clip:g}% of the sum), the largest is {largest:.2g}"
    )
    found = Pictures(seen, strength, limit, shares, channels, rule, scale, cut if limit < largest else "")
    if saturate != 1:
        found = replace(found, cut=f"colours end at {limit:.2g}, the largest value divided by {saturate:g}")
    if rule != "colour":
        return found
    return replace(found, arrays=[np.asarray(found.norm(e.transpose(1, 2, 0))).clip(0, 1) for e in seen])


def _check(rule: str | None, clip: float, scale: str) -> None:
    if rule is not None and rule not in RULES:
        raise WrongArgument(f"channels={rule!r}; it is one of {', '.join(RULES)}")
    if scale not in SCALES:
        raise WrongArgument(f"scale={scale!r}; it is one of {', '.join(SCALES)}")
    if not 0 < clip <= 100:
        raise WrongArgument(
            f"clip={clip!r}; it is a percentage above 0 and at most 100, where nothing is cut"
        )


def _percentile(whole: list[np.ndarray], clip: float) -> float:
    """The value up to which values hold a percentage of the sum of all magnitudes; 1 if all are 0."""
    sizes = np.sort(np.concatenate([np.abs(each).ravel() for each in whole]))
    held = (sizes / (sizes[-1] or 1.0)).cumsum()
    return float(sizes[min(np.searchsorted(held, clip / 100 * held[-1]), len(sizes) - 1)]) or 1.0


def signed_panels(
    figure: Any,
    axes: Any,
    panels: dict[str, torch.Tensor],
    cross: bool = False,
    rule: str | None = None,
    clip: float = 100.0,
    unit: str = WEIGHT,
) -> str:
    """Show filters with a colour bar, on one symmetric scale where none of them would look blank on it.

    Else each has its own, which its title has. ``cross`` marks the middle of each. Returns the note on the
    channels.
    """
    found = [pictures([values], rule=rule, clip=clip) for values in panels.values()]
    limits = [each.limit if each.strength[0].any() else np.inf for each in found]
    together = min(limits) >= BLANK * max(each.limit for each in found)
    shared = pictures(list(panels.values()), rule=rule, clip=clip)
    for number, (axis, title) in enumerate(zip(axes, panels)):
        own = shared if together else found[number]
        shown = own.draw(axis, number if together else 0)
        if cross:
            height, width = shared.strength[number].shape
            mark(axis, height // 2, width // 2, max(height, width), 1.3)
        axis.set_title(title if together else f"{title}\n\u00b1{own.limit:.2g}")
        axis.set_axis_off()
    ends = None if together else ("\u2212own", "+own")
    scale_bar(figure, shown, list(axes)[: len(panels)], own.limit, ends, unit)
    return (
        shared.note
        if together
        else "; ".join(
            filter(None, (_alone(found, clip), "each panel has its own scale, which its title says"))
        )
    )


def _alone(found: list[Pictures], clip: float) -> str:
    """The note on pictures of which each has its own scale."""
    shares, channels = [e.shares[0] for e in found], tuple(e.channels[0] for e in found)
    cut = f"colours end where smaller values hold {clip:g}% of the sum" if any(e.cut for e in found) else ""
    return replace(found[0], shares=shares, channels=channels, cut=cut).note


def mixed_panels(
    figure: Any, axes: Any, panels: dict[str, torch.Tensor], images: Sequence[str], cross: bool, rule: str
) -> str:
    """Show panels of which some are images, as they are, and the others filters."""
    filters = {title: values for title, values in panels.items() if title not in images}
    places = dict(zip(panels, axes))
    for title in panels:
        if title in images:
            photo(places[title], panels[title], title)
    if not filters:
        return ""
    return signed_panels(figure, [places[title] for title in filters], filters, cross, rule)


def _data(values: torch.Tensor) -> np.ndarray:
    """A filter as numbers (C, H, W)."""
    check_image(values)
    found = values.detach().double().cpu()
    if not found.isfinite().all():
        raise NonFinite("a filter holds NaN or infinite values: there is no scale on which to draw it")
    return (found if found.dim() == 3 else found[None]).numpy()


def _signed_norm(data: np.ndarray) -> np.ndarray:
    """The norm over the channels with the sign of their sum."""
    if len(data) == 1:
        return data[0]
    top = np.abs(data).max() or 1.0  # squares neither under- nor overflow
    size = top * np.sqrt(np.square(data / top).sum(0))
    total = top * (data / top).sum(0)
    return np.where(total < -1e-6 * size, -size, size)  # not the sign of rounding errors


def _strongest(data: np.ndarray) -> np.ndarray:
    """A filter (C, H, W) along the strongest direction of its channels, a vector of length 1.

    The sign of the direction lets a filter that is the same in all channels keep its own.
    """
    if len(data) == 1:
        return data[0]
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
