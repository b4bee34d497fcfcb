"""What the graph alone tells about its values: number of dimensions, bounds, and dimensions known to be of size one.

Ranks decide how probes are aligned in broadcasts; bounds and reduced dimensions decide which operand of a product is its
gate. Nothing here needs example inputs; a rank that only they could tell is None, and asking for it raises ``UnknownRank``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx

from .canonicalize.spell import bound, rule_of
from .errors import UnknownRank
from .ir import info
from .rules._ranks import Floating
from .rules.declare import UNBOUNDED, Interval
from .trace import source_of


@dataclass
class Facts:
    """Ranks, bounds and unit dimensions of the nodes of one canonical graph."""

    ranks: dict[fx.Node, Any] = field(default_factory=dict)
    bounds: dict[fx.Node, Interval] = field(default_factory=dict)
    units: dict[fx.Node, frozenset[int]] = field(default_factory=dict)
    solved: dict[str, int] = field(default_factory=dict)

    def rank(self, value: Any) -> int | None:
        """Number of dimensions of a node or plain value; None where the graph does not tell it."""
        if not isinstance(value, fx.Node):
            return value.dim() if isinstance(value, torch.Tensor) else 0
        return self._known(self.ranks.get(value))

    def need_rank(self, node: fx.Node, why: str) -> int:
        rank = self.rank(node)
        if rank is None:
            raise UnknownRank(
                f"{why} needs the number of dimensions of {info(node).place or node.name} at {source_of(node)}, which the graph "
                "alone does not tell; pass example_inputs= to fxscope.transform"
            )
        return rank

    def bound(self, value: Any) -> Interval:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return (float(value), float(value))
        return self.bounds.get(value, UNBOUNDED) if isinstance(value, fx.Node) else UNBOUNDED

    def unit(self, value: Any) -> frozenset[int]:
        """Dimensions, counted from the end, that are known to be of size one."""
        return self.units.get(value, frozenset()) if isinstance(value, fx.Node) else frozenset()

    def lift(self, value: Any, other: Any) -> int:
        """How many dimensions a probe's tensor of ``value`` lacks in front, when it meets ``other`` in a broadcast."""
        if self.rank(other) == 0:
            return 0
        a, b = self.rank(value), self.rank(other)
        if a is not None and b is not None:
            return max(0, b - a)
        if a is None and b is not None and b <= 2:
            return 0  # a probe has at least a batch and one more dimension
        if a is None and b is None and self._same_root(value, other):
            return 0
        return self.need_rank(value if a is None else other, "this broadcast")

    def _same_root(self, value: Any, other: Any) -> bool:
        a, b = self.ranks.get(value), self.ranks.get(other)
        return isinstance(a, Floating) and a == b

    def _known(self, rank: Any) -> int | None:
        if isinstance(rank, Floating):
            base = self.solved.get(rank.root)
            return None if base is None else base + rank.offset
        return rank


def gather_facts(gm: fx.GraphModule, sizes: set[fx.Node]) -> Facts:
    """Infer ranks (twice: a later operator may tell the rank of an input), bounds and unit dimensions."""
    facts = Facts()
    for _ in range(2):
        for node in gm.graph.nodes:
            facts.ranks[node] = 0 if node in sizes else _rank(facts, gm, node)
    for node in gm.graph.nodes:
        if rule_of(node) is not None and node not in sizes:
            facts.bounds[node] = _interval(facts, node)
            facts.units[node] = _units(facts, node)
    return facts


def _rank(facts: Facts, gm: fx.GraphModule, node: fx.Node) -> Any:
    value = node.meta.get("val")
    if isinstance(value, torch.Tensor):
        return value.dim()
    if node.op == "placeholder":
        return Floating(node.name)
    if node.op == "get_attr":
        return attribute_value(gm, node.target).dim()
    rule = rule_of(node)
    if rule is None:
        return None
    arguments = bound(node)
    carried = arguments.get(rule.carries[0]) if rule.carries else None
    wanted = rule.input_rank or node.meta.get("rank_hint")
    if wanted is not None and isinstance(carried, fx.Node):
        _solve(facts, carried, wanted)
    if rule.rank is not None:
        return rule.rank(lambda v: _settle(facts, v), arguments)
    return _settle(facts, carried)


def _settle(facts: Facts, value: Any) -> Any:
    """The rank of a value: an int, a ``Floating``, or None."""
    if isinstance(value, fx.Node):
        rank = facts.ranks.get(value)
        known = facts._known(rank)
        return rank if known is None else known
    return value.dim() if isinstance(value, torch.Tensor) else 0


def _solve(facts: Facts, node: fx.Node, wanted: int) -> None:
    rank = facts.ranks.get(node)
    if isinstance(rank, Floating) and rank.root not in facts.solved:
        facts.solved[rank.root] = wanted - rank.offset


def attribute_value(gm: torch.nn.Module, path: str) -> Any:
    """The parameter or buffer at a dotted path."""
    value: Any = gm
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _interval(facts: Facts, node: fx.Node) -> Interval:
    rule = rule_of(node)
    if rule.interval is None:
        return UNBOUNDED
    low, high = rule.interval(facts.bound, bound(node))
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


_KEEP_UNITS = {"conv1d", "conv2d", "conv3d", "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "dropout"}


def _units(facts: Facts, node: fx.Node) -> frozenset[int]:
    rule, arguments = rule_of(node), bound(node)
    if "val" in node.meta and isinstance(node.meta["val"], torch.Tensor):
        shape = node.meta["val"].shape
        return frozenset(i - len(shape) for i, s in enumerate(shape) if s == 1)
    if rule.name == "getitem" and getattr(rule_of(arguments["x"]), "yields", "") == "values":
        return facts.unit(arguments["x"])
    if arguments.get("keepdim"):
        dims = arguments.get("dim")
        dims = dims if isinstance(dims, (list, tuple)) else (dims,)
        rank = facts.rank(arguments["x"])
        return facts.unit(arguments["x"]) | {d if d < 0 else d - rank for d in dims if isinstance(d, int) and (d < 0 or rank is not None)}
    if rule.name.startswith("adaptive_"):
        size, spatial = arguments["output_size"], rule.input_rank - 2
        sizes = size if isinstance(size, (list, tuple)) else (size,) * spatial
        return frozenset(i - spatial for i, s in enumerate(sizes) if s == 1)
    if rule.name == "reshape" and isinstance(arguments["shape"], (list, tuple)):
        shape = arguments["shape"]
        return frozenset(i - len(shape) for i, s in enumerate(shape) if isinstance(s, int) and s == 1)
    elementwise = rule.verb == "mask" and "dim" not in arguments and (rule.rank is None or len(node.all_input_nodes) == 1)
    if elementwise or rule.name in _KEEP_UNITS:
        return facts.unit(arguments["x"])
    if rule.name in ("add", "sub", "mul", "div"):
        operands = [arguments["x"], arguments["other"]]
        tensors = [facts.unit(o) for o in operands if facts.rank(o) != 0 and isinstance(o, fx.Node)]
        return frozenset.intersection(*tensors) if tensors else frozenset()
    return frozenset()
