"""An operator without a rule, by its derivative: y1 = A(x0) x1 + c(x0), c = h(x0) - A(x0) x0."""

from __future__ import annotations

from typing import Any

from ..twins.applied import Shift
from ._local import elementwise
from .declare import linear


def derivative(y: Any, z: Any) -> Any:
    """The operator's own value y; in the other branch z = A(x0) x1 stands for it."""
    return y


def twin(y, z, *, call):
    return Shift(y - z), [call.value("z")]


DERIVATIVE = linear(
    "derivative",
    derivative,
    twin,
    carries=("z",),
    ignores=("y",),
    piecewise=False,
    rank=lambda rank, a: rank(a["y"]),
    local=elementwise,
    unsampled="it stands in for operators without a rule; those of PyTorch's database are its samples",
    formula="y1 = A(x0) x1 + h(x0) - A(x0) x0,  A the derivative of h",
    source="the paper, eq. 4",
)
