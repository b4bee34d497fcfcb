"""Products, sums, multiples and restrictions of operators."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from ..errors import FxscopeError, ShapeError
from ..graph.arguments import shown
from .scale import multiplied

if TYPE_CHECKING:
    from .linear import Operator

_COMPLEX = (torch.complex32, torch.complex64, torch.complex128, np.dtype("complex64"), np.dtype("complex128"))


def product(second: Operator, first: Operator) -> Operator:
    """The operator ``second @ first``."""
    if first.outputs.shapes != second.inputs.shapes:
        raise ShapeError(
            f"cannot multiply: the first gives {first.outputs.shapes}, the second takes"
            f" {second.inputs.shapes}"
        )
    return second._like(
        lambda v: second._forward(first._forward(v)),
        lambda u: first._adjoint(second._adjoint(u)),
        inputs=first.inputs,
        chunk=min(second.chunk, first.chunk),
        factor=second.factor * first.factor,
        name=f"{_apart(second.name)} {_apart(first.name)}",
        of=_both(second, first),
    )


def total(one: Operator, other: Operator) -> Operator:
    """The operator ``one + other``."""
    if (other.inputs.shapes, other.outputs.shapes) != (one.inputs.shapes, one.outputs.shapes):
        raise ShapeError("a sum needs two operators between the same spaces")
    factor = max(one.factor, other.factor, key=abs) or 1.0
    # one of a and b is 1, so that the common factor is applied after the sum
    a, b = one.factor / factor, other.factor / factor

    def both(f: Callable, g: Callable) -> Callable:
        return lambda v: pytree.tree_map(lambda x, y: multiplied(x, a) + multiplied(y, b), f(v), g(v))

    return one._like(
        both(one._forward, other._forward),
        both(one._adjoint, other._adjoint),
        chunk=min(one.chunk, other.chunk),
        factor=factor,
        name=f"{times(a, one.name)} + {times(b, other.name)}",
        of=_both(one, other),
    )


def restricted(operator: Operator, inputs: Any, outputs: Any) -> Operator:
    """P F Q, where P and Q select the outputs and the inputs; None is all of them."""
    masks = [
        None if index is None else space.stack(space.cotangents([index], operator.batch))[0]
        for space, index in ((operator.inputs, inputs), (operator.outputs, outputs))
    ]

    def masked(value: Any, mask: Any) -> Any:
        return value if mask is None else pytree.tree_map(torch.mul, value, mask)

    return operator._like(
        lambda v: masked(operator._forward(masked(v, masks[0])), masks[1]),
        lambda u: masked(operator._adjoint(masked(u, masks[1])), masks[0]),
        support=operator._support,
        blocks=operator._blocks,
        name=f"P {_apart(operator.name)} Q",
    )


def transposed(name: str) -> str:
    """The name of the transpose of an operator of this name."""
    outside = _outside(name)
    if " " in outside:
        return f"({name})^T"
    return name.removesuffix("^T") if name.endswith("^T") else f"{name}^T"


def _apart(name: str) -> str:
    """The name as a factor of a product."""
    return f"({name})" if " + " in _outside(name) else name


def _outside(name: str) -> str:
    """What of a name does not stand in brackets."""
    while "(" in name:
        name = re.sub(r"\([^()]*\)", "", name)
    return name


def times(factor: float, name: str) -> str:
    """The name of a multiple."""
    return name if factor == 1 else f"{factor:.4g} {_apart(name)}"


def _both(one: Operator, other: Operator) -> tuple[str, ...]:
    """The networks of two operators, each once."""
    return tuple(dict.fromkeys((*one.of, *other.of)))


def is_number(value: Any) -> bool:
    """Whether a value is a number, or a tensor or array that holds one."""
    if isinstance(value, (torch.Tensor, np.ndarray)):
        return value.ndim == 0
    return isinstance(value, numbers.Number)


def finite(factor: Any) -> float:
    """The factor of a multiple, a real number."""
    is_complex = isinstance(factor, complex) or getattr(factor, "dtype", None) in _COMPLEX
    if is_complex or not math.isfinite(factor):
        raise FxscopeError(
            f"F is real, and so are its multiples: a factor is a finite real number, got {factor}"
        )
    return float(factor)


def inverse(factor: Any) -> float:
    """1 / factor, where an operator is divided by it."""
    if not is_number(factor) or factor == 0:
        raise FxscopeError(
            f"F / c: c is a finite real number other than 0, got {shown(factor)}; F.T @ u applies F^T,"
            " and nothing its inverse"
        )
    return 1 / factor
