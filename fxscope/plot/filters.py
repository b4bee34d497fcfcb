"""Figures of rows and columns of F, and of images side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..errors import WrongArgument
from ..graph.arguments import check_place, checked
from .channels import CLIP, WEIGHT, Pictures, pictures, signed_panels
from .marks import Box, area, around, energy_in, mark, outline, reach_of, show, support
from .photo import check_size, photo, rescaled, sizes
from .style import (
    COLUMN,
    SMALL,
    caption,
    check_image,
    current,
    drawn,
    lines,
    new_figure,
    panels_in_lines,
    scale_bar,
    wrapped,
)

NEAR = 1 / 100  # of the largest coefficient: the zoom holds all that are larger
HALF = 0.5  # a zoom on more than this share of the picture would show the picture again
MOST = 0.9  # of the energy, which a smaller zoom holds


@checked
@drawn
def row(
    values: torch.Tensor,
    place: tuple[int, int] | None = None,
    zoom: int | None = None,
    text: str = "",
    of: str = "",
    photograph: torch.Tensor | None = None,
    channels: str = "norm",
    clip: float = CLIP,
    scale: str = "linear",
):
    """Draw a row of F, the receptive filter of one output (paper, eq. 7).

    The panels are the photograph, the filter over it, the filter alone and a zoom, on one symmetric scale.
    Corners mark the place; a dashed box holds all coefficients that are not zero, and a solid one is the
    zoom. There is no zoom where it would show more than half of the picture.

    Parameters
    ----------
    values : torch.Tensor
        The row, (C, H, W) or (H, W), in output units per input unit.
    place : (int, int), optional
        (y, x) of the input pixel at the position of the output, as ``lin.F.alignment().input_of`` gives it.
        By default the corners mark the largest coefficient, and the title says so.
    zoom : int, optional
        Side of the zoomed square in pixels. The default square around ``place`` holds every coefficient above
        1/100 of the largest; or 90% of the energy, if that one is more than half of the picture.
    text : str
        The caption, for example model, policy, dtype and error.
    of : str
        The output that is read, for the title, such as "y0[0, 32, 32]".
    photograph : torch.Tensor, optional
        The image (3, H, W) or (H, W) that is read, with as many pixels as the row. Without it there are only
        the filter and the zoom.
    channels : {"norm", "colour", "strongest", "panels"}
        How several channels are drawn: their norm with the sign of their sum; three as colours around grey;
        along their strongest direction; or one panel for each of at most four.
    clip : float
        The colours end at the value up to which values hold this percentage of the sum of all magnitudes; 100
        cuts nothing. The figure says where they are cut, and what share of the energy is seen.
    scale : {"linear", "root", "log"}
        Of the colours: linear, signed square root, or signed logarithm over three decades.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``alt`` says in words what there is to see.

    Raises
    ------
    FxscopeError
        If ``values`` is no image, or matplotlib is not installed.

    Examples
    --------
    >>> import fxscope
    >>> lin = fxscope.interpret(fxscope.models.bicubic4x(), torch.rand(1, 1, 16, 16))
    >>> figure = fxscope.plot.row(lin.F.row((0, 32, 32)), place=(8, 8), photograph=lin.x0[0])
    """
    drawing = Drawn(values, place, zoom, photograph, channels, clip, scale)
    return drawing.figure("receptive filter", "input", of, text)


@checked
@drawn
def column(
    values: torch.Tensor,
    place: tuple[int, int] | None = None,
    zoom: int | None = None,
    text: str = "",
    of: str = "",
    photograph: torch.Tensor | None = None,
    channels: str = "norm",
    clip: float = CLIP,
    scale: str = "linear",
):
    """Draw a column of F, the projective filter of one input, as ``row`` does (paper, eq. 9).

    Parameters
    ----------
    values : torch.Tensor
        The column, (C, H, W) or (H, W), in output units per input unit.
    place : (int, int), optional
        (y, x) of the output pixel at the position of the input, as ``lin.F.alignment().output_of`` gives it.
        The default is the largest coefficient.
    zoom, text, channels, clip, scale
        As in ``row``.
    of : str
        The input whose effect is drawn, for the title.
    photograph : torch.Tensor, optional
        The output y0 as an image, with as many pixels as the column.

    Returns
    -------
    matplotlib.figure.Figure
        Its ``alt`` says in words what there is to see.

    Raises
    ------
    FxscopeError
        As ``row`` does.
    """
    drawing = Drawn(values, place, zoom, photograph, channels, clip, scale)
    return drawing.figure("projective filter", "output", of, text)


@dataclass
class Drawn:
    """A filter that is being drawn, and what its panels share."""

    values: torch.Tensor
    place: tuple[int, int] | None
    zoom: int | None
    photograph: torch.Tensor | None
    channels: str
    clip: float
    scale: str

    def figure(self, title: str, ground: str, of: str, text: str) -> Any:
        """The figure of a kind of filter, over the image of an input or an output."""
        check_image(self.values)
        found, names = self._pictures()
        strength = found.strength[0] if not names else np.max(found.strength, axis=0)
        if self.place is not None:
            check_place(title, self.place, strength.shape)
        if self.photograph is not None:
            check_size(self.photograph, strength.shape, title)
        y, x = (int(v) for v in self.place or np.unravel_index(strength.argmax(), strength.shape))
        near = zoom_box(strength, y, x, self.zoom)
        panels = 2 * (self.photograph is not None) + max(1, len(names)) + (near is not None)
        width = COLUMN if panels <= 2 else current().page
        deep, across = lines(panels)
        tall = 0.86 * width / across * strength.shape[0] / strength.shape[1]
        figure = new_figure(width, 0.97 + deep * min(tall, 2.6) + 0.33 * (deep - 1), pictures=True)
        axes = panels_in_lines(figure, panels)
        marks = (y, x, max(strength.shape), support(strength), near, 0.86 * width / across)
        if self.photograph is not None:
            photo(axes[0], self.photograph, ground)
            found.over(axes[1], 0, self.photograph)
            axes[1].set_title(wrapped(f"filter over the {ground}", width / across))
            for axis in axes[:2]:
                _marked(axis, *marks)
            _bare(axes[1])
        filters = axes[2 * (self.photograph is not None) :]
        shown = self._filters(filters, found, names, title, marks)
        head = f"{title} of {of}" if of else title
        figure.suptitle(wrapped(head, 0.95 * width))
        scale_bar(figure, shown, filters, found.limit, unit=WEIGHT)
        self._end(figure, head, text, found, strength, marks)
        return figure

    def _pictures(self) -> tuple[Pictures, list[str]]:
        """What is drawn, and the names of the channels if each has its panel."""
        if self.channels != "panels" or self.values.dim() == 2:
            rule = "norm" if self.channels == "panels" else self.channels
            return pictures([self.values], 1, rule, self.clip, self.scale), []
        if len(self.values) > 4:
            raise WrongArgument(
                f'channels="panels" draws at most 4 channels, and this filter has {len(self.values)};'
                ' draw them as "norm" or "strongest", or values[c] alone'
            )
        names = (
            ["red", "green", "blue"] if len(self.values) == 3 else [str(c) for c in range(len(self.values))]
        )
        return pictures(list(self.values), 1, None, self.clip, self.scale), names

    def _filters(self, axes: list, found: Pictures, names: list[str], title: str, marks: tuple) -> Any:
        """Draw the filter alone, or each of its channels, and the zoom."""
        y, x, _, _, near, inches = marks
        for number, axis in enumerate(axes[: len(names) or 1]):
            shown = found.draw(axis, number)
            _marked(axis, *marks)
            axis.set_title(names[number] if names else "filter")
            _bare(axis)
        what = "largest" if self.place is None else "its place"
        axes[0].set_xlabel(f"{what} ({y}, {x})")
        if near is None:
            return shown
        strongest = int(np.argmax([s.max() for s in found.strength]))
        found.draw(axes[-1], strongest)
        show(axes[-1], near)
        mark(axes[-1], y, x, max(near[1] - near[0], near[3] - near[2]), inches)
        which = f" of {names[strongest]}" if names else ""
        size = f"{near[3] - near[2]} x {near[1] - near[0]} px"
        axes[-1].set_title(f"zoom{which}\n{size}" if which else f"zoom, {size}")
        _bare(axes[-1])
        return shown

    def _end(self, figure: Any, head: str, text: str, found: Pictures, strength: Any, marks: tuple) -> None:
        """The note below the figure, and its alternative text."""
        y, x, _, box, near, _ = marks
        h, w = strength.shape
        all_of_it = area(box) == h * w
        size = "the whole picture" if all_of_it else f"{box[3] - box[2]} x {box[1] - box[0]} of {w} x {h} px"
        said = [f"support {size}" + ("" if all_of_it else " (dashed)")]
        if near is not None:
            which = "" if near == box else " (solid)"
            said.append(f"the zoom{which} holds {100 * energy_in(strength, near):.3g}% of the energy")
        said += [found.note] if found.note else []
        if seen := rescaled(self.photograph):
            said.append(seen)
        peak = np.unravel_index(strength.argmax(), strength.shape)
        alt = (
            f"The {head} at ({y}, {x}){' over its photograph' if self.photograph is not None else ''}: the"
            f" largest coefficient, of magnitude {strength.max():.3g}, is at ({peak[0]}, {peak[1]})"
        )
        caption(figure, text, "; ".join(said), alt)


def _bare(axis: Any) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)


def _marked(axis: Any, y: int, x: int, side: int, box: Box, near: Box | None, inches: float) -> None:
    """Mark the place, the support if it is a part of the picture, and the zoom if it is another box."""
    mark(axis, y, x, side, inches)
    shape = axis.images[-1].get_array().shape
    if area(box) < shape[0] * shape[1]:
        outline(axis, box, dashed=True)
    if near is not None and near != box:
        outline(axis, near)


def zoom_box(strength: np.ndarray, y: int, x: int, zoom: int | None) -> Box | None:
    """The square that the zoom shows around a place; None where it is more than half of the picture."""
    shape = strength.shape
    if zoom is not None:
        reaches = [max(1, zoom // 2)]
    else:
        ys, xs = np.nonzero(strength > strength.max() * NEAR)
        every = max([3, *np.abs(ys - y), *np.abs(xs - x)]) + 1
        reaches = [every, max(4, reach_of(strength, y, x, MOST) + 1)]
    boxes = (around(shape, y, x, int(reach)) for reach in reaches)
    found = next((box for box in boxes if area(box) <= HALF * strength.size), None)
    whole = support(strength)
    alike = found is not None and zoom is None and area(found) <= area(whole) <= 2 * area(found)
    return whole if alike and area(whole) <= HALF * strength.size and _inside(whole, y, x) else found


def _inside(box: Box, y: int, x: int) -> bool:
    return box[0] <= y < box[1] and box[2] <= x < box[3]


@checked
@drawn
def images(
    panels: dict[str, torch.Tensor] | list[torch.Tensor] | tuple[torch.Tensor, ...],
    signed: bool = False,
    text: str = "",
):
    """Draw images side by side: photographs in [0, 1], or signed data on symmetric scales.

    Parameters
    ----------
    panels : dict or list
        {title: image}, or images without titles; each (C, H, W) or (H, W). Three channels are drawn as
        colours.
    signed : bool
        Draw around zero, which is grey where there are colours; other numbers of channels are drawn along
        their strongest direction. The panels share one scale where none of them would look blank on it; else
        each has its own, which is printed. If False, values are cut to [0, 1], which the figure says, and the
        mean of a number of channels other than 3 is drawn.
    text : str
        The caption.

    Returns
    -------
    matplotlib.figure.Figure
        One panel for each image.

    Raises
    ------
    FxscopeError
        If an image has another number of dimensions, or matplotlib is not installed.
    """
    given = _titled(panels)
    count = len(given)
    width = COLUMN if count <= 2 else current().page
    deep, across = lines(count)
    tallest = max(each.shape[-2] / each.shape[-1] for each in given.values())
    high = deep * min(0.3 + 0.2 * signed + 0.9 * tallest * width / across, 3.2)
    alike = len({each.shape[-2] / each.shape[-1] for each in given.values()}) == 1
    figure = new_figure(width, 0.2 + high, pictures=alike)
    axes = panels_in_lines(figure, count)
    titles = {wrapped(title, width / across, SMALL): values for title, values in given.items()}
    if signed:
        note = signed_panels(figure, axes, titles if len(titles) == count else given, unit="value")
    else:
        cut = [_photograph(axis, *each) for axis, each in zip(axes, given.items())]
        note = "; ".join(filter(None, cut))
    named = ", ".join(title for title in given if title.strip())
    note = "; ".join(filter(None, (sizes(given), note)))
    alt = f"{count} {'signed ' if signed else ''}images side by side" + (f": {named}" if named else "")
    caption(figure, text, note, alt)
    return figure


def _titled(panels: Any) -> dict[str, torch.Tensor]:
    """{title: image} of what ``images`` takes; images of a list have blank titles."""
    found = panels if isinstance(panels, dict) else {" " * i: each for i, each in enumerate(panels)}
    if not found:
        raise WrongArgument("images: panels is empty; give {title: image}, or a list of images")
    for title, values in found.items():
        if not isinstance(values, torch.Tensor):
            raise WrongArgument(
                f"images: panel {title!r} is {type(values).__name__}; each is an image, a tensor (C, H, W)"
            )
        check_image(values)
    return found


def _photograph(axis: Any, title: str, values: torch.Tensor) -> str:
    """Draw one photograph; returns what is said of values outside of [0, 1]."""
    data = values.detach().double().cpu()
    share = float(((data < 0) | (data > 1)).double().mean())
    data = data.clamp(0, 1)
    if data.dim() == 3:
        data = data.permute(1, 2, 0) if data.shape[0] == 3 else data.mean(0)
    axis.imshow(data.numpy(), cmap="gray", clim=(0, 1), interpolation="nearest")
    axis.set_title(title)
    axis.set_axis_off()
    said = f"{title}: " if title.strip() else ""
    return f"{said}{100 * share:.2g}% of the values are outside of 0 to 1 and cut" if share > 1e-4 else ""
