"""What all figures share: widths, text sizes, light and dark, colours that the colour-blind tell apart."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, TypeVar, cast

import numpy as np
import torch

from ..errors import FxscopeError, WrongArgument
from ..graph.arguments import checked
from ..results import provenance

COLUMN, PAGE = 3.5, 7.16  # widths of one and of two columns, in inches
SLIDE = 12.5 / PAGE  # a figure of two columns fills a slide of 13.3 inches, and its text has 14 points
TEXT, SMALL = 8, 7  # points: titles and labels; ticks, legends and captions
CAPTION = 2  # lines below a figure for which its height is made
ROOM = 0.4  # inches of height that a figure of pictures has until it is drawn, so that they are wide
ACROSS = 3  # panels in a line of a figure of one column
SIGNED = "RdBu_r"  # zero is white
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")  # Paul Tol's "bright"
OTHERS = "#bbbbbb"  # its grey, for what has no colour of its own
_DARK_SIGNED = ("#9ecae9", "#3182bd", "#16324a", "#181b20", "#4a1f19", "#d6604d", "#fcbf9e")

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Look:
    """How figures look: colours of paper, ink and signed data, sizes, captions or none."""

    paper: str = "white"
    ink: str = "#1a1a1a"
    faint: str = "#8a8a8a"
    base: str = "#555555"
    dark: bool = False
    scale: float = 1.0
    captions: bool = True
    narrow: bool = False

    @property
    def page(self) -> float:
        """The width in inches of a figure that takes two columns where it may."""
        return COLUMN if self.narrow else PAGE

    @property
    def signed(self) -> Any:
        """The colour map of signed data: zero has the colour of the paper."""
        if not self.dark:
            return SIGNED
        from matplotlib.colors import LinearSegmentedColormap

        return LinearSegmentedColormap.from_list("fxscope_dark", _DARK_SIGNED)

    def rc(self) -> Any:
        """The settings of matplotlib under which a figure is drawn; the font stays the user's."""
        from cycler import cycler

        text, small, line = (self.scale * size for size in (TEXT, SMALL, 0.6))
        colours = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor"), self.ink)
        papers = dict.fromkeys(("figure.facecolor", "axes.facecolor"), self.paper)
        sizes = dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize", "figure.titlesize"), text)
        smaller = dict.fromkeys(("legend.fontsize", "figure.labelsize"), small)
        lines = dict.fromkeys(("axes.linewidth", "patch.linewidth"), line)
        return {
            **(colours | papers | sizes | smaller | lines),
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
            "lines.linewidth": 2 * line,
            "lines.markersize": 4 * self.scale,
        }


LIGHT = Look()
DARK = Look("#14171c", "#e8e8e8", "#8f959e", "#b5bac2", dark=True)
_look: ContextVar[Look] = ContextVar("fxscope.plot.look", default=LIGHT)


def current() -> Look:
    """The look of the figures that are drawn now."""
    return _look.get()


@contextmanager
def _with(found: Look) -> Iterator[None]:
    token = _look.set(found)
    try:
        yield
    finally:
        _look.reset(token)


@checked
def look(theme: str = "light", size: str = "paper", captions: bool = True) -> Any:
    """How the figures look that are drawn within ``with fxscope.plot.look(...):``.

    Parameters
    ----------
    theme : {"light", "dark"}
        Dark ink on white paper, or light ink on dark paper, where zero is dark, too.
    size : {"paper", "column", "slide"}
        Text of 8 points in figures of one column (3.5 inches) or two (7.16 inches), as their panels need; in
        figures of one column, whose panels stand in several lines; or in figures that fill a slide, 14
        points.
    captions : bool
        Write captions below the figures. Without, for a page that has captions of its own, the caption is
        only in ``figure.alt``.

    Returns
    -------
    context manager
        The former look comes back at its end.

    Raises
    ------
    WrongArgument
        If there is no such theme or size.

    Examples
    --------
    >>> import fxscope, torch
    >>> with fxscope.plot.look("dark", captions=False):
    ...     figure = fxscope.plot.images([torch.rand(3, 8, 8)])
    """
    if theme not in ("light", "dark"):
        raise WrongArgument(f'look: theme is "light" or "dark", got {theme!r}')
    if size not in ("paper", "column", "slide"):
        raise WrongArgument(f'look: size is "paper", "column" or "slide", got {size!r}')
    base = DARK if theme == "dark" else LIGHT
    scale = SLIDE if size == "slide" else 1.0
    return _with(replace(base, scale=scale, captions=captions, narrow=size == "column"))


