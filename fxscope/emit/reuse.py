"""The interpreter branch writes into values that nobody else reads: the twin of an in-place ReLU is in place.

A network's ReLU works in its input's memory. An interpreter that asks for new memory at every mask touches three times as
many fresh pages, which costs a tenth of a ResNet's time on a CPU; a scatter that copies its zeros first, twice its own.
A value may be written to if its memory is its own (no input, no state, no view of one), if one operator alone reads it, and
if no derivative reads what is in it.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.fx as fx
import torch.nn.functional as F

from ..graph.ir import info
from ..passes.rewrite import Record
from ..twins import Add

_VIEWS = ("flatten", "unflatten", "unsqueeze", "transpose")
_UNREAD = {
    F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.batch_norm, F.linear,
    torch.matmul, torch.addcmul, torch.cat, torch.gather, torch.where, operator.add, operator.sub, operator.mul, torch.add,
}  # new memory that the operator's own derivative does not read again  # fmt: skip


_WRITES = {operator.mul: "mul_", operator.add: "add_"}


def mark_twin(record: Record, result: Any, *given: Any) -> None:
    """Remember a twin's product or sum that has the shape of its operand: by what the twin is, or because the network wrote x += y."""
    written = type(record.twin) is Add and record.twin.alpha == 1 and record.origin.meta.get("written")
    if (record.twin.keeps_shape or written) and all(result.node is not g.node for g in given):
        mark_same(result)


def mark_same(result: Any, operands: int = 1) -> None:
    """Remember a product or sum that has the shape of its first operand, or of both."""
    if result.node.target in _WRITES:
        result.node.meta["same"] = operands


def in_place(graph: fx.Graph) -> None:
    """X * bits -> x.mul_(bits), x + y -> x.add_(y), zeros.scatter_add(...) -> zeros.scatter_add_(...), where x is free to be written to."""
    for node in graph.nodes:
        at = next((i for i in range(node.meta.pop("same", 0)) if _free(node.args[i])), None)
        if at is not None:
            node.op, node.target, node.args = (
                "call_method",
                _WRITES[node.target],
                (node.args[at], node.args[1 - at]),
            )
        if node.op == "call_method" and node.target == "scatter_add" and _free(node.args[0]):
            node.target = "scatter_add_"


def _free(node: fx.Node) -> bool:
    """Whether a value's memory is its own and one operator alone reads it."""
    while info(node).branch == "interpreter" and len(node.users) == 1:
        if node.op == "call_function":
            return node.target in _UNREAD
        if node.op != "call_method" or node.target not in _VIEWS:
            return node.target in ("new_zeros", "scatter_add_", "add_", "mul_", "index_add")
        node = node.args[0]
    return False
