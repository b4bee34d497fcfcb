"""Dropout and stochastic depth: nothing in eval; in train mode one draw, shared by both branches.

In train mode the unit is x times the unit applied to ones, so that the draw is a value of the graph: a frozen factor.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Identity
from .declare import Sample, linear


def _is_draw(x):
    """Whether the call is already the one on ones."""
    return x.node.op == "call_function" and x.node.target is torch.ones_like


def _dropout(name, function, modules, shape=(2, 3, 6, 7)):
    def twin(x, p=0.5, training=True):
        return Identity()

    def expand(x, p=0.5, training=True):
        if not training or p == 0:
            return x
        return None if _is_draw(x) else x * function(torch.ones_like(x), p, True)

    return linear(
        name, function, twin, modules=modules, expand=expand, samples=(Sample(shape, {"training": False}, {}),),
        formula="eval: y1 = x1;  train: y1 = m0 x1, m0 the draw of x0", source="the paper, eq. 2",
    )


DROPOUT = _dropout("dropout", F.dropout, (nn.Dropout,))
DROPOUT1D = _dropout("dropout1d", F.dropout1d, (nn.Dropout1d,), (2, 3, 7))
DROPOUT2D = _dropout("dropout2d", F.dropout2d, (nn.Dropout2d,))
DROPOUT3D = _dropout("dropout3d", F.dropout3d, (nn.Dropout3d,), (2, 3, 4, 5, 6))


def depth(input, p, mode, training=True):
    return Identity()


def expand_depth(input, p, mode, training=True):
    """Survival of rows, or of the whole batch, divided by the survival rate: torchvision's definition."""
    if not training or p == 0:
        return input
    flat = input.flatten(1)
    ones = torch.ones_like(flat)
    noise = torch.bernoulli(ones.narrow(1, 0, 1) if mode == "row" else ones.flatten().narrow(0, 0, 1), 1.0 - p)
    noise = noise / (1.0 - p) if p < 1 else noise
    return (flat * noise).view_as(input)


STOCHASTIC_DEPTH = linear(
    "stochastic_depth", "stochastic_depth", depth, functions=("torchvision.ops.stochastic_depth.stochastic_depth",), expand=expand_depth,
    formula="eval: y1 = x1;  train: y1 = m0 x1, m0 the draw of x0", source="the paper, eq. 2",
)
