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
from ..rules._ranks import Floating, at_least
from ..rules._reduced import Reduced
from ..rules._sizes import counted, rank_asked, untold
from ..rules.declare import UNBOUNDED, Interval
from .ranks import PASSES, Ranks

FINITE = 1e9  # a bound of what is finite, of unknown size
# the highest rank that is tried: beyond it, what is counted from the front and from the end never meets
DEEPEST = 16
SIZES: Interval = (1.0, FINITE)
_NOTHING = Reduced()


@dataclass
class Facts:
    """Ranks, bounds and reduced dimensions of the nodes of a canonical graph.

    ``constants`` are on the meta device, without values.
    """

    sizes: set[fx.Node] = field(default_factory=set)
    constants: dict[fx.Node, torch.Tensor] = field(default_factory=dict)
    ranks: Ranks = None  # type: ignore[assignment]  # which ``gather_facts`` gives
    bounds: dict[fx.Node, Interval] = field(default_factory=dict)
    reduced: dict[fx.Node, Reduced] = field(default_factory=dict)
    by_rank: dict[str, list[Facts]] = field(default_factory=dict)

    def rank(self, value: Any) -> int | None:
        """Number of dimensions of a node or plain value; None where the graph does not tell it."""
        rank = self.ranks(value)
        return rank if isinstance(rank, int) else None

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

    def unsure(self, values: Iterable[Any]) -> fx.Node | None:
        """A node whose unknown rank leaves it open which dimensions of the values are reduced; or None."""
        return next((n for n in (self.of(value).unsure for value in values) if n is not None), None)

    def cases(self, node: fx.Node) -> list[Facts]:
        """The facts with every rank that a node can have; none where they were not looked at."""
        rank = self.ranks.found.get(node)
        return self.by_rank.get(rank.root, []) if isinstance(rank, Floating) else []

    def lift(self, value: Any, other: Any) -> int | None:
        """How many dimensions ``value`` lacks in front when it is broadcast with ``other``.

        None where the graph does not tell it.
        """
        a, b = self.ranks(value), self.ranks(other)
        if at_least(a, b):
            return 0
        if isinstance(a, int) and isinstance(b, int):
            return b - a
        if isinstance(a, Floating) and isinstance(b, Floating) and a.root == b.root:
            return b.offset - a.offset
        return None

    def need_lift(self, value: Any, other: Any) -> int:
        """The same; raises ``UnknownRank`` where the graph does not tell it."""
        lift = self.lift(value, other)
        if lift is None:
            return self.need_rank(other if self.rank(value) is not None else value, "this broadcast")
        return lift


def gather_facts(gm: fx.GraphModule, sizes: set[fx.Node], probed: Iterable[fx.Node] = ()) -> Facts:
    """Infer ranks, as long as a later operator tells more of an earlier one; then bounds.

    ``probed`` are the nodes whose values are probed.
    """
    names = {node.name for node in probed}
    facts = _gathered(gm, sizes, names, {})
    for root in _doubtful(facts):
        low, high = facts.ranks.limits[root]
        tried = range(low, min(high, DEEPEST) + 1)
        facts.by_rank[root] = [
            _gathered(gm, sizes, names, {**facts.ranks.limits, root: (n, n)}) for n in tried
        ]
    return facts


def _doubtful(facts: Facts) -> set[str]:
    """The roots of unknown ranks that leave it open which dimensions are reduced."""
    unsure = {reduced.unsure for reduced in facts.reduced.values()} - {None}
    ranks = [facts.ranks.found.get(node) for node in unsure if node is not None]
    return {rank.root for rank in ranks if isinstance(rank, Floating)}


def _gathered(gm: fx.GraphModule, sizes: set[fx.Node], names: set[str], limits: dict) -> Facts:
    facts = Facts(set(sizes), constants(gm))
    facts.ranks = Ranks(facts, names, limits)
    for _ in range(PASSES):
        before = dict(facts.ranks.limits)
        _gather_ranks(facts, gm)
        if facts.ranks.limits == before:
            break
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
        _rank(facts, node, stand_ins)
        rule = None if node in facts.sizes or node in facts.constants else rule_of(node)
        if rule is not None and rule.reduced is not None:
            arguments = counted(facts.ranks, rule, bound(node))
            unsure = untold(arguments)
            facts.reduced[node] = (
                rule.reduced(facts, arguments) if unsure is None else Reduced(unsure=rank_asked(unsure))
            )


def _rank(facts: Facts, node: fx.Node, stand_ins: dict[fx.Node, int]) -> None:
    value, rule, ranks = notes(node).get("val"), rule_of(node), facts.ranks
    if node in facts.sizes:
        ranks.found[node] = 0
        if "unpacked" in notes(node) and node.target == "size":
            ranks.narrow(node.args[0], notes(node)["unpacked"], notes(node)["unpacked"])
    elif isinstance(value, torch.Tensor):
        ranks.found[node] = value.dim()
    elif node in facts.constants:
        ranks.found[node] = facts.constants[node].dim()
    elif node in stand_ins:
        ranks.found[node] = stand_ins[node]
    elif rule is None:
        drawn = _drawn_over(facts, node)
        ranks.found[node] = ranks.own(node) if drawn is None else ranks(drawn)
    else:
        ranks.learn(node, rule)


def _drawn_over(facts: Facts, node: fx.Node) -> fx.Node | None:
    """The tensor whose shape a draw without a rule has (normal_, exponential_); None for other nodes."""
    tensors = [n for n in node.all_input_nodes if n not in facts.sizes]
    return tensors[0] if draws(node) and len(tensors) == 1 else None


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
