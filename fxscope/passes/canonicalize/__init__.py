"""Canonicalize: one spelling for each operator, without modules, methods and in-place forms."""

from __future__ import annotations

import torch.fx as fx
from torch import nn

from ...graph.ir import acts
from .empty import leave_out_empty
from .modules import inline_modules
from .parts import list_parts
from .recognize import recognize
from .spell import spell
from .writes import Decide, functionalize, is_size, size_nodes

__all__ = ["Decide", "canonicalize", "is_size", "size_nodes"]


def canonicalize(gm: fx.GraphModule, model: nn.Module, decide: Decide | None = None) -> fx.GraphModule:
    """Rewrite a graph into canonical operators, in place, and return it.

    ``decide`` tells views from copies by a run on an example.
    """
    inline_modules(gm, model)
    functionalize(gm, decide)
    spell(gm)
    list_parts(gm.graph)
    leave_out_empty(gm)
    recognize(gm)
    gm.graph.eliminate_dead_code(is_impure_node=acts)
    gm.graph.lint()
    return gm
