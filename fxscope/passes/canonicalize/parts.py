"""Lists of tensors are written out, tensor by tensor: torch.cat(x.chunk(2, 1)[::-1], 1).

The arguments of a split tell how many parts it has. Where only sizes tell it, the model goes through
torch.export, which reads them off an example.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
import torch.fx as fx

from ...errors import TraceFailure
from ...frontend.symbolic import source_of
from ...graph.ir import info, mark
from ...rules._of_node import bound, parts_told, rule_of


def list_parts(graph: fx.Graph) -> None:
    """Write out the lists that a canonical call takes as a whole.

    Raises ``TraceFailure`` if only sizes tell how many tensors there are.
    """
    for node in list(graph.nodes):
        if node.op == "output" or _is_list(node):
            continue
        if node.target is operator.getitem and _is_part_of_list(node):
            node.replace_all_uses_with(_tensors(node.args[0])[node.args[1]])
            graph.erase_node(node)
        elif node.target is not operator.getitem:
            node.args = fx.node.map_arg(node.args, _written_out)
            node.kwargs = fx.node.map_arg(node.kwargs, _written_out)


def _written_out(value: fx.Node) -> Any:
    return _tensors(value) if _is_list(value) else value


def _is_part_of_list(node: fx.Node) -> bool:
    """Whether a node is an item of a list that is itself made of others."""
    base, key = node.args
    return isinstance(key, int) and _is_list(base) and not _is_split(base)


def _is_split(node: Any) -> bool:
    rule = rule_of(node) if isinstance(node, fx.Node) else None
    return rule is not None and rule.yields == "tensors"


def _is_list(node: Any) -> bool:
    """Whether a node is a list of tensors: the parts of a split, a slice of them, or two lists."""
    if not isinstance(node, fx.Node):
        return False
    if node.target is operator.getitem:
        return isinstance(node.args[1], slice) and _is_list(node.args[0])
    if node.target is operator.add:
        return any(_is_list(v) for v in node.args)
    return _is_split(node)


def _tensors(value: Any) -> list:
    """The tensors of a list, as nodes."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if value.target is operator.getitem:
        return _tensors(value.args[0])[value.args[1]]
    if value.target is operator.add:
        return [tensor for part in value.args for tensor in _tensors(part)]
    return [_item(value, number) for number in range(_count(value))]


def _item(split: fx.Node, number: int) -> fx.Node:
    for user in split.users:
        if user.target is operator.getitem and user.args[1] == number:
            return user
    with split.graph.inserting_after(split):
        new = split.graph.call_function(operator.getitem, (split, number))
    new.meta.update(split.meta)
    return mark(new, rule="getitem")


def _count(split: fx.Node) -> int:
    """How many parts a split has, by its arguments."""
    told = parts_told(split)
    if told is None and split.target is torch.chunk and bound(split)["chunks"] in (1, 2):
        told = bound(split)["chunks"]
    if told is not None:
        return told
    raise TraceFailure(
        f"only the sizes of an example tell how many tensors {info(split).place or split.name} gives, at"
        f" {source_of(split)}"
    )
