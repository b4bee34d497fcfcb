"""Adaptive max pooling: freeze which entry of every window won."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Select
from . import _reduced
from .declare import Sample, select
from .max_pool import FORMULA, SHAPES, first, side_by_side


def _rules(n, function, indexed, module, overload):
    def freeze(x, output_size, return_indices=False, *, call):
        both = indexed(x, output_size)
        call.is_item(both, 0)
        return Select(both[1], n, call.rank("x"), channels_last=side_by_side(call, n))

    def expand(x, output_size, return_indices=False):
        return indexed(x, output_size) if return_indices else None

    def freeze_both(x, output_size, return_indices=False, *, call, y):
        return Select(y[1], n, call.rank("x"), channels_last=side_by_side(call, n))

    cases = ({"output_size": 1}, {"output_size": (3,) * n if n > 1 else 3})
    both = Sample(SHAPES[n], {"output_size": 2, "return_indices": True}, call=first, modules=())
    yield select(
        f"adaptive_max_pool{n}d",
        function,
        freeze,
        expand=expand,
        modules=(module,),
        input_rank=n + 2,
        reduced=_reduced.pooled_to(n),
        samples=(*(Sample(SHAPES[n], k) for k in cases), both),
        **FORMULA,
    )
    yield select(
        f"adaptive_max_pool{n}d_with_indices",
        indexed,
        freeze_both,
        functions=(overload,),
        yields="values",
        input_rank=n + 2,
        reduced=_reduced.pooled_to(n),
        samples=tuple(Sample(SHAPES[n], k, call=first) for k in cases),
        **FORMULA,
    )


_ATEN = torch.ops.aten
VALUES_1, INDEXED_1 = _rules(
    1,
    F.adaptive_max_pool1d,
    F.adaptive_max_pool1d_with_indices,
    nn.AdaptiveMaxPool1d,
    _ATEN.adaptive_max_pool1d.default,
)
VALUES_2, INDEXED_2 = _rules(
    2,
    F.adaptive_max_pool2d,
    F.adaptive_max_pool2d_with_indices,
    nn.AdaptiveMaxPool2d,
    _ATEN.adaptive_max_pool2d.default,
)
VALUES_3, INDEXED_3 = _rules(
    3,
    F.adaptive_max_pool3d,
    F.adaptive_max_pool3d_with_indices,
    nn.AdaptiveMaxPool3d,
    _ATEN.adaptive_max_pool3d.default,
)
