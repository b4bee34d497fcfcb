"""Fully connected layers; a weight that is computed from the probe is frozen (hypernetworks)."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Dense, Dims, MatmulLeft
from ..twins.norms import InnerProduct
from . import _reduced
from ._dynamic import dynamic, layered
from ._moves import dense
from .declare import Sample


def twin(x, weight, bias=None, *, call, y):
    if call.value("weight") is None and call.value("bias") is None:
        return Dense(weight, bias)

    def of_x(bias):
        return Dense(weight, bias), [call.value("x")]

    def of_weight():
        value = call.value("weight")
        if call.need_rank("weight") == 1:
            raise TypeError("a vector computed from the probe as weight; write it as a sum of products")
        if call.need_rank("x") == 1:
            return InnerProduct(x), [value]
        turned = Dims(torch.transpose, (-2, -1))
        value = call.record(turned, [value], like=weight.transpose(-2, -1), rank=call.rank("weight"))
        return MatmulLeft(x, call.need_rank("x") - 2), [value]

    rank = call.out_rank
    return layered(call, y, bias, of_x, of_weight, (), None if rank is None else rank - 1)


LINEAR = dynamic(
    "linear",
    F.linear,
    twin,
    local=dense,
    functions=(torch.ops.aten.linear.default,),
    reduced=_reduced.layer(-1),
    modules=(nn.Linear,),
    samples=(
        Sample(
            (2, 5), module={"in_features": 5, "out_features": 4}, tensors={"weight": (4, 5), "bias": (4,)}
        ),
        Sample(
            (2, 3, 5), module={"in_features": 5, "out_features": 4, "bias": False}, tensors={"weight": (4, 5)}
        ),
        Sample(
            (2, 3, 5),
            tensors={"weight": (4, 5)},
            call=lambda f, x, weight: f(x, weight * x.mean((0, 1)), x[0, :, 0].sum() * weight[:, 0]),
            independent_batch=False,
            modules=(),
        ),
        Sample(
            (4, 5),
            tensors={"image": (2, 3, 5)},
            call=lambda f, x, image: f(image, x),
            independent_batch=False,
            modules=(),
        ),
    ),
    formula="y1 = x1 W^T + b;  W computed from x: x1 W0^T + b1;  taylor: x1 W0^T + x0 W1^T - x0 W0^T + b1",
    source="the paper, eq. 7",
)
