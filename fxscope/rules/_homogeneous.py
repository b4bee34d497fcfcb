"""Roots of sums of powers.

A norm written by hand is homogeneous of degree one, and it is frozen as ``torch.norm`` is.
"""

from __future__ import annotations

from typing import Any

import torch.fx as fx

from ._of_node import bound, rule_of

_KEEP = (
    "sum",
    "mean",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "relu",
    "abs",
    "neg",
    "reshape",
    "flatten",
    "unflatten",
    "permute",
    "transpose",
    "t",
    "adjoint",
    "squeeze",
    "unsqueeze",
    "getitem",
    "select",
    "identity",
    "contiguous",
    "to",
    "float",
    "double",
    "expand",
    "expand_as",
)


def is_norm(value: Any, exponent: float) -> bool:
    """Whether ``value ** exponent`` is homogeneous of degree one.

    That is the p-th root of a sum, mean or pooling of p-th powers.
    """
    found = degree(value)
    return found is not None and found > 1 and abs(found * exponent - 1) < 1e-9


def degree(value: Any) -> float | None:
    """The degree to which a value is homogeneous in the terms of its sum of powers.

    None where the value is not such a sum.
    """
    rule = rule_of(value) if isinstance(value, fx.Node) else None
    if rule is None:
        return None
    arguments = bound(value)
    if rule.name in ("square", "var"):
        return 2.0
    if rule.name == "pow":
        power = arguments["exponent"]
        return float(power) if isinstance(power, (int, float)) and power > 1 else None
    if rule.name in ("add", "add_alpha"):
        found = {degree(arguments[name]) for name in ("x", "other")}
        return found.pop() if len(found) == 1 else None
    if rule.name in ("mul", "div"):
        return _of_product(rule.name, arguments)
    return degree(next(iter(arguments.values()))) if rule.name in _KEEP else None


def _of_product(name: str, arguments: dict) -> float | None:
    """The degree of a product or quotient.

    x * x is a square. A number does not change the degree, nor does the sign that ``F.lp_pool`` puts before a
    modulus.
    """
    x, other = arguments["x"], arguments["other"]
    if name == "mul" and x is other:
        return 2.0
    if not isinstance(other, fx.Node):
        return degree(x)
    if not isinstance(x, fx.Node):
        return degree(other) if name == "mul" else None
    signs = [getattr(rule_of(v), "name", "") in ("sign", "sgn") for v in (x, other)]
    if name == "mul" and any(signs):
        return degree(other if signs[0] else x)
    return None
