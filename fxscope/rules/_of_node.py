"""The rule that covers a canonical node, and the node's arguments by name."""

from __future__ import annotations

import torch.fx as fx

from ..graph.ir import info
from . import registry
from .declare import Rule


def rule_of(node: fx.Node) -> Rule | None:
    """The rule that covers a canonical node."""
    return registry().rules.get(info(node).rule)


def bound(node: fx.Node) -> dict:
    """{argument: value} of a canonical node."""
    if "recognized" in node.meta:
        return node.meta["recognized"]
    return rule_of(node).bind(node.args, node.kwargs)
