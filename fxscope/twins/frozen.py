"""The twins of nonlinearities: mask, select, gate, and average of products.

A normalisation is a gate whose factor and offset are its statistics.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state
from .places import Shape, Support, kept, of_windows


@dataclass(frozen=True)
class Mask(Twin):
    """y1 = x1 where the unit was on, ``other`` (0) elsewhere.

    Without ``other`` it is a product with the bits: eight times faster on CPU than ``where`` (whose loop is
    not vectorised), and a NaN or an infinity of x1 is seen in y1 even under a bit that is off.
    """

    keep: Any = state("mask")
    other: Any = state("constant", default=None)
    lift: int | None = 0
    grows: bool = False
    additive = ("other",)
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return k.aligned(self._masked, (x,), (self.lift,), self.keep, self.other)

    def _masked(self, x, keep, other):
        return x * keep if other is None else torch.where(keep, x, other)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = y * self.keep
        return k.fold(y, x, self.lift) if self.grows else y

    def constant(self, k: AdjointContext, x: ShapeRef):
        if self.other is None:
            return None
        return torch.where(self.keep, torch.zeros_like(self.other), self.other)

    @property
    def keeps_shape(self) -> bool:
        return not self.grows


@dataclass(frozen=True)
class Masked(Mask):
    """y1 = x1 where a condition held, ``other`` (0) elsewhere, whatever x1 is there.

    The twin of one operand of where, masked_fill and maximum.
    """

    kind = "mask"

    def _masked(self, x, keep, other):
        return torch.where(keep, x, 0.0 if other is None else other)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = torch.where(self.keep, y, 0.0)
        return k.fold(y, x, self.lift) if self.grows else y


@dataclass(frozen=True)
class Slope(Twin):
    """y1 = x1 where the unit was on, slope * x1 elsewhere (LeakyReLU, PReLU).

    The state is one bit per element.
    """

    keep: Any = state("mask")
    slope: Any = state("gate")
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return x * self._factor(x)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return y * self._factor(y)

    def _factor(self, x):
        return torch.where(self.keep, x.new_ones([1]), self.slope)  # of x0's size, whatever K is

    @property
    def keeps_shape(self) -> bool:
        return True


@dataclass(frozen=True)
class Gate(Twin):
    """y1 = factor * x1 + offset.

    The factor is a frozen operand of a product, or an activation's ratio h(x0)/x0 with its constant c(x0).
    """

    factor: Any = state("gate")
    offset: Any = state("constant", default=None)
    lift: int | None = 0
    grows: bool = False
    additive = ("offset",)
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return k.aligned(self._gated, (x,), (self.lift,), self.factor, self.offset)

    def _gated(self, x, factor, offset):
        return x * factor if offset is None else torch.addcmul(offset, x, factor)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = y * self.factor
        return k.fold(y, x, self.lift) if self.grows else y

    def constant(self, k: AdjointContext, x: ShapeRef):
        return self.offset

    @property
    def keeps_shape(self) -> bool:
        return not self.grows


@dataclass(frozen=True)
class Normalize(Gate):
    """y1 = g (x1 - mu0) / sigma0 + b with the statistics of x0.

    It is a gate g/sigma0 with an offset b - g mu0/sigma0.
    """

    factor: Any = state("stats")
    offset: Any = state("stats", default=None)
    adds = "shift"
    additive = ("offset",)


@dataclass(frozen=True)
class Divide(Twin):
    """y1 = x1 / denominator0."""

    denominator: Any = state("gate")
    lift: int | None = 0
    grows: bool = False
    elementwise = True

    def apply(self, k: ForwardContext, x):
        return k.aligned(operator.truediv, (x,), (self.lift,), self.denominator)

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        y = y / self.denominator
        return k.fold(y, x, self.lift) if self.grows else y

    @property
    def keeps_shape(self) -> bool:
        return not self.grows


@dataclass(frozen=True)
class Window:
    """Where the windows of a max-pool lie, per axis."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def bits(self) -> int:
        """Bits that an offset inside the window takes: 1, 2, 4, 8 or 16."""
        area = 1
        for k in self.kernel:
            area *= k
        return next(b for b in (1, 2, 4, 8, 16) if area <= 2**b)

    @property
    def apart(self) -> bool:
        """Whether no place is in two windows."""
        reach = (d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation))
        return all(r <= s for r, s in zip(reach, self.stride)) and all(_divides(s) for s in self.stride)


