"""What emission writes on the nodes it creates."""

from __future__ import annotations

import torch.fx as fx

from ..graph.ir import info, mark
from ..passes.rewrite import Record
from ..twins import Twin


def tags_of(record: Record, twin: Twin, origin: str) -> dict[str, str]:
    """The fields of the nodes that implement a twin; ``origin`` names its node of the original branch."""
    base = info(record.origin)
    return {
        "branch": "interpreter",
        "role": "affine",
        "rule": record.rule,
        "variant": record.variant,
        "twin": twin.kind,
        "origin": origin,
        "place": base.place,
        "module": base.module,
        "source": base.source,
    }


class Tagging:
    """Mark every node that the block creates, and declare the freeze edges that enter it."""

    def __init__(self, graph: fx.Graph, states: dict[str, str] | None = None, **fields):
        self.graph, self.states, self.fields = graph, states or {}, fields

    def __enter__(self):
        self.last = next(iter(reversed(self.graph.nodes)), None)

    def __exit__(self, *exc):
        for node in reversed(self.graph.nodes):
            if node is self.last:
                break
            if info(node).branch == "original":
                continue  # a read of a size, which belongs to the original branch
            freezes = {
                n.name: self.states.get(n.name, "size")
                for n in node.all_input_nodes
                if info(n).branch == "original" and info(n).role != "const"
            }
            mark(node, freezes=freezes, **self.fields)
