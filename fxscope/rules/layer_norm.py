"""Layer normalisation: freeze mean and deviation over the last dimensions, or the deviation alone."""

import torch
import torch.nn.functional as F
from torch import nn

from ._local import before_shape
from ._norms import centred, frozen, tangent
from ._sizes import last_dims_of
from .declare import Sample, composite, normalize


def _dims(call):
    return last_dims_of(call.arguments["normalized_shape"], call.facts, "layer_norm")


def stats(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, call):
    return frozen(x, _dims(call), weight, bias, eps)


def scale(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, call):
    return centred(x, _dims(call), weight, bias, eps)


def taylor(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, y, call):
    return tangent(x, y, _dims(call), weight, eps)


RULE = normalize(
    "layer_norm",
    F.layer_norm,
    stats,
    scale,
    taylor,
    local=before_shape,
    modules=(nn.LayerNorm,),
    samples=(
        Sample(
            (2, 5, 7), {"normalized_shape": (7,)}, {"normalized_shape": 7}, {"weight": (7,), "bias": (7,)}
        ),
        Sample(
            (2, 3, 4, 5),
            {"normalized_shape": (4, 5)},
            {"normalized_shape": (4, 5), "elementwise_affine": False},
        ),
        Sample(
            (2, 5, 7),
            {"normalized_shape": (7,), "eps": 0.1},
            {"normalized_shape": 7, "bias": False, "eps": 0.1},
            {"weight": (7,)},
        ),
    ),
    formula=(
        "h(x) = g (x - mu(x))/sigma(x) + b;  stats: g (x1 - mu0)/sigma0 + b;  scale: g (x1 -"
        " mu(x1))/sigma0 + b"
    ),
    source="the paper, Fig. 2",
)


def without_flag(x, normalized_shape, weight=None, bias=None, eps=1e-5, cudnn_enable=True):
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


ATEN = composite(
    "layer_norm_aten",
    torch.ops.aten.layer_norm.default,
    without_flag,
    "",
    samples=(Sample((2, 5, 7), {"normalized_shape": (7,)}, tensors={"weight": (7,), "bias": (7,)}),),
    formula="layer_norm",
    source="the paper, Fig. 2",
)
