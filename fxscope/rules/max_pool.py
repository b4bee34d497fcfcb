"""Max pooling: freeze which entry of every window won."""

import torch
import torch.nn.functional as F
from torch import nn

from ..twins import Select, Window
from . import _reduced
from ._local import pooling
from .declare import Sample, select

SHAPES = {1: (2, 3, 11), 2: (2, 3, 11, 8), 3: (2, 3, 7, 6, 5)}
FORMULA = {
    "interval": lambda bound, a: bound(a["x"]),
    "formula": "h(x) = max over a window;  y1 = x1 at the index that won",
    "source": "the paper, Fig. 2",
}


def first(function, x, **given):
    """The values of an operator that gives values and indices."""
    return function(x, **given)[0]


def window(n, kernel_size, stride, padding, dilation):
    """The windows of a call whose arguments are plain numbers."""
    each = [
        tuple(v) if isinstance(v, (list, tuple)) else (v,) * n
        for v in (kernel_size, kernel_size if stride in (None, [], ()) else stride, padding, dilation)
    ]
    each = [v * n if len(v) == 1 else v for v in each]
    return Window(*each) if all(isinstance(i, int) for v in each for i in v) else None


def side_by_side(call, n):
    """Whether channels lie closest in memory."""
    return call.channels_last and n > 1


def _at(index, n, call, *geometry):
    """The twin that gathers at the indices of a call with this kernel size, stride, padding and dilation."""
    return Select(index, n, call.rank("x"), window(n, *geometry), side_by_side(call, n))


_CASES = (
    {"kernel_size": 2},
    {"kernel_size": 3, "stride": 2, "padding": 1},
    {"kernel_size": 3, "stride": 2, "ceil_mode": True},
    {"kernel_size": 2, "stride": 1, "dilation": 2},
)


def _both_of(indexed):
    def expand(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
        return indexed(x, kernel_size, stride, padding, dilation, ceil_mode) if return_indices else None

    return expand


def _rules(n, function, indexed, module, overloads, pairs=()):
    def freeze(
        x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, call
    ):
        both = indexed(x, kernel_size, stride, padding, dilation, ceil_mode)
        call.is_item(both, 0)
        return _at(both[1], n, call, kernel_size, stride, padding, dilation)

    def freeze_both(
        x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, call, y
    ):
        return _at(y[1], n, call, kernel_size, stride, padding, dilation)

    both = Sample(SHAPES[n], {"kernel_size": 2, "return_indices": True}, call=first, modules=())
    yield select(
        f"max_pool{n}d",
        function,
        freeze,
        local=pooling(n),
        expand=_both_of(indexed),
        functions=overloads,
        modules=(module,),
        input_rank=n + 2,
        reduced=_reduced.kept,
        samples=(*(Sample(SHAPES[n], k) for k in _CASES), both),
        **FORMULA,
    )
    yield select(
        f"max_pool{n}d_with_indices",
        indexed,
        freeze_both,
        local=pooling(n),
        functions=pairs,
        yields="values",
        input_rank=n + 2,
        reduced=_reduced.kept,
        samples=tuple(Sample(SHAPES[n], k, call=first) for k in _CASES),
        **FORMULA,
    )


_ATEN = torch.ops.aten
VALUES_1, INDEXED_1 = _rules(
    1, F.max_pool1d, F.max_pool1d_with_indices, nn.MaxPool1d, (torch.max_pool1d, _ATEN.max_pool1d.default)
)
VALUES_2, INDEXED_2 = _rules(
    2,
    F.max_pool2d,
    F.max_pool2d_with_indices,
    nn.MaxPool2d,
    (torch.max_pool2d, _ATEN.max_pool2d.default),
    (_ATEN.max_pool2d_with_indices.default,),
)
VALUES_3, INDEXED_3 = _rules(
    3,
    F.max_pool3d,
    F.max_pool3d_with_indices,
    nn.MaxPool3d,
    (torch.max_pool3d, _ATEN.max_pool3d.default),
    (_ATEN.max_pool3d_with_indices.default,),
)
