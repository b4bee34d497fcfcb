"""Adaptive and fractional max pooling: freeze which entry of every window won."""

import torch.nn.functional as F
from torch import nn

from ..twins import Select
from .declare import Sample, select

_SHAPES = {1: (2, 3, 11), 2: (2, 3, 11, 8), 3: (2, 3, 7, 6, 5)}


def _rule(n, function, indexed, module):
    def freeze(x, output_size, return_indices=False, *, call):
        if return_indices:
            raise TypeError(f"adaptive_max_pool{n}d with return_indices")
        _, index = indexed(x, output_size)
        return Select(index, n, call.rank("x"))

    samples = (Sample(_SHAPES[n], {"output_size": 1}), Sample(_SHAPES[n], {"output_size": (3,) * n if n > 1 else 3}))
    return select(f"adaptive_max_pool{n}d", function, freeze, functions=(indexed,), modules=(module,), input_rank=n + 2, samples=samples, interval=lambda bound, a: bound(a["x"]), formula="h(x) = max over a window;  y1 = x1 at the index that won", source="the paper, Fig. 2")


ADAPTIVE_1, ADAPTIVE_2, ADAPTIVE_3 = (
    _rule(1, F.adaptive_max_pool1d, F.adaptive_max_pool1d_with_indices, nn.AdaptiveMaxPool1d),
    _rule(2, F.adaptive_max_pool2d, F.adaptive_max_pool2d_with_indices, nn.AdaptiveMaxPool2d),
    _rule(3, F.adaptive_max_pool3d, F.adaptive_max_pool3d_with_indices, nn.AdaptiveMaxPool3d),
)
