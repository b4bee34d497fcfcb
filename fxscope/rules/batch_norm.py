"""Batch normalisation: linear with the running statistics; in train mode the statistics of x0's batch are frozen."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import BatchNorm, Normalize
from .declare import Sample, normalize


def _statistics(call, x, training):
    """Mean and biased variance of x0's batch over everything but the channels, and the shape of one value a channel."""
    rank = call.need_rank("x")
    dims = [d for d in range(rank) if d != 1]
    shape = [1, -1] + [1] * (rank - 2)
    return x.mean(dims), x.var(dims, unbiased=False), shape


def stats(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, call):
    if not training:
        return BatchNorm(running_mean, running_var, weight, bias, eps)
    mean, var, shape = _statistics(call, x, training)
    return Normalize(**_affine(mean, var, weight, bias, eps, shape))


def _affine(mean, var, weight, bias, eps, shape):
    factor = torch.rsqrt(var + eps)
    factor = factor if weight is None else factor * weight
    offset = -mean * factor
    offset = offset if bias is None else offset + bias
    return {"factor": factor.reshape(shape), "offset": offset.reshape(shape)}


RULE = normalize(
    "batch_norm", F.batch_norm, stats, None, None,
    functions=(), modules={cls: lambda m: module_arguments(m) for cls in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)},
    samples=(
        Sample(tensors={"running_mean": (3,), "running_var": (3,), "weight": (3,), "bias": (3,)}),
        Sample(kwargs={"training": True}, tensors={"running_mean": (3,), "running_var": (3,), "weight": (3,), "bias": (3,)}),
        Sample((4, 3), tensors={"running_mean": (3,), "running_var": (3,)}),
    ),
    formula="h(x) = g (x - mu)/sqrt(v + eps) + b with running mu, v;  train: mu0, v0 of x0's batch",
    source="the paper, 8.A; Fig. 2 for frozen statistics",
)


def module_arguments(module):
    """What nn.BatchNorm's forward passes on: batch statistics in train mode or where none are kept."""
    use_batch = module.training or (module.running_mean is None and module.running_var is None)
    keep = not module.training or module.track_running_stats
    if module.training and module.track_running_stats and module.momentum is None:
        raise ValueError("BatchNorm with momentum=None in train mode averages by a counter that a graph cannot hold; set a momentum, or .eval()")
    return {
        "running_mean": module.running_mean if keep else None, "running_var": module.running_var if keep else None,
        "weight": module.weight, "bias": module.bias, "training": use_batch, "momentum": 0.0 if module.momentum is None else module.momentum, "eps": module.eps,
    }