def drawn(function: F) -> F:
    """A function whose figure is drawn in the current look."""

    @functools.wraps(function)
    def inner(*args: Any, **kwargs: Any) -> Any:
        try:
            from matplotlib import rc_context
        except ModuleNotFoundError as error:
            raise FxscopeError("figures need matplotlib: pip install 'fxscope[plot]'") from error
        with rc_context(current().rc()):
            figure = function(*args, **kwargs)
            for axis in figure.axes:  # ticks are made when they are drawn, which is after this
                _ticks(axis)
            if figure.pictures:
                _fit(figure)
            return figure

    return cast(F, inner)


def _fit(figure: Any) -> None:
    """Take away the height that panels leave which are as wide as they can be."""
    from matplotlib.transforms import Bbox

    engine = figure.get_layout_engine()
    engine.execute(figure)
    (width, height), dots = figure.get_size_inches(), figure.dpi
    box = Bbox.union([axis.get_tightbbox() for axis in figure.axes])
    above = [each.get_window_extent() for each in (figure._suptitle, *figure.legends) if each is not None]
    below = [figure._supxlabel.get_window_extent()] if figure._supxlabel else []
    top = min((each.y0 for each in above), default=height * dots)
    bottom = max((each.y1 for each in below), default=0.0)
    unused = (top - box.y1 + box.y0 - bottom) / dots - 4 * engine.get()["h_pad"]
    if unused > 0:
        figure.set_size_inches(width, height - unused)


def _ticks(axis: Any) -> None:
    found = current()
    axis.tick_params(
        labelsize=SMALL * found.scale,
        length=2 * found.scale,
        width=0.6 * found.scale,
        pad=2 * found.scale,
        color=found.ink,
        labelcolor=found.ink,
    )


def new_figure(width: float, height: float, pictures: bool = False) -> Any:
    """An empty figure of this size in inches, times the look's scale, whose panels lay themselves out.

    With ``pictures`` all its panels are pictures of one shape, which stand close together, and a colour bar
    is as high as they are.
    """
    try:
        from .figure import House
    except ModuleNotFoundError as error:
        raise FxscopeError("figures need matplotlib: pip install 'fxscope[plot]'") from error
    scale = current().scale
    layout: Any = "compressed" if pictures else "constrained"
    height += ROOM if pictures else 0
    figure = House(figsize=(scale * width, scale * height), layout=layout)
    figure.pictures = pictures
    return figure


