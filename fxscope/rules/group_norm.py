"""Group normalisation: freeze mean and standard deviation of every group, or the deviation alone."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Dims, Gate, Normalize, Offset, Reshape
from ._norms import centred, frozen, tangent
from .declare import Sample, composite, normalize


def _grouped(x, num_groups):
    """(B, C, ...) as (B, groups, everything else)."""
    return x.unflatten(1, [num_groups, -1]).flatten(2)


def _parts(x, num_groups, weight, bias, call):
    shape = [1, -1] + [1] * (call.need_rank("x") - 2)
    return (
        _grouped(x, num_groups),
        None if weight is None else weight.reshape(shape),
        None if bias is None else bias.reshape(shape),
    )


def _around(call, x, num_groups, twin, weight, bias):
    """The twin of the plain normalisation between grouping and ungrouping the probes.

    The scale and shift of the channels are applied after it.
    """
    grouped = call.record(
        Dims(_group_probes, (num_groups,), _ungroup), [call.value("x")], like=_grouped(x, num_groups), rank=3
    )
    value = call.record(twin, [grouped])
    rank = call.need_rank("x")
    value = call.record(Reshape([x.size(d) for d in range(rank)]), [value], like=x)
    if weight is not None:
        value = call.record(Gate(weight), [value])
    if bias is not None:
        value = call.record(Offset(bias, grows=False), [value])
    return None, [value]


def _group_probes(x, num_groups):
    return x.unflatten(2, [num_groups, -1]).flatten(3)


def _ungroup(k, y, x, num_groups):
    return k.reshape(y, x)


def stats(x, num_groups, weight=None, bias=None, eps=1e-5, *, call):
    grouped, g, b = _parts(x, num_groups, weight, bias, call)
    plain = frozen(grouped, [2], None, None, eps)
    tail = [1] * (call.need_rank("x") - 2)
    each = x.size(1) // num_groups
    factor, offset = (
        v.repeat_interleave(each, 1).reshape([x.size(0), x.size(1), *tail])
        for v in (plain.factor, plain.offset)
    )
    factor, offset = (factor, offset) if g is None else (factor * g, offset * g)
    return Normalize(factor, offset if b is None else offset + b)


def scale(x, num_groups, weight=None, bias=None, eps=1e-5, *, call):
    grouped, g, b = _parts(x, num_groups, weight, bias, call)
    return _around(call, x, num_groups, centred(grouped, [2], None, None, eps), g, b)


def taylor(x, num_groups, weight=None, bias=None, eps=1e-5, *, call):
    grouped, g, b = _parts(x, num_groups, weight, bias, call)
    plain = F.layer_norm(grouped, [grouped.size(2)], None, None, eps)
    return _around(call, x, num_groups, tangent(grouped, plain, [2], None, eps), g, b)


RULE = normalize(
    "group_norm",
    F.group_norm,
    stats,
    scale,
    taylor,
    modules=(nn.GroupNorm,),
    samples=(
        Sample(
            (2, 6, 4, 5),
            {"num_groups": 3},
            {"num_groups": 3, "num_channels": 6},
            {"weight": (6,), "bias": (6,)},
        ),
        Sample((2, 6, 4), {"num_groups": 2}, {"num_groups": 2, "num_channels": 6, "affine": False}),
    ),
    formula=(
        "h(x) = g (x - mu(x))/sigma(x) + b by groups;  stats: g (x1 - mu0)/sigma0 + b;  scale: g (x1 -"
        " mu(x1))/sigma0 + b"
    ),
    source="the paper, Fig. 2",
)


def without_flag(x, num_groups, weight=None, bias=None, eps=1e-5, cudnn_enabled=True):
    return F.group_norm(x, num_groups, weight, bias, eps)


ATEN = composite(
    "group_norm_aten",
    torch.ops.aten.group_norm.default,
    without_flag,
    "",
    samples=(Sample((2, 6, 4, 5), {"num_groups": 3}, tensors={"weight": (6,), "bias": (6,)}),),
    formula="group_norm",
    source="the paper, Fig. 2",
)
