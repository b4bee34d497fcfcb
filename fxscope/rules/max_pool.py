"""Max pooling: freeze which entry of every window won."""

import torch.nn.functional as F
from torch import nn

from ..twins import Select
from .declare import Sample, select

_SHAPES = {1: (2, 3, 11), 2: (2, 3, 11, 8), 3: (2, 3, 7, 6, 5)}


def _rule(n, function, indexed, module):
    def freeze(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, call):
        if return_indices:
            raise TypeError(f"max_pool{n}d with return_indices")
        stride = kernel_size if stride is None else stride
        _, index = indexed(x, kernel_size, stride, padding, dilation, ceil_mode)
        return Select(index, n, call.rank("x"))

    freeze.__name__ = f"max_pool{n}d"
    samples = (
        Sample(_SHAPES[n], {"kernel_size": 2}), Sample(_SHAPES[n], {"kernel_size": 3, "stride": 2, "padding": 1}),
        Sample(_SHAPES[n], {"kernel_size": 3, "stride": 2, "ceil_mode": True}), Sample(_SHAPES[n], {"kernel_size": 2, "stride": 1, "dilation": 2}),
    )
    return select(
        f"max_pool{n}d", function, freeze, functions=(indexed,), modules=(module,), input_rank=n + 2, samples=samples,
        interval=lambda bound, a: bound(a["x"]), formula="h(x) = max over a window;  y1 = x1 at the index that won", source="the paper, Fig. 2",
    )


RULES_1, RULES_2, RULES_3 = (
    _rule(1, F.max_pool1d, F.max_pool1d_with_indices, nn.MaxPool1d),
    _rule(2, F.max_pool2d, F.max_pool2d_with_indices, nn.MaxPool2d),
    _rule(3, F.max_pool3d, F.max_pool3d_with_indices, nn.MaxPool3d),
)
