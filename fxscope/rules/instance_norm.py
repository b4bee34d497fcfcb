"""Instance normalisation: freeze mean and deviation of every plane (Fig. 2), or the deviation alone."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Normalize
from ._norms import centred, frozen, tangent
from .declare import Sample, composite, normalize


def _plane(call, weight, bias):
    rank = call.need_rank("x")
    shape = [1, -1] + [1] * (rank - 2)
    return list(range(2, rank)), _shaped(weight, shape), _shaped(bias, shape)


def _shaped(value, shape):
    return None if value is None else value.reshape(shape)


def _linear(running_mean, use_input_stats):
    return not use_input_stats and running_mean is not None


def stats(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
    *,
    call,
):
    dims, g, b = _plane(call, weight, bias)
    if _linear(running_mean, use_input_stats):
        return _running(running_mean, running_var, g, b, eps, call)
    return frozen(x, dims, g, b, eps)


def scale(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
    *,
    call,
):
    dims, g, b = _plane(call, weight, bias)
    if _linear(running_mean, use_input_stats):
        return _running(running_mean, running_var, g, b, eps, call)
    return centred(x, dims, g, b, eps)


def taylor(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    use_input_stats=True,
    momentum=0.1,
    eps=1e-5,
    *,
    call,
    y,
):
    dims, g, b = _plane(call, weight, bias)
    if _linear(running_mean, use_input_stats):
        return _running(running_mean, running_var, g, b, eps, call)
    return tangent(x, y, dims, g, eps)


def _running(mean, var, g, b, eps, call):
    shape = [1, -1] + [1] * (call.need_rank("x") - 2)
    factor = torch.rsqrt(var + eps).reshape(shape)
    factor = factor if g is None else factor * g
    offset = -mean.reshape(shape) * factor
    return Normalize(factor, offset if b is None else offset + b)


def _arguments(module):
    keep = not module.training or module.track_running_stats
    return {
        "running_mean": module.running_mean if keep else None,
        "running_var": module.running_var if keep else None,
        "weight": module.weight,
        "bias": module.bias,
        "use_input_stats": module.training or not module.track_running_stats,
        "momentum": 0.0 if module.momentum is None else module.momentum,
        "eps": module.eps,
    }


_MODULE = {"num_features": 3}
_AFFINE = {"weight": (3,), "bias": (3,)}
_KEPT = {"running_mean": (3,), "running_var": (3,)}


def _samples():
    yield Sample(module=_MODULE, modules=(nn.InstanceNorm2d,))
    yield Sample(module=_MODULE | {"affine": True}, tensors=_AFFINE, modules=(nn.InstanceNorm2d,))
    yield Sample((2, 3, 9), module=_MODULE | {"affine": True}, tensors=_AFFINE, modules=(nn.InstanceNorm1d,))
    yield Sample((2, 3, 4, 3, 5), module=_MODULE, modules=(nn.InstanceNorm3d,))
    yield Sample(
        kwargs={"use_input_stats": False},
        module=_MODULE | {"affine": True, "track_running_stats": True},
        tensors=_KEPT | _AFFINE,
        modules=(nn.InstanceNorm2d,),
    )


RULE = normalize(
    "instance_norm",
    F.instance_norm,
    stats,
    scale,
    taylor,
    modules=dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _arguments),
    samples=tuple(_samples()),
    formula=(
        "h(x) = g (x - mu(x))/sigma(x) + b;  stats: g (x1 - mu0)/sigma0 + b;  scale: g (x1 -"
        " mu(x1))/sigma0 + b"
    ),
    source="the paper, Fig. 2",
)


def reordered(x, weight, bias, running_mean, running_var, use_input_stats, momentum, eps, cudnn_enabled=True):
    return F.instance_norm(x, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


ATEN = composite(
    "instance_norm_aten",
    torch.ops.aten.instance_norm.default,
    reordered,
    "",
    samples=(
        Sample(
            tensors=_AFFINE,
            call=lambda f, x, weight, bias: f(x, weight, bias, None, None, True, 0.1, 1e-5, True),
        ),
    ),
    formula="instance_norm",
    source="the paper, Fig. 2",
)
