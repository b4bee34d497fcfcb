"""Local response normalisation: freeze the denominator, or take its derivative as well."""

import torch.nn.functional as F
from torch import nn

from ..twins import Add, Dims, Divide, Gate
from ._local import all_but_channels
from .declare import Sample, normalize


def _window(x, size, spatial):
    """Mean over ``size`` neighbouring channels, zeros beyond the first and the last."""
    channels = F.pad(x, [0, 0] * spatial + [size // 2, (size - 1) // 2])
    return channels.unfold(-spatial - 1, size, 1).mean(-1)


def _window_back(k, y, x, size, spatial):
    """The same mean with the longer side of the window in front."""
    channels = F.pad(y, [0, 0] * spatial + [(size - 1) // 2, size // 2])
    return channels.unfold(-spatial - 1, size, 1).mean(-1)


def _base(x, size, alpha, k, call):
    spatial = call.need_rank("x") - 2
    return _window(x * x, size, spatial) * alpha + k, spatial


def stats(x, size, alpha=1e-4, beta=0.75, k=1.0, *, call):
    base, _ = _base(x, size, alpha, k, call)
    return Divide(base**beta)


def taylor(x, size, alpha=1e-4, beta=0.75, k=1.0, *, call, y):
    """J v = v/D^b - 2 a b y0/D mean(x0 v), D = k + a mean(x0^2); c = y0 - J x0 = 2 b y0 (D - k)/D."""
    base, spatial = _base(x, size, alpha, k, call)
    plain = call.record(Divide(base**beta), [call.value("x")])
    inner = call.record(Gate(x), [call.value("x")])
    inner = call.record(Dims(_window, (size, spatial), _window_back, same=True), [inner])
    share = y / base * (2 * beta)
    change = call.record(Gate(share * -alpha, offset=share * (base - k)), [inner])
    return Add(1, (0, 0)), [plain, change]


RULE = normalize(
    "local_response_norm",
    F.local_response_norm,
    stats,
    None,
    taylor,
    local=all_but_channels,
    modules=(nn.LocalResponseNorm,),
    samples=(
        Sample((2, 7, 4, 5), {"size": 3, "alpha": 0.1}),
        Sample((2, 7, 4), {"size": 2, "alpha": 0.3, "beta": 0.5, "k": 2.0}),
    ),
    formula=(
        "h(x) = x/(k + a mean(x^2))^b over channels;  y1 = x1 over the frozen denominator;  taylor: x1/D^b -"
        " 2 a b y0/D mean(x0 x1) + c"
    ),
    source="the paper, Fig. 2 (statistics of x0)",
)
