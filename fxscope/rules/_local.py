"""Locality: which places of its operands one place of an operator's output reads, on x0 as on x1.

A rule says so by its field ``local``, a function of a ``Site`` and an ``Operand`` that returns {dimension of
the output: Axis}. A dimension of the operand that no entry follows is read as a whole. A rule without the
field reads everything: what is not known to be local is global. ``None`` is returned where the operand's
values are not read at all.

One operator does the same at two sizes of an image where, for the same places, first, last and ``how`` agree,
each counted from where the part begins. That is compared, not assumed (``linop/local/locality.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ..twins.convolution import explicit_padding, per_axis
from ..twins.places import spread_places, window_places
from ..twins.separable import on_axis

WIDEST = 32  # places that one output place of an interpolation may read along an axis


@dataclass(frozen=True)
class Axis:
    """How one dimension of the output reads one of an operand.

    source       the dimension of the operand
    first, last  the places that each place reads; first > last: none
    how          what it does with them, one row a place: taps that a border cuts, weights, phases
    rate         places of the output for one of the operand: 1/2 for stride 2
    """

    source: int
    first: np.ndarray
    last: np.ndarray
    how: np.ndarray
    rate: Fraction = Fraction(1)


@dataclass(frozen=True)
class Site:
    """One call at one size of the image: its arguments, and the shape of the output.

    Nodes are replaced by tensors without values. ``item`` says which one of several outputs it is.
    """

    arguments: dict[str, Any]
    shape: tuple[int, ...]
    item: int | None = None
    values: Any = None


@dataclass(frozen=True)
class Operand:
    """A tensor that a call reads.

    ``name`` is the argument that holds it, ``at`` its place where the argument is a list.
    """

    name: str
    at: int
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float64


Reading = dict[int, Axis] | None


def sized(function: Callable) -> Callable:
    """Mark a function whose axes hold all that the numbers among its arguments say.

    For other functions those numbers must be the same at every size.
    """
    function.sized = True  # type: ignore[attr-defined]  # a mark on the function itself
    return function


def axis(
    source: int,
    first: np.ndarray,
    last: np.ndarray | None = None,
    how: np.ndarray | None = None,
    rate: Any = 1,
) -> Axis:
    """An ``Axis`` with what most have alike filled in."""
    how = np.zeros((len(first), 1)) if how is None else how
    return Axis(source, first, first if last is None else last, how, Fraction(rate))


def same(source: int, n: int) -> Axis:
    """Every place reads its own."""
    return axis(source, np.arange(n))


def elementwise(site: Site, operand: Operand) -> Reading:
    """Broadcasting: dimensions counted from the end, where they have the output's size."""
    offset = len(site.shape) - len(operand.shape)
    return {
        d + offset: same(d, n)
        for d, n in enumerate(operand.shape)
        if d + offset >= 0 and n == site.shape[d + offset]
    }


@sized
def broadcast(site: Site, operand: Operand) -> Reading:
    """To a given size, of whose dimensions those of size one alone may grow."""
    return elementwise(site, operand)


def pointwise(site: Site, operand: Operand) -> Reading:
    """Each place its own; other tensors are parameters, one value a channel."""
    return elementwise(site, operand) if operand.name == "x" else {}


def unread(site: Site, operand: Operand) -> Reading:
    """Of a tensor of one value everywhere: x tells size and dtype, not values."""
    return None if operand.name == "x" else {}


@sized
def fresh(site: Site, operand: Operand) -> Reading:
    """The same, of a size of its own."""
    return unread(site, operand)


def over_dims(site: Site, operand: Operand) -> Reading:
    """Along ``dim`` everything is read, along the others each place its own."""
    dim = site.arguments.get("dim")
    if dim is None or dim == () or dim == []:
        return {}
    rank = len(operand.shape)
    dims = {d % rank for d in (dim if isinstance(dim, (list, tuple)) else (dim,))}
    kept = [d for d in range(rank) if d not in dims]
    if len(site.shape) == rank:
        return {d: same(d, operand.shape[d]) for d in kept}
    return {i: same(d, operand.shape[d]) for i, d in enumerate(kept)}