@functools.cache
def _divides(step: int) -> bool:
    """Whether places times 1/step, as ``upsample_nearest`` computes them, fall on the right windows."""
    places = torch.arange(1 << 16)
    found = (
        (places.to(t) * (1 / torch.tensor(step, dtype=t))).floor() for t in (torch.float32, torch.float64)
    )
    return step < 64 and all(torch.equal(f.long(), places // step) for f in found)


@dataclass(frozen=True)
class Select(Twin):
    """y1 = x1 gathered at the frozen indices (max-pool, amax, topk).

    The last ``dims`` dimensions are taken as one.

    ``index`` has the output's shape and counts positions of the flattened trailing dimensions, as max-pool's
    does; ``window`` says where a max-pool's windows lie, so that an index can be kept as the offset in its
    own; ``channels_last``, that the channels, the dimension before, lie closest in memory: they are gathered
    side by side, and stay so.

    ``winners``, of the input's shape, is True at the indices of windows that lie apart. The transpose is then
    a masked upsampling: the same numbers as a scatter, without its atomic sums.
    """

    index: Any = state("index")
    dims: int = 2
    rank: int | None = None
    window: Any = None
    channels_last: bool = False
    winners: Any = state("index", reverse=True, default=None)
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        if self.dims == 1 and not self.channels_last:
            return torch.gather(x, -1, k.spread(self.index, self.rank))
        return self._gathered(x, self._spread(k))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        if self.winners is not None:
            return self._upsampled(k, y, x) * self.winners
        if not self.channels_last:
            zeros = k.zeros(y, x).flatten(-self.dims)
            return k.reshape(zeros.scatter_add(-1, self._spread(k), self.flat(y)), x)
        *outer, channels = x.sizes()[: -self.dims]
        zeros = y.new_zeros([k.K, *outer, *x.sizes()[-self.dims :], channels]).flatten(-1 - self.dims, -2)
        return k.reshape(zeros.scatter_add(-2, self._spread(k), self.flat(y)).transpose(-1, -2), x)

    def _upsampled(self, k: AdjointContext, y, x: ShapeRef):
        """Every place of x with the value of its window; the others, where no winner is, with any."""
        whole = x.ndim == self.dims + 2  # (B, C, ...), where the probes are merged into B
        y = self._filling(k.merge(y) if whole else y, x)
        y = F.interpolate(y, scale_factor=[float(s) for s in self.window.stride], mode="nearest")
        for d, start in enumerate(self.window.padding, -self.dims):
            y = y.narrow(d, start, x.size(d + x.ndim))
        return k.split(y) if whole else y

    def _filling(self, y, x: ShapeRef):
        """The values of as many windows as fill x: the last window again, or windows left out, at the end.

        To upsample more than x would leave gaps in memory, which the next convolution has to copy.
        """
        behind = int(self.channels_last)
        y = y.movedim(1, -1) if behind else y
        for d, (step, start) in enumerate(zip(self.window.stride, self.window.padding), -self.dims - behind):
            count = (x.size(d + behind + x.ndim) + start + step - 1) // step
            y = y.index_select(d, torch.arange(count, device=y.device).clamp(max=y.size(d) - 1))
        return y.movedim(-1, 1) if behind else y

    def won(self, x):
        """The winners: True at the indices, in the shape of a value x of the input."""
        flat = self.flat(torch.zeros_like(x, dtype=torch.bool))
        dim = -2 if self.channels_last else -1
        won = flat.scatter(dim, self.flat(self.index), True)
        won = won.transpose(-1, -2) if self.channels_last else won
        return won.unflatten(-1, [x.size(d) for d in range(-self.dims, 0)])

    def flat(self, x):
        """The trailing dimensions as one, before the channels where these lie closest: a view."""
        x = x.flatten(-self.dims)
        return x.transpose(-1, -2) if self.channels_last else x

    def gathered(self, x):
        """A state of the input's size, without K, at the indices."""
        return self._gathered(x, self.flat(self.index))

    def _gathered(self, x, index):
        picked = torch.gather(self.flat(x), -2 if self.channels_last else -1, index)
        picked = picked.transpose(-1, -2) if self.channels_last else picked
        return picked.unflatten(-1, [self.index.size(d) for d in range(-self.dims, 0)])

    def _spread(self, k: ForwardContext):
        return k.spread(self.flat(self.index), None if self.rank is None else self.rank - self.dims + 1)

    def support(self, which: int, inputs: list[Shape], shape: Shape) -> Support:
        front = len(inputs[0]) - self.dims
        windows = {} if self.window is None else of_windows(self.window, front, inputs[0], shape)
        return kept(inputs[0], *range(front)) | windows


@dataclass(frozen=True)
class Gather(Twin):
    """y1 = x1 gathered along one dimension at frozen indices of the output's shape.

    The dimension is counted from the end, or with K in front.
    """

    index: Any = state("index")
    dim: int = -1
    rank: int | None = None
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        return torch.gather(x, self.dim, k.spread(self.index, self.rank))

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        return k.zeros(y, x).scatter_add(self.dim, k.spread(self.index, self.rank), y)


@dataclass(frozen=True)
class Unpool(Twin):
    """y1 = zeros, with x1 put at the frozen indices of the last ``dims`` dimensions taken as one.

    ``blank`` has the shape of the output.

    ``keep``, of x's shape, tells which entries were not written over by another of the same index; None where
    no index occurs twice.
    """

    index: Any = state("index")
    blank: Any = state("size")
    keep: Any = state("mask", default=None)
    dims: int = 2
    rank: int | None = None
    keeps_batch = True

    def apply(self, k: ForwardContext, x):
        rank = None if self.rank is None else self.rank - self.dims + 1
        index, blank = (k.spread(v.flatten(-self.dims), rank) for v in (self.index, self.blank))
        kept = x if self.keep is None else torch.where(self.keep, x, 0.0)
        write = blank.scatter if self.keep is None else blank.scatter_add
        return write(-1, index, kept.flatten(-self.dims)).unflatten(
            -1, [self.blank.size(d) for d in range(-self.dims, 0)]
        )

    def adjoint(self, k: AdjointContext, y, x: ShapeRef):
        rank = None if self.rank is None else self.rank - self.dims + 1
        index = k.spread(self.index.flatten(-self.dims), rank)
        back = k.reshape(torch.gather(y.flatten(-self.dims), -1, index), x)
        return back if self.keep is None else torch.where(self.keep, back, 0.0)


@dataclass(frozen=True)
class Where(Twin):
    """y1 = a1 where the first operand won, b1 elsewhere (maximum, minimum, where): two inputs, one mask."""

    keep: Any = state("mask")
    lifts: tuple = (0, 0)
    elementwise = True

    def apply(self, k: ForwardContext, a, b):
        return k.aligned(lambda a, b, keep: torch.where(keep, a, b), (a, b), self.lifts, self.keep)

    def adjoint(self, k: AdjointContext, y, a: ShapeRef, b: ShapeRef):
        return k.fold(torch.where(self.keep, y, 0.0), a, self.lifts[0]), k.fold(
            torch.where(self.keep, 0.0, y), b, self.lifts[1]
        )


def _both(a1, b1, a, b):
    return a1 * b + b1 * a


@dataclass(frozen=True)
class Average(Twin):
    """y1 = (a1 b0 + a0 b1)/2: a product of which neither operand is a gate.

    At x1 = x0 it is a0 b0, and it adds no residual.
    """

    a: Any = state("gate")
    b: Any = state("gate")
    lifts: tuple = (0, 0)
    elementwise = True

    def apply(self, k: ForwardContext, a1, b1):
        return k.aligned(_both, (a1, b1), self.lifts, self.a, self.b) * 0.5

    def adjoint(self, k: AdjointContext, y, a: ShapeRef, b: ShapeRef):
        y = y * 0.5
        return k.fold(y * self.b, a, self.lifts[0]), k.fold(y * self.a, b, self.lifts[1])


@dataclass(frozen=True)
class TangentProduct(Twin):
    """y1 = a1 b0 + a0 b1 - offset: two operands under frozen weights.

    With the offset a0 b0 it is the Taylor variant of a product.
    """

    a: Any = state("gate")
    b: Any = state("gate")
    offset: Any = state("constant", default=None)
    lifts: tuple = (0, 0)
    additive = ("offset",)
    elementwise = True

    def apply(self, k: ForwardContext, a1, b1):
        y = k.aligned(_both, (a1, b1), self.lifts, self.a, self.b)
        return y if self.offset is None else y - self.offset

    def adjoint(self, k: AdjointContext, y, a: ShapeRef, b: ShapeRef):
        return k.fold(y * self.b, a, self.lifts[0]), k.fold(y * self.a, b, self.lifts[1])

    def constant(self, k: AdjointContext, a: ShapeRef, b: ShapeRef):
        return None if self.offset is None else -self.offset
