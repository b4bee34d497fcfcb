"""RReLU: in eval the mean slope; in train mode one draw of slopes, shared by both branches."""

import operator

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Slope
from .declare import Sample, mask


def freeze(x, lower=1 / 8, upper=1 / 3, training=False):
    return Slope(keep=~(x <= 0), slope=(lower + upper) / 2)


def expand(x, lower=1 / 8, upper=1 / 3, training=False):
    if not training or _is_draw(x):
        return None
    below = x <= 0
    # torch draws where x <= 0 alone, in order
    drawn = F.rrelu(torch.where(below, -torch.ones_like(x), torch.ones_like(x)), lower, upper, True)
    return torch.where(below, x * -drawn, x)


def _is_draw(x):
    """Whether the call is already the one on ones."""
    return x.node.target is torch.where and all(
        n.target in (torch.ones_like, operator.neg, operator.le) for n in x.node.args
    )


RULE = mask(
    "rrelu",
    F.rrelu,
    freeze,
    piecewise=True,
    expand=expand,
    functions=(torch.rrelu, torch.ops.aten.rrelu.default),
    modules=(nn.RReLU,),
    samples=(
        Sample(kwargs={"training": False}, module={}),
        Sample(kwargs={"lower": 0.1, "upper": 0.4}, module={"lower": 0.1, "upper": 0.4}),
    ),
    formula="h(x) = max(x, 0) + a min(x, 0), a the mean slope;  train: a drawn once",
    source="the paper, eq. 2",
)
