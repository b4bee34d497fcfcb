"""What fxscope writes on the nodes of a graph, and the invariants of every stage.

Roles are stored on the node (``info(node)``), never sniffed from its name.
"""

from __future__ import annotations

import dataclasses

import torch.fx as fx

from .draws import draws

KEY = "fxscope"

ROLES = ("const", "sized", "shape", "frozen", "affine")
BRANCHES = ("original", "interpreter")
EDGES = ("mask", "index", "stats", "gate", "constant", "size")


@dataclasses.dataclass(frozen=True)
class NodeInfo:
    """What one node of a graph is to the interpreter.

    branch    "original" or "interpreter"; None before the branches exist
    role      const (no input), sized (constant value, size from the input), shape (sizes, ints),
              frozen (depends on x0 only, or is drawn) or affine (on the path of x1)
    rule      name of the rule that covers the node, e.g. "relu"; None for placeholders and outputs
    variant   which of the rule's variants the policy chose, e.g. "stats"
    twin      for interpreter nodes, the twin they implement: "mask", "select", "gate", "conv", ...
    origin    for interpreter nodes and freeze states, the name of the node of the original branch they belong to
    freezes   for interpreter nodes, {name of a node of the original branch: edge label}, labels from ``EDGES``
    place     name of the place in the model (torchvision's get_graph_node_names convention), e.g. "layer1.0.relu"
    module    path of the module that was running, e.g. "layer1.0.relu"; "" for the root
    source    the user's own line, "file.py:12: out = self.relu(out)"
    """

    branch: str | None = None
    role: str | None = None
    rule: str | None = None
    variant: str | None = None
    twin: str | None = None
    origin: str | None = None
    freezes: dict[str, str] = dataclasses.field(default_factory=dict)
    place: str = ""
    module: str = ""
    source: str = ""

    def but(self, **changes) -> NodeInfo:
        return dataclasses.replace(self, **changes)


def info(node: fx.Node) -> NodeInfo:
    """The ``NodeInfo`` of a node; an empty one where nothing was written."""
    return node.meta.get(KEY, _EMPTY)


def mark(node: fx.Node, **fields) -> fx.Node:
    """Write fields of the node's ``NodeInfo`` and return the node."""
    node.meta[KEY] = dataclasses.replace(info(node), **fields)
    return node


def acts(node: fx.Node) -> bool:
    """Whether a node does something besides giving a value: it draws, asserts, or counts the batches that were seen."""
    return node.is_impure() or bool(node.meta.get("counts")) or draws(node)


def stands_for_sizes(value) -> bool:
    """Whether a node stands for a list of sizes: x.view(y.shape), x.view(y.shape[:2])."""
    if not isinstance(value, fx.Node):
        return False
    if (value.target == "size" and len(value.args) == 1 and not value.kwargs) or (
        value.target is getattr and value.args[1] == "shape"
    ):
        return True
    return getattr(value.target, "__name__", "") == "getitem" and isinstance(value.args[1], slice)


_EMPTY = NodeInfo()
