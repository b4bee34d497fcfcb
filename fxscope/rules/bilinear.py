"""Bilinear layers: a product of two inputs under constant weights.

The product decides which input is frozen.
"""

import torch
import torch.nn.functional as F
from torch import nn

from .declare import Sample, composite


def expand(input1, input2, weight, bias=None):
    """y_k = x1^T W_k x2 + b_k as one linear layer in x1 and one matrix product with x2."""
    outer = weight.transpose(1, 2).flatten(0, 1)
    rows = F.linear(input1, outer).unflatten(-1, [weight.size(0), weight.size(2)])
    y = torch.matmul(rows, input2.unsqueeze(-1)).flatten(-2)
    return y if bias is None else y + bias


RULE = composite(
    "bilinear",
    F.bilinear,
    expand,
    "summed in another order",
    functions=(torch.bilinear, torch.ops.aten.bilinear.default),
    modules=(nn.Bilinear,),
    carries=("input1", "input2"),
    samples=(
        Sample(
            (2, 5),
            {},
            {"in1_features": 5, "in2_features": 4, "out_features": 3},
            {"input2": (2, 4), "weight": (3, 5, 4), "bias": (3,)},
        ),
        Sample(
            (2, 6, 5),
            {},
            {"in1_features": 5, "in2_features": 4, "out_features": 3, "bias": False},
            {"input2": (2, 6, 4), "weight": (3, 5, 4)},
        ),
    ),
    formula="h(a, b) = a^T W b + c;  the variants of a matrix product",
    source="the paper, eq. 2",
)
