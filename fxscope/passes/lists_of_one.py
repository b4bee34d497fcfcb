"""An operator that names a dimension of a tensor that has none reads it as a list of one entry.

torch takes dimension 0 of a number: ``squeeze(0)``, ``softmax(0)``, ``gather(0, index)``. Behind the probes'
K a number is a list, and its dimension 0 would be K's neighbour. So the list is written out, by two reshapes.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from ..graph.ir import mark, notes
from ..rules._of_node import bound, rule_of
from ..rules._sizes import COUNTED
from .outputs import placed

# they know numbers themselves, or count the dimensions of their result
_OF_RESULT = ("squeeze", "unsqueeze", "flatten", "unflatten", "index_select")


def lists_of_one(gm: fx.GraphModule) -> None:
    """Write numbers as lists of one, where an operator names their dimension.

    What is a number is read off an example.
    """
    for node in list(gm.graph.nodes):
        if node.op == "call_function" and _names_a_dimension(node) and _number(_carried(node)):
            _written_out(node)


def _names_a_dimension(node: fx.Node) -> bool:
    rule = rule_of(node)
    if rule is None or rule.yields != "tensor" or rule.name in _OF_RESULT or not rule.carries:
        return False
    if "recognized" in notes(node):  # its arguments are those of a function written by hand
        return False
    arguments = bound(node)
    return any(arguments.get(name) not in (None, (), []) for name in COUNTED)


def _carried(node: fx.Node) -> Any:
    rule = rule_of(node)
    assert rule is not None
    return bound(node).get(rule.carries[0])


def _number(value: Any) -> bool:
    return (
        isinstance(value, fx.Node) and _without_dimensions(value) and notes(value)["val"].is_floating_point()
    )


def _written_out(node: fx.Node) -> None:
    for given in [n for n in node.all_input_nodes if _without_dimensions(n)]:
        with node.graph.inserting_before(node):
            node.replace_input_with(given, _reshaped(given, [1], node))
    if not _without_dimensions(node) or _told_rank(node) == 0:  # gathered by a list; reduced
        return
    users, y = list(node.users), notes(node)["val"]
    notes(node)["val"] = y.reshape(1)
    with node.graph.inserting_after(node):
        result = _reshaped(node, [], node)
    for user in users:
        user.replace_input_with(node, result)


def _told_rank(node: fx.Node) -> Any:
    """The number of dimensions of the result, by the rule, now that the operand is a list."""
    rule = rule_of(node)
    assert rule is not None
    return 1 if rule.rank is None else rule.rank(lambda value: 1, bound(node))


def _without_dimensions(node: fx.Node) -> bool:
    shown = notes(node).get("val")
    return isinstance(shown, torch.Tensor) and shown.dim() == 0


def _reshaped(x: fx.Node, shape: list[int], at: fx.Node) -> fx.Node:
    new = x.graph.call_function(torch.reshape, (x, shape))
    notes(new)["val"] = notes(x)["val"].reshape(shape)
    return mark(placed(new, at), rule="reshape")
