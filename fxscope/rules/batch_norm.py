"""Batch normalisation: linear with the running statistics.

In train mode the statistics of x0's batch are frozen.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import BatchNorm
from ._local import pointwise
from ._norms import centred, frozen, tangent
from .declare import Sample, composite, normalize


def _affine(x, weight, bias, call):
    """Dimensions of the statistics of a batch, and scale and shift as one value a channel."""
    rank = call.need_rank("x")
    shape = [1, -1] + [1] * (rank - 2)
    return [d for d in range(rank) if d != 1], *(
        None if v is None else v.reshape(shape) for v in (weight, bias)
    )


def stats(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, call
):
    if not training:
        return BatchNorm(running_mean, running_var, weight, bias, eps)
    dims, g, b = _affine(x, weight, bias, call)
    return frozen(x, dims, g, b, eps)


def scale(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, call
):
    if not training:
        return BatchNorm(running_mean, running_var, weight, bias, eps)
    dims, g, b = _affine(x, weight, bias, call)
    return centred(x, dims, g, b, eps)


def taylor(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, call, y
):
    if not training:
        return BatchNorm(running_mean, running_var, weight, bias, eps)
    dims, g, _ = _affine(x, weight, bias, call)
    return tangent(x, y, dims, g, eps)


def module_arguments(module):
    """What nn.BatchNorm's forward passes on: batch statistics in train mode or where none are kept."""
    use_batch = module.training or (module.running_mean is None and module.running_var is None)
    keep = not module.training or module.track_running_stats
    if module.training and module.track_running_stats and module.momentum is None:
        raise ValueError(
            "BatchNorm with momentum=None in train mode divides by a counter, which no exporter takes as a"
            " momentum; set a momentum, or .eval()"
        )
    return {
        "running_mean": module.running_mean if keep else None,
        "running_var": module.running_var if keep else None,
        "weight": module.weight,
        "bias": module.bias,
        "training": use_batch,
        "momentum": 0.0 if module.momentum is None else module.momentum,
        "eps": module.eps,
    }


def synchronized_arguments(module):
    """Refuse statistics over several processes: they cannot be a value of one graph.

    Without them it is batch normalisation.
    """
    distributed = (
        torch.distributed.is_available()
        and torch.distributed.is_initialized()
        and torch.distributed.get_world_size() > 1
    )
    if module.training and distributed:
        raise ValueError("SyncBatchNorm in train mode takes its statistics from every process; call .eval()")
    return module_arguments(module)


def _local(site, operand):
    return {} if site.arguments["training"] else pointwise(site, operand)


_KEPT = {"running_mean": (3,), "running_var": (3,)}
_AFFINE = {"weight": (3,), "bias": (3,)}
_MODULE = {"num_features": 3}
_KINDS = {
    (2, 3, 6, 7): (nn.BatchNorm2d, nn.SyncBatchNorm),
    (4, 3): (nn.BatchNorm1d, nn.SyncBatchNorm),
    (2, 3, 7): (nn.BatchNorm1d,),
    (2, 3, 4, 3, 5): (nn.BatchNorm3d,),
}


def _samples():
    for shape, kinds in _KINDS.items():
        yield Sample(shape, module=_MODULE, tensors=_KEPT | _AFFINE, modules=kinds)
    yield Sample(
        (4, 3), module={"num_features": 3, "affine": False}, tensors=_KEPT, modules=(nn.BatchNorm1d,)
    )
    yield Sample(
        kwargs={"training": True},
        module={"num_features": 3, "track_running_stats": False},
        tensors=_AFFINE | _KEPT,
        modules=(nn.BatchNorm2d,),
        independent_batch=False,
    )
    yield Sample((4, 3), kwargs={"training": True}, tensors=_KEPT, modules=(), independent_batch=False)


RULE = normalize(
    "batch_norm",
    F.batch_norm,
    stats,
    scale,
    taylor,
    local=_local,
    modules={
        nn.SyncBatchNorm: synchronized_arguments,
        **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), module_arguments),
    },
    samples=tuple(_samples()),
    formula="h(x) = g (x - mu)/sqrt(v + eps) + b with running mu, v;  train: mu0, v0 of x0's batch",
    source="the paper, 8.A; Fig. 2 for frozen statistics",
)


def reordered(x, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True):
    return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)


ATEN = composite(
    "batch_norm_aten",
    torch.ops.aten.batch_norm.default,
    reordered,
    "",
    samples=(
        Sample(
            tensors=_KEPT | _AFFINE,
            call=lambda f, x, running_mean, running_var, weight, bias: f(
                x, weight, bias, running_mean, running_var, False, 0.1, 1e-5, True
            ),
        ),
    ),
    formula="batch_norm",
    source="the paper, 8.A",
)


def with_running(x, weight, bias, running_mean, running_var, momentum, eps):
    return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps), None, None


RUNNING = composite(
    "batch_norm_running",
    torch.ops.aten._native_batch_norm_legit_no_training.default,
    with_running,
    "",
    yields="tensors",
    samples=(
        Sample(
            tensors=_KEPT | _AFFINE,
            call=lambda f, x, running_mean, running_var, weight, bias: f(
                x, weight, bias, running_mean, running_var, 0.1, 1e-5
            )[0],
        ),
    ),
    formula="batch_norm",
    source="the paper, 8.A",
)
