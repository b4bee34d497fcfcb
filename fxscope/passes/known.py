"""What a model's Python code asks of values while it is traced, answered where the graph so far tells it."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import torch.fx as fx
from torch import nn

from ..errors import FxscopeError
from ..frontend.symbolic import with_unused
from ..graph.ir import notes
from ..rules._sizes import asks_rank, tensor_of
from .canonicalize import canonicalize, size_nodes
from .extents import Extents, parts
from .facts import gather_facts

_ARITHMETIC = ("_operator", "builtins", "math")
_ORDERS = (operator.gt, operator.ge, operator.lt, operator.le)


class Known:
    """Answers about the nodes of a graph that is being traced; ``rank`` is that of its first input."""

    def __init__(self, model: nn.Module, rank: int | None = None):
        self.model, self.given = model, rank

    def value(self, node: Any) -> Any:
        """The number or truth value of a node: a rank, a size, or what Python computes of them; or None."""
        if not isinstance(node, fx.Node):
            return node if isinstance(node, (bool, int, float)) else None
        of, dim = size_asked(node)
        if of is not None:
            return self._extent(of, dim)
        if asks_rank(node):
            return self.rank(node.args[0])
        return self._computed(node)

    def length(self, node: fx.Node) -> int | None:
        """How many items iteration gives: the dimensions of a shape, the parts of a cut; or None."""
        whole, cut = _cut(node)
        of = tensor_of(whole)
        if of is not None:
            rank = self.rank(of)
            return None if rank is None else len(range(rank)[cut])
        return self._asked(node, lambda extents, copy: parts(extents, copy))

    def _computed(self, node: fx.Node) -> Any:
        if node.op != "call_function" or getattr(node.target, "__module__", "") not in _ARITHMETIC:
            return None
        values = [self.value(a) for a in node.args]
        if node.target is getattr or node.kwargs:
            return None
        function: Any = node.target
        if None not in values:
            return function(*values)
        return _compared(function, node.args, values)

    def rank(self, node: Any) -> int | None:
        """The number of dimensions of a node's value, or None."""
        return self._asked(node, lambda extents, copy: extents.facts.rank(copy))

    def _extent(self, node: Any, dim: int) -> int | None:
        return self._asked(node, lambda extents, copy: extents.size(copy, dim))

    def _asked(self, node: fx.Node, answer: Callable[[Extents, fx.Node], int | None]) -> int | None:
        """An answer about a node, from the canonical form of the graph so far."""
        gm = fx.GraphModule(self.model, with_unused(node.graph, node))
        try:
            gm = canonicalize(gm, self.model)
        except FxscopeError:
            return None
        if self.given is not None:
            of_rank(gm, self.given)
        placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"][:1]
        facts = gather_facts(gm, size_nodes(gm.graph), placeholders)
        output = next(n for n in gm.graph.nodes if n.op == "output")
        copy: Any = output.args[0][0]  # type: ignore[index]
        return answer(Extents(gm, facts), copy)


def of_rank(gm: fx.GraphModule, rank: int) -> None:
    """Write on the first input of a graph how many dimensions it has."""
    first = next((n for n in gm.graph.nodes if n.op == "placeholder"), None)
    if first is not None:
        notes(first)["rank_limits"] = rank, rank


def _compared(function: Any, operands: tuple, values: list) -> bool | None:
    """An order of an unknown size and a number, where every size from 1 on gives the same; or None."""
    sizes = [isinstance(n, fx.Node) and size_asked(n)[0] is not None for n in operands]
    if function not in _ORDERS or any(v is None and not s for v, s in zip(values, sizes)):
        return None
    answers = {function(*(end if v is None else v for v in values)) for end in (1, math.inf)}
    return answers.pop() if len(answers) == 1 and values.count(None) == 1 else None


def _cut(node: fx.Node) -> tuple[fx.Node, slice]:
    """What a slice by numbers is of, and the slice; any other node is of itself, whole."""
    if node.target is not operator.getitem:
        return node, slice(None)
    base, cut = node.args
    if not isinstance(cut, slice) or not isinstance(base, fx.Node):
        return node, slice(None)
    plain = all(n is None or isinstance(n, int) for n in (cut.start, cut.stop, cut.step))
    return (base, cut) if plain else (node, slice(None))


def size_asked(node: fx.Node) -> tuple[Any, Any]:
    """X and d of ``x.size(d)`` and ``x.shape[d]``; None, None for anything else."""
    if node.op == "call_method" and node.target == "size" and len(node.args) == 2:
        return node.args if isinstance(node.args[1], int) else (None, None)
    if node.target is operator.getitem:
        of = tensor_of(node.args[0])
        if of is not None and isinstance(node.args[1], int):
            return of, node.args[1]
    return None, None
