"""The ranks of the values of a graph, solved from what the operators ask of one another.

A rank that is not known is a ``Floating``: the rank of an input, or of a value of which the graph does not
tell it, plus an offset. Every such root has a least and a most, which its consumers narrow: a convolution
fixes the rank of its input, ``x[:, :, 1:]`` asks for three dimensions, and an operand of a sum has no more
dimensions than the sum. A root whose limits meet is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.fx as fx

from ..graph.ir import notes
from ..rules._of_node import bound
from ..rules._ranks import MOST, Broadcast, Floating, limits
from ..rules._sizes import COUNTED, counted, untold
from ..rules.declare import Rule

if TYPE_CHECKING:
    from .facts import Facts

PASSES = 12  # at most; what a pass learns is true however many follow
Asked = Iterator[tuple[Any, int, int]]


class Ranks:
    """What a rule's ``rank`` may read: ``rank(value)``, an int, a ``Floating`` or None; ``rank.facts``.

    ``found`` has the ranks of nodes, and ``limits`` the limits of the roots.
    """

    def __init__(self, facts: Facts, probed: set[str], limits: dict[str, tuple[int, int]]):
        self.facts, self.probed = facts, probed
        self.found: dict[fx.Node, Any] = {}
        self.limits = dict(limits)

    def __call__(self, value: Any) -> Any:
        """The rank of a value: an int, a ``Floating`` with its limits, or None."""
        if not isinstance(value, fx.Node):
            return value.dim() if isinstance(value, torch.Tensor) else 0
        return self._limited(self.found.get(value))

    def narrow(self, value: Any, least: int, most: int) -> None:
        """Learn limits of the rank of a value; what contradicts earlier ones is not taken."""
        rank = self.found.get(value) if isinstance(value, fx.Node) else None
        if isinstance(rank, Floating):
            low, high = self._of_root(rank.root)
            low, high = max(low, least - rank.offset), min(high, most - rank.offset)
            if low <= high:
                self.limits[rank.root] = low, high

    def learn(self, node: fx.Node, rule: Rule) -> None:
        """The rank of a node by its rule, and what the call tells of the ranks of its arguments."""
        arguments = counted(self, rule, bound(node))
        carried = arguments.get(rule.carries[0]) if rule.carries else None
        found = None if untold(arguments) else self._by_rule(rule, arguments, carried)
        self.found[node] = self.own(node) if found is None else found
        for value, least, most in self._asked(node, rule, arguments, carried):
            self.narrow(value, least, most)
        if isinstance(rule.rank, Broadcast):
            self._broadcast(node, rule.rank.operands(arguments))

    def own(self, node: fx.Node) -> Floating:
        """A rank of which nothing is known; a probe has a batch and one more dimension at least."""
        low, high = notes(node).get("rank_limits", (0, MOST))
        least = 2 if node.name in self.probed else 0
        self.limits.setdefault(node.name, (max(low, least), high))
        return Floating(node.name)

    def _by_rule(self, rule: Rule, arguments: dict, carried: Any) -> Any:
        if rule.rank is not None:
            return rule.rank(self, arguments)
        return None if carried is None else self(carried)

    def _asked(self, node: fx.Node, rule: Rule, arguments: dict, carried: Any) -> Asked:
        wanted = rule.input_rank or notes(node).get("rank_hint")
        if wanted is not None:
            yield carried, wanted, wanted
        if rule.asks is not None:
            yield from rule.asks(arguments)
        if len(rule.carries) == 1 and isinstance(carried, fx.Node):
            counted = _dimensions(arguments)
            yield (node if self._grows(carried, node) else carried), counted, MOST
        if isinstance(arguments.get("tensors"), (list, tuple)):  # side by side: all of one rank
            least, most = _meet([limits(self(v)) for v in arguments["tensors"]])
            for value in arguments["tensors"]:
                yield value, least, most

    def _grows(self, x: fx.Node, y: fx.Node) -> bool:
        """Whether y is known to have more dimensions than x, so that an operator counts those of y."""
        a, b = self.found.get(x), self.found[y]
        if not isinstance(a, Floating) or not isinstance(b, Floating):
            return False
        return a.root == b.root and b.offset > a.offset

    def _broadcast(self, node: fx.Node, operands: list[Any]) -> None:
        """A broadcast is as wide as its widest operand."""
        each = [limits(self(v)) for v in operands]
        self.narrow(node, max(low for low, _ in each), max(high for _, high in each))
        low, high = limits(self(node))
        wide = [v for v, (_, most) in zip(operands, each) if most >= low]
        for value in operands:
            self.narrow(value, low if wide == [value] else 0, high)

    def _limited(self, rank: Any) -> Any:
        if not isinstance(rank, Floating):
            return rank
        low, high = self._of_root(rank.root)
        if low == high:
            return low + rank.offset
        return Floating(rank.root, rank.offset, low + rank.offset, high + rank.offset)

    def _of_root(self, root: str) -> tuple[int, int]:
        return self.limits.get(root, (0, MOST))


def _meet(each: list[tuple[int, int]]) -> tuple[int, int]:
    return max((low for low, _ in each), default=0), min((high for _, high in each), default=MOST)


def _dimensions(arguments: dict) -> int:
    """How many dimensions a tensor has that an operator counts by these numbers.

    A tensor without dimensions takes 0 and -1.
    """
    named = [arguments[name] for name in COUNTED if name in arguments]
    counted = [d for given in named for d in (given if isinstance(given, (list, tuple)) else [given])]
    return max((d + 1 if d >= 0 else -d for d in counted if type(d) is int and d not in (0, -1)), default=0)
