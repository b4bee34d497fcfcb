"""Which operand of a product comes out of a nonlinearity, whatever its spelling."""

from __future__ import annotations

from typing import Any

import torch.fx as fx

from ._of_node import bound, rule_of
from ._reduced import elementwise

_THROUGH = (
    "identity",
    "contiguous",
    "to",
    "float",
    "double",
    "half",
    "bfloat16",
    "type_as",
    "neg",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
)


def activated(*operands: Any) -> int | None:
    """The operand that is a nonlinear elementwise function of one value, where just one of them is (SwiGLU).

    ``F.silu(a)``, ``a * sigmoid(a)`` and ``a * relu6(a + 3) / 6`` are: products whose operands are functions
    of the same value count.
    """
    seen: dict[fx.Node, tuple[Any, bool]] = {}
    marked = [i for i, node in enumerate(operands) if _source(node, seen)[1]]
    return marked[0] if len(marked) == 1 else None


def _source(value: Any, seen: dict[fx.Node, tuple[Any, bool]]) -> tuple[Any, bool]:
    """(the value that this one is an elementwise function of, whether that function is nonlinear)."""
    if value not in seen:
        seen[value] = _found(value, seen)
    return seen[value]


def _found(value: Any, seen: dict[fx.Node, tuple[Any, bool]]) -> tuple[Any, bool]:
    rule = rule_of(value)
    if rule is None or not (rule.reduced is elementwise or rule.name in _THROUGH):
        return value, False
    arguments = bound(value)
    moving = [
        v for v in (arguments.get(name) for name in rule.carries) if isinstance(v, fx.Node) and _moves(v)
    ]
    found = [_source(v, seen) for v in moving]
    if not found or any(source is not found[0][0] for source, _ in found):
        return value, False  # of several values: one of its own
    bends = rule.verb in ("mask", "select") or (rule.verb == "product" and len(moving) == 2)
    return found[0][0], bends or any(bent for _, bent in found)


def _moves(node: fx.Node) -> bool:
    """Whether a node depends on an input of the network."""
    from ..graph.ir import info

    return info(node).role in ("affine", "frozen")
