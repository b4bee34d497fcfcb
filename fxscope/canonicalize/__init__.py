"""Canonicalize: one spelling per operator, no modules, no methods, no in-place forms."""

from __future__ import annotations

import torch.fx as fx
from torch import nn

from ..ir import acts
from .modules import inline_modules
from .recognize import recognize
from .spell import bound, rule_of, spell
from .writes import functionalize, is_size, size_nodes

__all__ = ["bound", "canonicalize", "rule_of", "is_size", "size_nodes"]


def canonicalize(gm: fx.GraphModule, model: nn.Module) -> fx.GraphModule:
    """The same computation in canonical operators; ``gm`` is rewritten and returned."""
    inline_modules(gm, model)
    functionalize(gm)
    spell(gm)
    recognize(gm)
    gm.graph.eliminate_dead_code(is_impure_node=acts)
    gm.graph.lint()
    return gm
