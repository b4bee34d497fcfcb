"""Sparse parameters and buffers, such as the adjacency matrix of a graph network, as dense tensors."""

from __future__ import annotations

import torch
import torch.fx as fx

from ..graph.constants import attribute_value
from ..graph.ir import info, notes


def densify(gm: fx.GraphModule) -> None:
    """Let every sparse tensor of the model be read as a dense one.

    The product of K probes with a sparse matrix does not exist in PyTorch. The dense matrix is made in the
    graph, so that the graph keeps the sparse tensor alone.
    """
    for node in [n for n in gm.graph.nodes if n.op == "get_attr"]:
        value = attribute_value(gm, str(node.target))
        if not isinstance(value, torch.Tensor) or value.layout is torch.strided:
            continue
        readers = [u for u in node.users if u.target != "to_dense"]
        if not readers:
            continue
        with gm.graph.inserting_after(node):
            dense = gm.graph.call_method("to_dense", (node,))
        notes(dense)["fxscope"] = info(node)
        for reader in readers:
            reader.replace_input_with(node, dense)
