"""Concatenations with a tensor of no entries, from which code that collects results often starts.

torch leaves a tensor of shape (0,) out of a concatenation, whatever the rank of the others is.
"""

from __future__ import annotations

import torch
import torch.fx as fx

from ...graph.constants import constants


def leave_out_empty(gm: fx.GraphModule) -> None:
    """Take constants of shape (0,) out of concatenations of several tensors."""
    nodes = [n for n in gm.graph.nodes if n.target is torch.cat and isinstance(n.args[0], (list, tuple))]
    if not nodes:
        return
    known = constants(gm)
    for node in nodes:
        kept = [n for n in node.args[0] if n not in known or known[n].shape != (0,)]
        if kept:
            node.args = (kept, *node.args[1:])
