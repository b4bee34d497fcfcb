"""Comparisons, rounding, arg-reductions and fresh tensors: constants of x0."""

import operator

import torch

from ..twins import Identity
from .declare import Sample, constant


def one(x):
    """y = f(x)."""


def two(x, other):
    """y = f(x, other)."""


def reduced(x, dim=None, keepdim=False):
    """y = f(x, dim)."""


def made(x, value=None, dtype=None, layout=None, device=None, pin_memory=False, requires_grad=False, memory_format=None):
    """A fresh tensor with the size of x."""


def straight(x):
    return Identity()


def _comparison(name, target, *functions):
    return constant(name, target, two, functions=functions, methods=(name,), carries=(), formula="a constant", source="the paper, eq. 2 with A = 0")


EQ = _comparison("eq", operator.eq, torch.eq)
NE = _comparison("ne", operator.ne, torch.ne)
LT = _comparison("lt", operator.lt, torch.lt, torch.less)
LE = _comparison("le", operator.le, torch.le, torch.less_equal)
GT = _comparison("gt", operator.gt, torch.gt, torch.greater)
GE = _comparison("ge", operator.ge, torch.ge, torch.greater_equal)
INVERT = constant("invert", operator.invert, one, functions=(torch.bitwise_not,), carries=(), formula="a constant")
DETACH = constant("detach", torch.detach, one, methods=("detach",), formula="y1 = y0: the author's own constant", source="the paper, eq. 2 with A = 0")


def _step(name, function, *functions):
    return constant(
        name, function, one, functions=functions, methods=(name,), variants={"straight": straight, "taylor": None}, samples=(Sample(),),
        interval=(lambda bound, a: (-1.0, 1.0)) if name in ("sign", "sgn") else None,
        formula="y1 = y0;  straight: y1 = x1 (straight-through; not exact in eq. 3)" if name != "sign" else "y1 = y0", source="the paper, eq. 2 with A = 0",
    )


SIGN, SGN, ROUND, FLOOR, CEIL, TRUNC = (_step(n, getattr(torch, n)) for n in ("sign", "sgn", "round", "floor", "ceil", "trunc"))
ARGMAX = constant("argmax", torch.argmax, reduced, methods=("argmax",), formula="a constant")
ARGMIN = constant("argmin", torch.argmin, reduced, methods=("argmin",), formula="a constant")
ONES_LIKE, ZEROS_LIKE, EMPTY_LIKE, FULL_LIKE, RAND_LIKE, RANDN_LIKE = (
    constant(n, getattr(torch, n), made, carries=(), formula="a constant") for n in ("ones_like", "zeros_like", "empty_like", "full_like", "rand_like", "randn_like")
)
