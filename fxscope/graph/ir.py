"""What fxscope writes on the nodes of a graph and on the graph itself, and what holds of it.

Every key of ``node.meta`` and ``gm.meta`` that fxscope writes is a field of a type below. ``notes(node)`` and
``graph_notes(gm)`` are those dicts with their types. ``check.py`` verifies the invariants of every stage.
Roles are stored on the node (``info(node)``), never sniffed from its name.
"""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import torch
import torch.fx as fx

from .draws import draws

if TYPE_CHECKING:
    from .assumptions import Assumptions

Branch = Literal["original", "interpreter"]
Role = Literal["const", "sized", "shape", "frozen", "affine"]
Edge = Literal["mask", "index", "stats", "gate", "constant", "size"]


@dataclasses.dataclass(frozen=True)
class NodeInfo:
    """What one node of a graph is to the interpreter.

    branch    "original" or "interpreter"; None before the branches exist
    role      const (no input), sized (constant value, size from the input), shape (sizes, ints),
              frozen (depends on x0 only, or is drawn) or affine (on the path of x1); None before the classes
              exist
    rule      name of the rule that covers the node, e.g. "relu"; None for placeholders and outputs
    variant   which of the rule's variants the policy chose, e.g. "stats"
    twin      for interpreter nodes, the twin they implement: "mask", "select", "gate", "conv", ...
    origin    for interpreter nodes and freeze states, the name of the node of the original branch that they
              belong to
    freezes   for interpreter nodes, {name of a node of the original branch: label of the edge, an ``Edge``}
    place     name of the place in the model (torchvision's get_graph_node_names convention), e.g.
              "layer1.0.relu"
    module    path of the module that was running, e.g. "layer1.0.relu"; "" for the root
    source    the user's own line, "file.py:12: out = self.relu(out)"
    linearised  of a node of an operator's derivative, that operator: "lgamma", "net.py:12: out = ..."
    """

    branch: Branch | None = None
    role: Role | None = None
    rule: str | None = None
    variant: str | None = None
    twin: str | None = None
    origin: str | None = None
    freezes: dict[str, str] = dataclasses.field(default_factory=dict)
    place: str = ""
    module: str = ""
    source: str = ""
    linearised: str = ""

    def but(self, **changes: Any) -> NodeInfo:
        """A copy with other values in some fields."""
        # dataclasses.replace is four times slower, on the hottest path of a rewrite
        new = object.__new__(NodeInfo)
        vars(new).update(vars(self), **changes)
        return new


class Notes(TypedDict, total=False):
    """The keys of ``node.meta`` that fxscope writes; a key is absent where there is nothing to say.

    fxscope      the ``NodeInfo``
    val          the node's value on the example inputs, as a tensor on the meta device; not in emitted graphs
    parts        the same, of every tensor of a call that gives several
    recognized   {argument of the rule: value} where the user wrote out a function by hand; they are nodes
                 of the same graph, and replace the node's own arguments; not in emitted graphs
    exported     in a graph of torch.export, the name of the call there: that of a call within a graph that
                 stands in for another call follows that one's and a slash
    held         the node is computed on x0 alone, though it reads values on the path of the probe: part of
                 the derivative of an operator
    unspelled    why the rule of the node's function does not know this form of the call
    rank_hint    the number of dimensions that the module asked of its input; None where it takes several
    rank_limits  of a placeholder, the least and the most dimensions that the model takes
    unpacked     into how many names the model's code unpacks the value
    counts       the node counts the batches that a batch norm has seen: it writes, and nothing reads it
    written      the network wrote this value in place, so it has the shape of what it overwrote
    folded       the node is a convolution's weight times the factors of a batch norm, and so a constant
    same         how many of the first operands have the shape of this product or sum; removed by ``in_place``
    """

    fxscope: NodeInfo
    val: torch.Tensor
    parts: tuple[torch.Tensor, ...]
    recognized: dict[str, Any]
    exported: str
    held: bool
    unspelled: str
    rank_hint: int | None
    rank_limits: tuple[int, int]
    unpacked: int
    counts: bool
    written: bool
    folded: bool
    same: int


