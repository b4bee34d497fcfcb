"""A convolution whose kernel is the probe, over a frozen image: dynamic convolution, linear in the kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch.nn.functional as F

from .base import AdjointContext, ForwardContext, ShapeRef, Twin, state
from .convolution import FORWARD, SPATIAL, TRANSPOSED, per_axis


@dataclass(frozen=True)
class Kernel(Twin):
    """y1 = w1 * x0, a convolution or transposed convolution.

    The kernels of all probes are one kernel with K times as many outputs, and the transpose is a convolution
    of x0 with y2 in which batch and channels change places.
    """

    function: Callable
    image: Any = state("gate")
    options: dict = field(default_factory=dict)
    batched: bool = True
    kind = "conv"

    @property
    def _transposed(self) -> bool:
        return self.function is TRANSPOSED[SPATIAL[self.function]]

    def _image(self):
        return self.image if self.batched else self.image.unsqueeze(0)

    def apply(self, k: ForwardContext, w):
        groups = self.options["groups"]
        if self._transposed:  # (K, groups*in, out, ...), where the outputs of all probes are side by side
            merged = w.transpose(0, 1).flatten(1, 2)
        else:  # (K, groups*out, in, ...), where those of one group are
            merged = w.unflatten(1, [groups, -1]).transpose(0, 1).flatten(0, 2)
        y = self.function(self._image(), merged, None, **self.options)
        y = y.unflatten(1, [groups, k.K, -1]).movedim(2, 0).flatten(2, 3)
        return y if self.batched else y.squeeze(1)

    def adjoint(self, k: AdjointContext, y, w: ShapeRef):
        n, groups = SPATIAL[self.function], self.options["groups"]
        y = y if self.batched else y.unsqueeze(1)
        y = y.unflatten(2, [groups, -1])  # (K, B, groups, out, ...)
        x = self._image().unflatten(1, [groups, -1])  # (B, groups, in, ...)
        behind = list(range(5, 5 + n))
        rest = [d - 1 for d in behind]
        if self._transposed:
            image = y.permute([0, 3, 2, 1, *rest]).flatten(2, 3).flatten(0, 1)
            kernel = x.permute([1, 2, 0, *(d - 1 for d in rest)]).flatten(0, 1)
            found = self._correlated(image, kernel, w).unflatten(0, [k.K, -1])
            return found.transpose(1, 2)
        image = self._padded(x.permute([2, 1, 0, *(d - 1 for d in rest)]).flatten(1, 2), w)
        kernel = y.permute([2, 0, 3, 1, *rest]).flatten(0, 2)
        found = self._correlated(image, kernel, w).unflatten(1, [groups, k.K, -1])
        return found.permute([2, 1, 3, 0, *rest]).flatten(1, 2)

    def _padded(self, x, w: ShapeRef):
        """padding="same" pads the odd place behind."""
        if self.options["padding"] != "same":
            return x
        n = SPATIAL[self.function]
        total = [d * (w.size(2 + i) - 1) for i, d in enumerate(per_axis(self.options["dilation"], n))]
        return F.pad(x, [p for t in reversed(total) for p in (t // 2, t - t // 2)])

    def _correlated(self, image, kernel, w: ShapeRef):
        """Sums of products at all shifts by the places of w; stride and dilation change places."""
        n, o = SPATIAL[self.function], self.options
        stride, dilation = per_axis(o["stride"], n), per_axis(o["dilation"], n)
        padding = [0] * n if isinstance(o["padding"], str) else per_axis(o["padding"], n)
        y = FORWARD[n](image, kernel, None, dilation, padding, stride, o["groups"])
        for i in range(n):
            y = y.narrow(2 + i, 0, w.size(2 + i))
        return y
