"""Constants of a graph without their values, and ranks of tensors whose size comes from an input.

Both are found without running the network.

A constant is evaluated on the meta device, which computes shapes alone. A tensor that is made in a size of
the input (``torch.zeros(x.size(0), 4)``) has a rank that does not depend on the size, so that any stand-in
for it will do.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx as fx

from .interpreter import evaluated

# what is read off a value without its sizes
_NO_SIZES: dict[Any, Any] = {"dtype": torch.float32, "device": torch.device("meta")}
SIZE = 64  # a stand-in that survives halving and small subtractions


def constants(gm: fx.GraphModule) -> dict[fx.Node, torch.Tensor]:
    """{node: tensor on the meta device} of parameters, buffers, and tensors computed from them alone."""
    values: dict[fx.Node, Any] = {}
    for node in gm.graph.nodes:
        if node.op == "get_attr":
            values[node] = _attribute(gm, node)
        elif node.target is getattr and node.args[1] in _NO_SIZES:
            values[node] = _NO_SIZES[node.args[1]]
        elif _computed(node) and not node.is_impure() and all(n in values for n in node.all_input_nodes):
            values[node] = _evaluated(node, values)
    return {node: v for node, v in values.items() if isinstance(v, torch.Tensor)}


def stand_in_ranks(gm: fx.GraphModule, facts: Any) -> dict[fx.Node, int]:
    """{node: rank} of the tensors that depend on sizes of an input alone, where the known ranks tell it."""
    values: dict[fx.Node, Any] = {}
    for node in gm.graph.nodes:
        if node in facts.constants:
            values[node] = facts.constants[node]
        elif node in facts.sizes:
            values[node] = _stand_in(node, values, facts)
        elif (
            _computed(node)
            and node.all_input_nodes
            and all(values.get(n) is not None for n in node.all_input_nodes)
            and _keeps_rank(node)
        ):
            values[node] = _evaluated(node, values)
    return {n: v.dim() for n, v in values.items() if isinstance(v, torch.Tensor) and n not in facts.constants}


def _stand_in(node: fx.Node, values: dict[fx.Node, Any], facts: Any) -> Any:
    """A stand-in for a size, shape, dtype or device that is read off a value; None where none is known."""
    if all(n in values for n in node.all_input_nodes):
        return _evaluated(node, values)
    x = node.args[0] if node.args else None
    rank = facts.rank(x) if isinstance(x, fx.Node) else None
    field = node.args[1] if node.target is getattr else node.target
    if field == "size" and (len(node.args) > 1 or node.kwargs):
        return SIZE
    if field in _NO_SIZES:
        return _NO_SIZES[field]
    if rank is None:
        return None
    if field in ("dim", "ndim", "ndimension"):
        return rank
    return torch.Size([SIZE] * rank) if field in ("size", "shape") else None


def _keeps_rank(node: fx.Node) -> bool:
    """Whether the rank of the result is that of any other size: ``squeeze`` looks at sizes."""
    return "squeeze" not in getattr(node.target, "__name__", str(node.target)) or "unsqueeze" in str(
        node.target
    )


def _computed(node: fx.Node) -> bool:
    return node.op in ("call_function", "call_method")


def attribute_value(gm: torch.nn.Module, path: str) -> Any:
    """The parameter or buffer at a dotted path."""
    value: Any = gm
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _attribute(gm: fx.GraphModule, node: fx.Node) -> Any:
    value = attribute_value(gm, str(node.target))
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout is not torch.strided:  # an index is no value that the meta device could do without
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    return torch.empty_like(value, device="meta")


def _evaluated(node: fx.Node, values: dict[fx.Node, Any]) -> Any:
    """The node's value on the meta device; None where that cannot be had (values decide its shape)."""
    args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda n: values[n])
    if kwargs.get("device") is not None:
        kwargs = {**kwargs, "device": torch.device("meta")}
    try:
        with torch.device("meta"), torch.no_grad():
            return evaluated(node, args, kwargs)
    except Exception:  # whatever an operator says where there are no values; the shape is then not known
        return None