class Frontend(TypedDict, total=False):
    """Which frontend made a graph, and what it left free.

    name    "symbolic" or "export"
    batch   of an exported graph: "free", "conditional" or "specialised" (see ``assumptions.batch_of``)
    sizes   of an exported graph: "specialised", since its other sizes are those of the example
    """

    name: str
    batch: str
    sizes: str


class Emitted(TypedDict, total=False):
    """``gm.meta["fxscope"]`` of an emitted graph.

    form, probes     what ``fxscope.transform`` was asked for
    frontend         the ``Frontend`` of the traced graph
    assumptions      what the graph asserts of its inputs, by the names of its own placeholders
    interpretation   the version of the interpretation, see ``interpretation.VERSION``
    constant         the keys of the outputs that do not depend on the probe
    linearised       the operators whose derivative stands for them, see ``NodeInfo``
    policy           under which ``fxscope.transform`` made it, as text
    state            of record, replay and pullback: the names of the recorded tensors, in order
    folded           those names of the state that are weights folded with their batch norm
    labels, records  of the shares: the additive constants, in the order of the output
    own              of the shares: the keys of the outputs that are constants; their labels are the last
    apart            of the shares: the shares of the images cannot be told apart in one pass
    """

    form: str
    probes: str
    frontend: Frontend | None
    assumptions: Assumptions
    interpretation: int
    constant: tuple[Any, ...]
    linearised: tuple[str, ...]
    policy: str
    state: tuple[str, ...]
    folded: tuple[str, ...]
    labels: list[dict[str, str]]
    records: list[Any]
    own: Any
    apart: bool


class GraphNotes(TypedDict, total=False):
    """The keys of ``gm.meta`` that fxscope writes: two on a traced graph, one on an emitted graph.

    frontend      of a traced graph, which frontend made it; every canonical graph has it
    assumptions   of a traced graph, what the trace assumed of its inputs; absent where it assumed nothing
    whole         of a traced graph, the same with what the model computes and does not use; see ``unused.py``
    fxscope       of an emitted graph, everything that is known of it
    """

    frontend: Frontend
    assumptions: Assumptions
    whole: fx.GraphModule
    fxscope: Emitted


def notes(node: fx.Node) -> Notes:
    """``node.meta``, with the types of what fxscope writes there."""
    return node.meta  # type: ignore[return-value]  # a plain dict; typing.cast costs a call


def graph_notes(gm: fx.GraphModule) -> GraphNotes:
    """``gm.meta``, with the types of what fxscope writes there."""
    return gm.meta  # type: ignore[return-value]


def emitted(gm: fx.GraphModule) -> Emitted:
    """What is known of an emitted graph; an empty dict, to read only, for any other graph."""
    return graph_notes(gm).get("fxscope", {})


def info(node: fx.Node) -> NodeInfo:
    """The ``NodeInfo`` of a node; an empty one where nothing was written."""
    return notes(node).get("fxscope", _EMPTY)


def mark(node: fx.Node, **fields: Any) -> fx.Node:
    """Write fields of the node's ``NodeInfo`` and return the node."""
    notes(node)["fxscope"] = info(node).but(**fields)
    return node


def acts(node: fx.Node) -> bool:
    """Whether a node does something besides giving a value: it draws, asserts, or counts the batches seen."""
    return node.is_impure() or notes(node).get("counts", False) or draws(node)


def stands_for_sizes(value: Any) -> bool:
    """Whether a node stands for a list of sizes: y.shape, y.shape[:2] + (1, 1), (1,) * y.dim()."""
    if not isinstance(value, fx.Node):
        return False
    if value.target in (operator.add, operator.mul):
        return any(isinstance(v, (list, tuple)) or stands_for_sizes(v) for v in value.args)
    if (value.target == "size" and len(value.args) == 1 and not value.kwargs) or (
        value.target is getattr and value.args[1] == "shape"
    ):
        return True
    return getattr(value.target, "__name__", "") == "getitem" and isinstance(value.args[1], slice)


_EMPTY = NodeInfo()