def lines(count: int) -> tuple[int, int]:
    """(lines, panels in a line) of so many panels: one line, or in one column several, as even as they go."""
    tall = -(-count // ACROSS) if current().narrow else 1
    return tall, -(-count // tall)


def panels_in_lines(figure: Any, count: int) -> list:
    """So many panels in the lines that they need."""
    tall, wide = lines(count)
    axes = list(figure.subplots(tall, wide, squeeze=False).flat)
    for axis in axes[count:]:
        axis.remove()
    return axes[:count]


def legend_above(figure: Any, handles: list) -> None:
    """A legend above all panels, in as many columns as fit."""
    longest = max(inches_of(str(handle.get_label()), SMALL) for handle in handles)
    column = longest + 3.6 * SMALL / 72  # with its handle and the gaps
    fit = int(figure.get_figwidth() / current().scale / column)
    style = {"handlelength": 1.4, "columnspacing": 1.4, "handletextpad": 0.6}
    figure.legend(handles=handles, loc="outside upper center", ncols=max(1, min(len(handles), fit)), **style)


def small() -> float:
    """Points of ticks, legends and captions."""
    return SMALL * current().scale


def check_image(values: torch.Tensor) -> None:
    """Raise ``FxscopeError`` if this is no image, (C, H, W) or (H, W)."""
    if values.dim() not in (2, 3) or not values.numel():
        raise FxscopeError(f"expected an image (H, W) or (C, H, W), got shape {tuple(values.shape)}")


def limit_of(pictures: list[np.ndarray]) -> float:
    """The largest absolute value of all pictures, or 1 if they are all zero."""
    return max((float(np.abs(p).max()) for p in pictures if p.size), default=0.0) or 1.0


def scale_bar(
    figure: Any, shown: Any, axes: Any, limit: float, ends: tuple[str, str] | None = None, unit: str = ""
) -> None:
    """Add a thin colour bar with ticks at -limit, 0 and limit, or other words, and what it is of."""
    low, high = ends or (f"{-limit:.2g}", f"{limit:.2g}")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, aspect=28, pad=0.01, ticks=[-limit, 0, limit])
    bar.ax.minorticks_off()
    bar.ax.set_yticklabels([low, "0", high])
    bar.outline.set_linewidth(0.4)
    bar.set_label(unit, fontsize=small(), labelpad=1)


def wrapped(text: str, inches: float, points: float = TEXT) -> str:
    """A text in lines that fit into a width; a word that is longer is broken."""
    return "\n".join(short for line in text.splitlines() for short in _lines_of(line, inches, points))


def inches_of(text: str, points: float = TEXT) -> float:
    """The width of a line of text in the font of the figures."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=points)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font does not have
        return float(text_to_path.get_text_width_height_descent(text, font, False)[0] / 72)


def _lines_of(line: str, inches: float, points: float, hyphens: bool = True) -> list[str]:
    """A line in as few lines as fit; at least six letters stay together."""
    most = int(inches * 72 / (0.35 * points))
    for letters in range(max(6, min(len(line), most)), 6, -1):
        found = wrap(line, letters, break_on_hyphens=hyphens)
        if all(inches_of(each, points) <= 0.96 * inches for each in found):
            return found or [""]
    return wrap(line, 6) or [""]


def about(found: Any, text: str) -> str:
    """The caption that was given, or else what a record says of its network, image, policy and error."""
    origin = getattr(found, "_provenance", None) or getattr(found, "origin", None)
    return text or (provenance.caption(origin) if origin else "")


def _within(text: str, inches: float) -> bool:
    """Whether each line is as short as that: a panel is narrower than its figure by what stands beside it."""
    return max(map(inches_of, text.splitlines())) <= inches / current().scale


def headed(figure: Any, title: str) -> None:
    """Say at the top what a figure shows: above its one panel, in its legend, or above all panels.

    The figure grows, so that its panels keep their size.
    """
    width, height = figure.get_size_inches()
    said = wrapped(title, 0.95 * width / current().scale)
    panels = [axis for axis in figure.axes if axis.get_label() != "<colorbar>"]
    if figure.legends:
        figure.legends[0].set_title(said, prop={"size": TEXT * current().scale})
        figure.legends[0].get_title().set_multialignment("center")
    elif len(panels) == 1 and not panels[0].get_title() and _within(said, 0.75 * width):
        panels[0].set_title(said)
    else:
        two = any("\n" in axis.get_title() for axis in panels)  # which would touch what stands above them
        figure.suptitle(f"{said}\n" if two else said)
    more = (1 + said.count("\n")) * 1.5 * TEXT * current().scale / 72
    figure.set_size_inches(width, height + more)


def caption(figure: Any, text: str, note: str = "", alt: str = "", title: str = "") -> None:
    """Write what a figure shows above it, and the caption with a note on how it is drawn below it.

    ``alt`` says what there is to see; the title and the caption are parts of the alternative text, too.
    """
    whole, scale = figure.get_figure(root=True), current().scale
    given = [line for part in (text, note) for line in part.splitlines() if line]
    first = [f"{title[0].upper()}{title[1:]}"] if title else []
    whole.alt = " ".join(part if part.endswith(".") else f"{part}." for part in (*first, alt, *given) if part)
    if title:
        headed(whole, title)
    width, height = whole.get_size_inches()
    said: list[str] = []
    if current().captions:
        said = [short for line in given for short in _lines_of(line, width / scale, SMALL, False)]
        figure.supxlabel("\n".join(said), color=current().faint if current().dark else "0.35")
    more = len(said) - CAPTION  # the figure grows or shrinks, so that its panels keep their size
    whole.set_size_inches(width, height + more * 1.3 * SMALL * scale / 72)
