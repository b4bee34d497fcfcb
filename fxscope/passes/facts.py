"""What the graph alone tells about its values: ranks, bounds, and dimensions that an operator reduced.

Ranks decide how probes are aligned in broadcasts; bounds and reduced dimensions decide which operand of a
product is its gate. Of an example only the numbers of dimensions are read, never a size: F does not depend on
it. A rank that only an example could tell is None, and asking for it raises ``UnknownRank``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.fx as fx

from ..errors import UnknownRank
from ..frontend.symbolic import source_of
from ..graph.constants import attribute_value, constants, stand_in_ranks
from ..graph.draws import draws
from ..graph.ir import info, notes
from ..rules._of_node import bound, rule_of
from ..rules._ranks import Floating
from ..rules._reduced import Reduced
from ..rules.declare import UNBOUNDED, Interval

FINITE = 1e9  # a bound of what is finite, of unknown size
SIZES: Interval = (1.0, FINITE)
_NOTHING = Reduced()


@dataclass
class Facts:
    """Ranks, bounds and reduced dimensions of the nodes of a canonical graph.

    ``constants`` are on the meta device, without values. ``solved`` has the ranks of inputs that a later
    operator tells.
    """

    sizes: set[fx.Node] = field(default_factory=set)
    constants: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    ranks: dict[fx.Node, Any] = field(default_factory=dict)
    bounds: dict[fx.Node, Interval] = field(default_factory=dict)
    reduced: dict[fx.Node, Reduced] = field(default_factory=dict)
    solved: dict[str, int] = field(default_factory=dict)

    def rank(self, value: Any) -> int | None:
        """Number of dimensions of a node or plain value; None where the graph does not tell it."""
        if not isinstance(value, fx.Node):
            return value.dim() if isinstance(value, torch.Tensor) else 0
        return self._known(self.ranks.get(value))

    def need_rank(self, node: fx.Node, why: str) -> int:
        """The rank of a node; raises ``UnknownRank`` if the graph does not tell it."""
        rank = self.rank(node)
        if rank is None:
            raise UnknownRank(
                f"{why} needs the number of dimensions of {info(node).place or node.name} at"
                f" {source_of(node)}, which the graph alone does not tell; pass example_inputs= to"
                " fxscope.transform"
            )
        return rank

    def bound(self, value: Any) -> Interval:
        """An interval that contains all entries of a value."""
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return (float(value), float(value))
        if value in self.sizes:
            return SIZES
        return self.bounds.get(value, UNBOUNDED) if isinstance(value, fx.Node) else UNBOUNDED

    def of(self, value: Any) -> Reduced:
        """The dimensions of a value that are known to be reduced or of size one."""
        return self.reduced.get(value, _NOTHING) if isinstance(value, fx.Node) else _NOTHING

    def shape(self, value: Any) -> tuple[int, ...] | None:
        """The shape of a constant; None for a value that depends on an input."""
        if isinstance(value, fx.Node) and value not in self.sizes:
            return tuple(self.constants[value].shape) if value in self.constants else None
        return tuple(value.shape) if isinstance(value, torch.Tensor) else ()

    def is_size(self, value: Any) -> bool:
        """Whether a value is an int: a size, or a number in the code."""
        return value in self.sizes if isinstance(value, fx.Node) else isinstance(value, int)

    def is_tensor(self, value: Any) -> bool:
        """Whether a value is a tensor."""
        return value not in self.sizes if isinstance(value, fx.Node) else isinstance(value, torch.Tensor)

    def is_bits(self, value: Any) -> bool | None:
        """Whether an index is a boolean mask; None where the graph does not tell."""
        if not isinstance(value, fx.Node):
            return False
        known = notes(value).get("val", self.constants.get(value))
        if known is not None:
            return known.dtype == torch.bool
        rule = rule_of(value)
        if rule is None:
            return None
        return rule.bits or (None if rule.verb == "linear" else False)

    def be_sure(self, values: Iterable[Any]) -> None:
        """Raise ``UnknownRank`` if an unknown rank leaves it open which dimensions are reduced."""
        for value in values:
            unsure = self.of(value).unsure
            if unsure is not None:
                self.need_rank(unsure, "which operand of this product is its gate")

    def lift(self, value: Any, other: Any) -> int:
        """How many dimensions ``value`` lacks in front when it is broadcast with ``other``."""
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
    """Infer ranks (twice: a later operator may tell the rank of an input), bounds and reduced dimensions."""
    facts = Facts(set(sizes), constants(gm))
    for _ in range(2):
        _gather_ranks(facts, gm)
    for node in gm.graph.nodes:
        if node in facts.constants:
            facts.bounds[node] = _constant_bounds(gm, node)
        elif node not in sizes:
            facts.bounds[node] = _interval(facts, node)
    return facts


def _gather_ranks(facts: Facts, gm: fx.GraphModule) -> None:
    """Infer ranks and reduced dimensions together, since ``squeeze`` removes a dimension that was reduced."""
    stand_ins = stand_in_ranks(gm, facts)
    for node in gm.graph.nodes:
        facts.ranks[node] = 0 if node in facts.sizes else _rank(facts, gm, node, stand_ins)
        rule = None if node in facts.sizes or node in facts.constants else rule_of(node)
        if rule is not None and rule.reduced is not None:
            facts.reduced[node] = rule.reduced(facts, bound(node))


def _rank(facts: Facts, gm: fx.GraphModule, node: fx.Node, stand_ins: dict[fx.Node, int]) -> Any:
    value = notes(node).get("val")
    if isinstance(value, torch.Tensor):
        return value.dim()
    if node.op == "placeholder":
        return Floating(node.name)
    if node in facts.constants:
        return facts.constants[node].dim()
    if node in stand_ins:
        return stand_ins[node]
    rule = rule_of(node)
    if rule is None:
        return _rank_of_draw(facts, node)
    arguments = bound(node)
    carried = arguments.get(rule.carries[0]) if rule.carries else None
    wanted = rule.input_rank or notes(node).get("rank_hint")
    if wanted is not None and isinstance(carried, fx.Node):
        _solve(facts, carried, wanted)
    if rule.rank is not None:
        return rule.rank(Ranks(facts), arguments)
    return None if carried is None else _settle(facts, carried)


def _rank_of_draw(facts: Facts, node: fx.Node) -> Any:
    """A draw over one tensor (normal_, exponential_) has its shape; None for other nodes without a rule."""
    tensors = [n for n in node.all_input_nodes if n not in facts.sizes]
    return _settle(facts, tensors[0]) if draws(node) and len(tensors) == 1 else None


class Ranks:
    """What a rule's ``rank`` may read: ``rank(value)``, an int, a ``Floating`` or None; ``rank.facts``."""

    def __init__(self, facts: Facts):
        self.facts = facts

    def __call__(self, value: Any) -> Any:
        """The rank of a value."""
        return _settle(self.facts, value)


