"""Power-average pooling: homogeneous of degree one, so that its frozen weights are its gradient."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Gate, Resample
from . import _reduced
from .declare import Sample, mask
from .max_pool import SHAPES
from .resample import strides


def _count(kernel_size, n):
    return math.prod(kernel_size if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * n)


def _samples(shape):
    strided = {"norm_type": 3.0, "kernel_size": 3, "stride": 2, "ceil_mode": True}
    return (
        Sample(shape, {"norm_type": 2, "kernel_size": 2}),
        Sample(shape, strided, positive=True),
        Sample(shape, {"norm_type": 1, "kernel_size": 2}, positive=True),
        Sample(shape, {"norm_type": float("inf"), "kernel_size": 2}),
    )


def _rule(n, function, average, largest, module):
    def freeze(x, norm_type, kernel_size, stride=None, ceil_mode=False, *, call, y):
        """y1 = y0^(1-p) sum over a window of x0^(p-1) x1; 0 where y0 is 0, as torch's gradient."""
        inner = call.record(
            Gate(torch.ones_like(x) if norm_type == 1 else torch.pow(x, norm_type - 1)), [call.value("x")]
        )
        options = {
            "kernel_size": kernel_size,
            "stride": strides(stride, kernel_size),
            "padding": 0,
            "ceil_mode": ceil_mode,
        }
        pooled = call.record(Resample(average, options), [inner], like=y)
        none = y == 0
        outer = torch.where(
            none, torch.zeros_like(y), torch.pow(torch.where(none, torch.ones_like(y), y), 1 - norm_type)
        )
        return Gate(outer * _count(kernel_size, n)), [pooled]

    def expand(x, norm_type, kernel_size, stride=None, ceil_mode=False):
        """P = inf is max pooling of |x|, and p = -inf the smallest."""
        if norm_type not in (float("inf"), float("-inf")):
            return None
        sign = 1 if norm_type > 0 else -1
        return largest(torch.abs(x) * sign, kernel_size, stride, 0, 1, ceil_mode) * sign

    return mask(
        f"lp_pool{n}d",
        function,
        freeze,
        taylor=freeze,
        expand=expand,
        modules=(module,),
        input_rank=n + 2,
        reduced=_reduced.kept,
        samples=_samples(SHAPES[n]),
        formula="h(x) = (sum x^p)^(1/p) over a window;  y1 = h0^(1-p) sum x0^(p-1) x1",
        source="the paper, eq. 2 with c = 0",
    )


LP_1 = _rule(1, F.lp_pool1d, F.avg_pool1d, F.max_pool1d, nn.LPPool1d)
LP_2 = _rule(2, F.lp_pool2d, F.avg_pool2d, F.max_pool2d, nn.LPPool2d)
LP_3 = _rule(3, F.lp_pool3d, F.avg_pool3d, F.max_pool3d, nn.LPPool3d)
