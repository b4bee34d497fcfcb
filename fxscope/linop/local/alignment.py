"""Where the outputs of a network of images lie in its input: a line o -> step o + start for every axis.

The graph tells it. Each twin says which places of its input every place of its output reads
(``Twin.support``). Away from the borders these are intervals whose centres lie on a line and whose sizes are
the same, and so are those of a chain of twins. Borders, which cut the intervals of deep networks in all of a
small image, are left out: the line of a network without padding has an offset, and that of one with padding
does not depend on how large the image is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import NotLocal, PlaceIndexError
from ...passes.rewrite import Probe, Program, Record
from ...results.display import Displayed
from ...twins.norms import Centred, LogSoftmaxTangent, SoftmaxTangent, TangentNorm
from ...twins.places import Table, own, shape_of

if TYPE_CHECKING:
    from ..linear import Operator

PERIOD = 64  # places after which the phases of a grid repeat, at most
HALF = Fraction(1, 2)
AROUND = (Centred, TangentNorm, SoftmaxTangent, LogSoftmaxTangent)  # everything, and their own place first


@dataclass(frozen=True, repr=False)
class Alignment(Displayed):
    """Where each output of a network of images is centred in the input, from ``lin.F.alignment()``.

    Output o of an axis is centred on the place ``step * o + start`` of the input, a rational number: for a
    2x upscaler with padding this is o/2 - 1/4, halfway between two outputs of one input. It is the middle of
    the outputs' receptive fields, without what borders cut off.

    Attributes
    ----------
    step, start : tuple of Fraction
        One for each axis of the image, such as (y, x).
    inputs, outputs : tuple of int
        Sizes of the axes.
    source : {"graph", "filters", "sizes"}
        What tells it: the graph alone; the supports of two rows or columns, where an operator does not tell
        what it reads; or the ratio of the sizes, where these filters reach everywhere.
    """

    step: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    source: str = "graph"

    @property
    def scale(self) -> tuple[Fraction, ...]:
        """Outputs for one input, along each axis."""
        return tuple(1 / abs(a) for a in self.step)

    def centre(self, output: Sequence[int]) -> tuple[Fraction, ...]:
        """The place of the input on which an output is centred; it may lie between pixels, or outside."""
        place = _whole(output, self.outputs, "output")
        return tuple(a * o + b for a, b, o in zip(self.step, self.start, place))

    def input_of(self, output: Sequence[int]) -> tuple[int, ...]:
        """The pixel of the input nearest to the centre of an output."""
        return tuple(_nearest(c, n) for c, n in zip(self.centre(output), self.inputs))

    def output_of(self, input: Sequence[int]) -> tuple[int, ...]:
        """The output that is centred nearest to a pixel of the input."""
        place = _whole(input, self.inputs, "input")
        return tuple(
            _nearest((i - b) / a, n) for a, b, i, n in zip(self.step, self.start, place, self.outputs)
        )

    def inside(self) -> tuple[slice, ...]:
        """The box of input pixels between the centres of the first and the last output."""
        ends = zip(self.input_of([0] * len(self.step)), self.input_of([n - 1 for n in self.outputs]))
        return tuple(slice(min(pair), max(pair) + 1) for pair in ends)


def _whole(place: Sequence[int], sizes: tuple[int, ...], what: str) -> tuple[int, ...]:
    """A place without negative numbers; raises ``PlaceIndexError`` if it is none."""
    each = list(place) if isinstance(place, Sequence) else [place]
    fits = len(each) == len(sizes) and all(
        hasattr(i, "__index__") and not isinstance(i, bool) and -n <= int(i) < n for i, n in zip(each, sizes)
    )
    if not fits:
        raise PlaceIndexError(
            f"{place!r} is no place of the {what}, whose axes have the sizes {sizes}: give"
            f" {len(sizes)} whole numbers"
        )
    return tuple(int(i) % n for i, n in zip(each, sizes))


def _nearest(place: Fraction, size: int) -> int:
    return min(max(math.floor(place + HALF), 0), size - 1)


@dataclass(frozen=True)
class _Line:
    """Place o of a dimension reads the places within ``half`` of ``step o + start`` of an input dimension."""

    axis: int
    step: Fraction
    start: Fraction
    half: Fraction


def alignment(program: Program, F: Operator) -> Alignment:
    """The alignment of an operator of one input and one output; see ``Operator.alignment``."""
    inputs, outputs = F.inputs.shape, F.outputs.shape
    if F.inputs.batched:
        raise NotLocal("alignment is about one image: interpret one of the batch")
    if len(inputs) != len(outputs) or len(inputs) < 2:
        raise NotLocal(
            f"alignment is about networks from images to images; F is from {inputs} to {outputs}, and the"
            " first dimension of an image holds its channels"
        )
    lines = _lines(program).get(next(iter(program.affine.values())), {})
    axes = {d - 2: v for d, v in lines.items() if d > 1 and v.axis == d and v.step}
    found = {i: (v.step, v.start) for i, v in axes.items()}
    missing = [i for i in range(len(inputs) - 1) if i not in found]
    measured = {i: _measured(F, i) for i in missing}
    of_sizes = {i: _of_sizes(inputs[1 + i], outputs[1 + i]) for i in missing}
    each = [found.get(i) or measured.get(i) or of_sizes[i] for i in range(len(inputs) - 1)]
    source = "graph" if not missing else "filters" if all(measured.values()) else "sizes"
    return Alignment(
        tuple(a for a, _ in each), tuple(b for _, b in each), tuple(inputs[1:]), tuple(outputs[1:]), source
    )


def _of_sizes(n: int, outputs: int) -> tuple[Fraction, Fraction]:
    step = Fraction(n, outputs)
    return step, (step - 1) / 2


def _measured(F: Operator, axis: int) -> tuple[Fraction, Fraction] | None:
    """The line through the middles of two rows or columns, of the space with fewer places."""
    by_rows = F.outputs.shape[1 + axis] <= F.inputs.shape[1 + axis]
    probed, of = (F.outputs.shape, F.rows) if by_rows else (F.inputs.shape, F.columns)
    size = probed[1 + axis]
    places = sorted({size // 3, size - 1 - size // 3})
    indices = [(slice(None), *(p if i == axis else n // 2 for i, n in enumerate(probed[1:]))) for p in places]
    middles = []
    for filter in of(indices, progress=False):
        where = filter.abs().amax([d for d in range(filter.dim()) if d != 1 + axis]).nonzero().flatten()
        if not len(where) or (where[0] == 0 and where[-1] == filter.shape[1 + axis] - 1):
            return None
        middles.append(Fraction(int(where[0] + where[-1]), 2))
    if len(places) < 2 or middles[0] == middles[1]:
        return None
    step = ((middles[1] - middles[0]) / (places[1] - places[0])).limit_denominator(PERIOD)
    start = sum((m - step * p for m, p in zip(middles, places)), Fraction(0)) / 2
    return (step, start) if by_rows else (1 / step, -start / step)


def _lines(program: Program) -> dict[Any, dict[int, _Line]]:
    """{value of the tape: {dimension: its line}}, batch included."""
    probe = program.probes[0]
    shape = shape_of(probe.node) or ()
    found: dict[Any, dict[int, _Line]] = {
        probe: {d: _Line(d, Fraction(1), Fraction(0), Fraction(0)) for d in range(len(shape))}
    }
    for record in program.tape:
        found[record] = _of_record(record, found)
    return found


def _of_record(record: Record, found: dict[Any, dict[int, _Line]]) -> dict[int, _Line]:
    shape = shape_of(record.like)
    known = [shape_of(v.node if isinstance(v, Probe) else v.like) for v in record.inputs]
    inputs = [s for s in known if s is not None]
    if shape is None or len(inputs) < len(known):
        return {}
    union: dict[int, _Line] = {}
    for i, value in enumerate(record.inputs):
        tables = record.twin.support(i, inputs, shape)
        if record.twin.keeps_shape or isinstance(record.twin, AROUND):
            tables = {d: (d, own(n)) for d, n in enumerate(shape)} | tables
        for d, (source, table) in tables.items():
            inner, fit = found[value].get(source), _fitted(table, inputs[i][source])
            if inner is not None and fit is not None:
                union[d] = _with(union.get(d), _through(inner, *fit))
    return union


def _through(inner: _Line, step: Fraction, start: Fraction, half: Fraction) -> _Line:
    """The line in the input of what reads a value with this line."""
    return _Line(
        inner.axis,
        inner.step * step,
        inner.step * start + inner.start,
        abs(inner.step) * half + inner.half,
    )


def _with(a: _Line | None, b: _Line) -> _Line:
    """The line of a sum: the union of both intervals, where they move alike."""
    if a is None or (a.step == 0 and b.step):
        return b
    if a.axis != b.axis or a.step != b.step:
        return a
    low, high = min(a.start - a.half, b.start - b.half), max(a.start + a.half, b.start + b.half)
    return _Line(a.axis, a.step, (low + high) / 2, (high - low) / 2)


def _fitted(table: Table, size: int) -> tuple[Fraction, Fraction, Fraction] | None:
    """(step, start, half) of the intervals of a table, away from the borders that cut them."""
    first, last = table
    places = np.nonzero(first <= last)[0]
    quarter = len(first) // 4
    middle = places[(places >= quarter) & (places < len(first) - quarter)]
    low = _line(first, middle[first[middle] > 0]) or _line(first, middle)
    high = _line(last, middle[last[middle] < size - 1]) or _line(last, middle)
    if low is not None and high is not None and low[0] == high[0]:
        return low[0], (low[1] + high[1]) / 2, abs(high[1] - low[1]) / 2
    if len(places) < 2 or (last - first)[places].min() >= size - 1:
        return (Fraction(1), Fraction(0), Fraction(0)) if len(first) == size == 1 else None
    step, start = np.polyfit(places, (first + last)[places] / 2, 1)  # a grid of no short period
    return Fraction(step).limit_denominator(10**6), Fraction(start).limit_denominator(10**6), Fraction(0)


def _line(values: np.ndarray, places: np.ndarray) -> tuple[Fraction, Fraction] | None:
    """(step, start) of whole numbers that follow a line up to their phases; None if they do not."""
    for period in range(1, min(PERIOD, len(places) // 2) + 1):
        risen = values[places[period:]] - values[places[:-period]]
        if (places[period:] - places[:-period] == period).all() and (risen == risen[0]).all():
            step = Fraction(int(risen[0]), period)
            rest = [int(values[p]) - step * int(p) for p in places[:period]]
            return step, sum(rest, Fraction(0)) / period
    return None
