"""Fractional max pooling: freeze which entry of every window won.

The windows are drawn once, for both branches.
"""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Select
from .declare import Sample, composite, select
from .max_pool import FORMULA, first, side_by_side

_SHAPES = {2: (2, 3, 9, 8), 3: (2, 3, 7, 6, 5)}


def _module_arguments(m):
    names = ("kernel_size", "output_size", "output_ratio", "return_indices", "_random_samples")
    return {name: getattr(m, name) for name in names}


def _values_of(indexed):
    def values(
        x, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None
    ):
        both = indexed(x, kernel_size, output_size, output_ratio, False, _random_samples)
        return both if return_indices else both[0]

    return values


def _rules(n, function, indexed, module):
    def freeze(
        x,
        kernel_size,
        output_size=None,
        output_ratio=None,
        return_indices=False,
        _random_samples=None,
        *,
        call,
        y,
    ):
        return Select(y[1], n, call.rank("x"), channels_last=side_by_side(call, n))

    cases = ({"kernel_size": 2, "output_size": (3,) * n}, {"kernel_size": 2, "output_ratio": (0.5,) * n})
    drawn = {"_random_samples": _between((2, 3, n))}
    fixed = Sample(_SHAPES[n], cases[0], tensors=drawn, modules=(), independent_batch=False)
    yield select(
        f"fractional_max_pool{n}d",
        indexed,
        freeze,
        yields="values",
        input_rank=n + 2,
        samples=(Sample(_SHAPES[n], cases[0], tensors=drawn, call=first, independent_batch=False),),
        **FORMULA,
    )
    yield composite(
        f"fractional_max_pool{n}d_values",
        function,
        _values_of(indexed),
        rounding="",
        modules={module: _module_arguments},
        input_rank=n + 2,
        samples=(fixed, *(Sample(_SHAPES[n], k, independent_batch=False, draws=True) for k in cases)),
        **FORMULA,
    )


def _between(shape):
    """Numbers in (0, 1)."""
    return lambda rng: torch.rand(shape, generator=rng, dtype=torch.float64)


INDEXED_2, VALUES_2 = _rules(
    2, F.fractional_max_pool2d, F.fractional_max_pool2d_with_indices, nn.FractionalMaxPool2d
)
INDEXED_3, VALUES_3 = _rules(
    3, F.fractional_max_pool3d, F.fractional_max_pool3d_with_indices, nn.FractionalMaxPool3d
)
