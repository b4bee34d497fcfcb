"""What a model computes and does not use tells of its inputs: it computes it at every call."""

from __future__ import annotations

import torch.fx as fx
from torch import nn

from ..errors import FxscopeError
from ..graph.ir import notes
from .canonicalize import canonicalize, size_nodes
from .facts import gather_facts


def learn_from_unused(gm: fx.GraphModule, whole: fx.GraphModule, model: nn.Module) -> None:
    """Write on the inputs of a traced graph how many dimensions the whole of the model asks of them."""
    try:
        whole = canonicalize(whole, model)
    except FxscopeError:  # a refusal of what is not used is none of the model's
        return
    limits = gather_facts(whole, size_nodes(whole.graph)).ranks.limits
    for node in gm.graph.nodes:
        if node.op == "placeholder" and node.name in limits:
            notes(node)["rank_limits"] = limits[node.name]