def before_shape(site: Site, operand: Operand) -> Reading:
    """The last dimensions, those of ``normalized_shape``, are read as a whole."""
    last = site.arguments["normalized_shape"]
    if operand.name != "x" or not isinstance(last, (list, tuple)):
        return {}
    return {d: same(d, n) for d, n in enumerate(operand.shape[: len(operand.shape) - len(last)])}


def all_but_channels(site: Site, operand: Operand) -> Reading:
    """Dimension 1 is read as a whole."""
    return {d: same(d, n) for d, n in enumerate(operand.shape) if d != 1}


def in_front(site: Site, operand: Operand) -> Reading:
    """The output has more dimensions behind those of the operand."""
    return {d: same(d, n) for d, n in enumerate(operand.shape)} if operand.name in ("x", "input") else {}


def _window(source: int, outputs: int, n: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    first, last = window_places(outputs, n, kernel, stride, padding, dilation)
    start = np.arange(outputs) * stride - padding
    how = np.stack([first - start, start + dilation * (kernel - 1) - last], 1).astype(float)
    return axis(source, first, last, how, Fraction(1, stride))


def _spread(source: int, outputs: int, n: int, kernel: int, stride: int, padding: int, dilation: int) -> Axis:
    first, last = spread_places(outputs, n, kernel, stride, padding, dilation)
    return axis(
        source, first, last, (np.arange(outputs) + padding - stride * first)[:, None].astype(float), stride
    )


def _on_last(
    site: Site, operand: Operand, spatial: int, make: Callable[[int, int, int], Axis]
) -> dict[int, Axis]:
    """Axes of the last ``spatial`` dimensions by ``make(i, dimension, outputs)``.

    The batch in front of the channels is kept.
    """
    front = len(operand.shape) - spatial
    found = {front + i: make(i, front + i, site.shape[front + i]) for i in range(spatial)}
    return found | ({0: same(0, operand.shape[0])} if front == 2 else {})


def convolution(spatial: int, transposed: bool = False) -> Callable:
    """Windows of a convolution, or what a transposed one spreads."""
    make = _spread if transposed else _window

    def local(site: Site, operand: Operand) -> Reading:
        a = site.arguments
        if operand.name != "x":
            return {}
        kernel = tuple(a["weight"].shape[2:])
        stride, dilation = per_axis(a["stride"], spatial), per_axis(a["dilation"], spatial)
        padding = explicit_padding(a["padding"], kernel, dilation)
        return _on_last(
            site,
            operand,
            spatial,
            lambda i, d, n: make(d, n, operand.shape[d], kernel[i], stride[i], padding[i], dilation[i]),
        )

    return local


def pooling(spatial: int) -> Callable:
    """Windows of a pooling with a kernel, a stride and padding."""

    def local(site: Site, operand: Operand) -> Reading:
        a = site.arguments
        kernel = per_axis(a["kernel_size"], spatial)
        stride = kernel if a.get("stride") in (None, (), []) else per_axis(a["stride"], spatial)
        padding, dilation = per_axis(a.get("padding", 0), spatial), per_axis(a.get("dilation", 1), spatial)
        found = _on_last(
            site,
            operand,
            spatial,
            lambda i, d, n: _window(d, n, operand.shape[d], kernel[i], stride[i], padding[i], dilation[i]),
        )
        channel = len(operand.shape) - spatial - 1
        return found | {channel: same(channel, operand.shape[channel])}

    return local


@sized
def interpolation(site: Site, operand: Operand) -> Reading:
    """Each axis by the weights of the operator itself.

    An axis of which more than ``WIDEST`` places are read is read as a whole.
    """
    options = {k: v for k, v in site.arguments.items() if k != "x"}
    # which place is the nearest is a matter of rounding
    dtype = operand.dtype if options["mode"].startswith("nearest") else torch.float64
    spatial, found = len(operand.shape) - 2, {0: same(0, operand.shape[0]), 1: same(1, operand.shape[1])}
    for i in range(spatial):
        n, outputs, scale = operand.shape[2 + i], site.shape[2 + i], options.get("scale_factor")
        scale = scale[i] if isinstance(scale, (list, tuple)) else scale
        rate = Fraction(outputs, n) if scale is None else Fraction(scale).limit_denominator(64)
        read = _weighted(_along(options, i, spatial, dtype), n, outputs)
        if read is not None:
            found[2 + i] = axis(2 + i, *read, rate)
    return found


def _along(options: dict, i: int, spatial: int, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """An interpolation along one axis alone."""
    return lambda rows: on_axis(F.interpolate, options, i, spatial, rows.to(dtype)).double()


def _weighted(
    apply: Callable[[torch.Tensor], torch.Tensor], n: int, outputs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(first, last, weights) of a linear operator along one axis; None where it reads too far.

    They come from its values on combs of ones and of places.
    """
    comb = torch.zeros(WIDEST, n, dtype=torch.float64)
    comb[torch.arange(n) % WIDEST, torch.arange(n)] = 1.0
    weights, moments = (apply(rows).T.numpy() for rows in (comb, comb * torch.arange(n)))
    if weights.shape[0] != outputs:
        return None
    seen = np.abs(weights) > 1e-9
    place = np.where(seen, moments / np.where(seen, weights, 1.0), -1.0)
    if np.abs(place - place.round()).max(initial=0) > 1e-3:
        return None
    place = place.round().astype(int)
    first, last = np.where(seen, place, n).min(1), place.max(1)
    if (last - first >= WIDEST).any():
        return None
    turned = (first[:, None] + np.arange(WIDEST)) % WIDEST
    return first, last, np.take_along_axis(weights, turned, 1)


@sized
def padding(site: Site, operand: Operand) -> Reading:
    """Where every place comes from, by padding the places themselves."""
    pad, mode, rank, found = list(site.arguments["pad"]), site.arguments["mode"], len(operand.shape), {}
    value = float(site.arguments["value"] or 0)
    for d, n in enumerate(operand.shape):
        back = rank - 1 - d
        sides = pad[2 * back : 2 * back + 2] if 2 * back < len(pad) else [0, 0]
        places = torch.arange(n, dtype=torch.float64)[None, None]
        padded = (
            F.pad(places, sides, mode, **({"value": -1.0} if mode == "constant" else {}))[0, 0].long().numpy()
        )
        found[d] = axis(
            d,
            np.where(padded < 0, 1, padded),
            np.where(padded < 0, 0, padded),
            np.where(padded < 0, value, 0.0)[:, None],
        )
    return found


def pixel_shuffle(site: Site, operand: Operand) -> Reading:
    r = site.arguments["upscale_factor"]
    front = {d: same(d, n) for d, n in enumerate(operand.shape[:-3])}
    return front | {d: finer(d, site.shape[d], r) for d in range(len(site.shape) - 2, len(site.shape))}


def pixel_unshuffle(site: Site, operand: Operand) -> Reading:
    r = site.arguments["downscale_factor"]
    front = {d: same(d, n) for d, n in enumerate(operand.shape[:-3])}
    return front | {d: coarser(d, site.shape[d], r) for d in range(len(site.shape) - 2, len(site.shape))}


def finer(source: int, outputs: int, r: int) -> Axis:
    """R places for each of the operand's."""
    return axis(source, np.arange(outputs) // r, how=(np.arange(outputs) % r)[:, None].astype(float), rate=r)


def coarser(source: int, outputs: int, r: int) -> Axis:
    """One place for r of the operand's."""
    first = np.arange(outputs) * r
    return axis(source, first, first + r - 1, rate=Fraction(1, r))