def _settle(facts: Facts, value: Any) -> Any:
    """The rank of a value: an int, a ``Floating``, or None."""
    if isinstance(value, fx.Node):
        rank = facts.ranks.get(value)
        known = facts._known(rank)
        return rank if known is None else known
    return value.dim() if isinstance(value, torch.Tensor) else 0


def _solve(facts: Facts, node: fx.Node, wanted: int) -> None:
    """Take the rank that an operator needs as the rank of its input."""
    rank = facts.ranks.get(node)
    if isinstance(rank, Floating) and rank.root not in facts.solved:
        facts.solved[rank.root] = wanted - rank.offset


def _interval(facts: Facts, node: fx.Node) -> Interval:
    rule = rule_of(node)
    if rule is None or rule.interval is None:
        return UNBOUNDED
    low, high = rule.interval(facts.bound, bound(node))
    return (-math.inf if math.isnan(low) else low, math.inf if math.isnan(high) else high)


def _constant_bounds(gm: fx.GraphModule, node: fx.Node) -> Interval:
    """The value of a buffer with one entry; all other constants, parameters included, are only finite."""
    value = attribute_value(gm, str(node.target)) if node.op == "get_attr" else None
    if value is None or isinstance(value, torch.nn.Parameter) or value.numel() != 1:
        return (-FINITE, FINITE)
    number = float(value.real if value.is_complex() else value)
    return (number, number) if math.isfinite(number) else UNBOUNDED
