"""Local response normalisation: freeze the denominator."""

import torch.nn.functional as F
from torch import nn

from ..twins import Divide
from .declare import Sample, normalize


def stats(x, size, alpha=1e-4, beta=0.75, k=1.0, *, call):
    spatial = call.need_rank("x") - 2
    window = [0, 0] * spatial + [size // 2, (size - 1) // 2]
    square = F.pad(x * x, window)
    total = square.unfold(1, size, 1).sum(-1) / size
    return Divide((total * alpha + k) ** beta)


RULE = normalize(
    "local_response_norm", F.local_response_norm, stats, None, None, modules=(nn.LocalResponseNorm,), samples=(Sample((2, 7, 4, 5), {"size": 3, "alpha": 0.1}),),
    formula="h(x) = x/(k + a mean(x^2))^b over channels;  y1 = x1 over the frozen denominator", source="the paper, Fig. 2 (statistics of x0)",
)
