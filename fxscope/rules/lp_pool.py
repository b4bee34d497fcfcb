"""Power-average pooling, expanded into powers and average pooling; p = 1 and 2 and other norms by the rules of its parts."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Identity
from .declare import Sample, linear

_SHAPES = {1: (2, 3, 11), 2: (2, 3, 11, 8), 3: (2, 3, 7, 6, 5)}


def unit(x, norm_type, kernel_size, stride=None, ceil_mode=False):
    return Identity()


def _rule(n, function, average, module):
    def expand(x, norm_type, kernel_size, stride=None, ceil_mode=False):
        kernel = kernel_size if isinstance(kernel_size, (list, tuple)) else (kernel_size,) * n
        count = 1
        for k in kernel:
            count *= k
        pooled = average(torch.pow(x, norm_type), kernel_size, kernel_size if stride is None else stride, 0, ceil_mode)
        return torch.pow(torch.sign(pooled) * F.relu(torch.abs(pooled)) * count, 1.0 / norm_type)

    return linear(f"lp_pool{n}d", function, unit, modules=(module,), expand=expand, piecewise=False, input_rank=n + 2, samples=(Sample(_SHAPES[n], {"norm_type": 2, "kernel_size": 2}, positive=True),), formula="h(x) = (sum x^p)^(1/p): x^p, average, root", source="the paper, eq. 2 and 4")


LP_1, LP_2, LP_3 = _rule(1, F.lp_pool1d, F.avg_pool1d, nn.LPPool1d), _rule(2, F.lp_pool2d, F.avg_pool2d, nn.LPPool2d), _rule(3, F.lp_pool3d, F.avg_pool3d, nn.LPPool3d)
