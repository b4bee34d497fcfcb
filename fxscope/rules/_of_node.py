"""The rule that covers a canonical node, and the node's arguments by name."""

from __future__ import annotations

import torch
import torch.fx as fx

from ..graph.ir import info, notes
from . import registry
from .declare import Rule


def rule_of(node: fx.Node) -> Rule | None:
    """The rule that covers a canonical node."""
    return registry().rules.get(info(node).rule or "")


def parts_told(node: fx.Node) -> int | None:
    """How many tensors a split gives, where its sections are listed or counted; None where a size decides."""
    given = next((v for name, v in bound(node).items() if name not in ("x", "dim")), None)
    if isinstance(given, (list, tuple)):
        return len(given) + (node.target is torch.tensor_split)
    return given if node.target is torch.tensor_split and isinstance(given, int) else None


def rounds(node: fx.Node) -> bool:
    """Whether a node's values are known to be integers or truth values: constants between their steps."""
    value = notes(node).get("val")
    if value is not None:
        return not value.is_floating_point() and not value.is_complex()
    rule = rule_of(node)
    if rule is None:
        return False
    return rule.bits or (rule.integers(bound(node)) if callable(rule.integers) else rule.integers)


def bound(node: fx.Node) -> dict:
    """{argument: value} of a canonical node."""
    if "recognized" in notes(node):
        return notes(node)["recognized"]
    rule = rule_of(node)
    assert rule is not None
    return rule.bind(node.args, node.kwargs)
