"""Whether a graph and a model are one function, where both round: both are run in float64.

In float16, bfloat16 and float32 two spellings of one operator differ by rounding, which a network amplifies.
A write that is lost may be as small. In float64 rounding is far below what a lost write changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from .outputs import tensors_of

RELATIVE, ABSOLUTE = 1e-6, 1e-7  # of each float64 result, and of the largest one
FACTOR = 4.0  # the errors of two ways to round are closer together
# the dtypes with fewer digits, and what takes their place
NARROW = {
    torch.float16: torch.float64,
    torch.bfloat16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}


class InDouble(TorchDispatchMode):
    """Runs every operator in float64: floating arguments are widened, and casts to fewer digits are none.

    made    also tensors that are made from numbers alone have float64 for a narrower dtype
    """

    supports_higher_order_operators = True

    def __init__(self, made: bool = False):
        super().__init__()
        self.made = made

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        schema = getattr(func, "_schema", None)
        if schema is None:
            return func(*args, **kwargs)
        written = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
        names = [a.name for a in schema.arguments]
        args = tuple(v if n in written else wide(v) for n, v in zip(names, args))
        kwargs = {n: v if n in written else wide(v) for n, v in kwargs.items()}
        casts = self.made or any(isinstance(v, torch.Tensor) for v in pytree.tree_leaves((args, kwargs)))
        if casts and func is not torch.ops.aten.view.dtype:
            args, kwargs = pytree.tree_map(_wide_dtype, (args, kwargs))
        return func(*args, **kwargs)


def wide(value: Any) -> Any:
    """The value with its floating tensors in float64."""

    def widened(v: Any) -> Any:
        return v.to(NARROW[v.dtype]) if isinstance(v, torch.Tensor) and v.dtype in NARROW else v

    return pytree.tree_map(widened, value)


def _wide_dtype(value: Any) -> Any:
    return NARROW.get(value, value) if isinstance(value, torch.dtype) else value


def same_in_double(graph: Callable[[], Any], model: Callable[[], Any]) -> bool:
    """Whether two computations have the same results in float64.

    Raises what they raise, where they cannot be run so.
    """
    for made in (False, True):  # a graph may hold a constant that the model makes in the dtype of a value
        with InDouble(made):
            pairs = list(zip(tensors_of(graph()), tensors_of(model()), strict=True))
        if all(close(a, b, RELATIVE, ABSOLUTE) for a, b in pairs):
            return True
    return False


def apart_by_rounding(got: Any, expected: Any, graph: Callable[[], Any]) -> bool:
    """Whether a graph's results and a model's are no further apart than the graph's own are from exact ones.

    got, expected   the results of the graph and of the model
    graph           computes those of the graph, here in float64
    """
    with InDouble(made=True):
        exact = tensors_of(graph())
    for a, b, c in zip(tensors_of(got), tensors_of(expected), exact, strict=True):
        a, b, c = wide(a), wide(b), wide(c)
        if (a != b).any() and not (b - c).norm() <= FACTOR * (a - c).norm():
            return False
    return True


def close(a: torch.Tensor, b: torch.Tensor, relative: float, absolute: float) -> bool:
    """Whether two tensors agree within ``relative`` of each entry and ``absolute`` of the largest."""
    if a.shape != b.shape:
        return False
    if not (b.is_floating_point() or b.is_complex()):
        a, b = a.double(), b.double()  # booleans have no difference
    a, b = wide(a), wide(b)
    size = float(b.abs().nan_to_num().max()) if b.numel() else 0.0
    return a.dtype == b.dtype and torch.allclose(a, b, rtol=relative, atol=absolute * size, equal_nan=True)
