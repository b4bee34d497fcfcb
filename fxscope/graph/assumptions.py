"""What a trace assumes of its inputs: ranks, dtypes, sizes that became numbers, and conditions on sizes.

A graph with assumptions is right only where they hold. The frontends write them on the graph that they give,
every emitted graph asserts them (``emit/checks.py``), and files carry them. A size that no assumption names
is free.
"""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.fx as fx

from .ir import emitted, graph_notes

RANK, DTYPE, SIZE, CONDITION = "rank", "dtype", "size", "condition"
WAY_OUT = "make it again with fxscope.transform(..., example_inputs=) of these inputs"

_COMPARISONS = {
    operator.eq: "==", operator.ne: "!=", operator.gt: ">", operator.ge: ">=",
    operator.lt: "<", operator.le: "<=",
}  # fmt: skip
_SYMBOLS = {operator.add: "+", operator.mul: "*", operator.mod: "%", operator.floordiv: "//", **_COMPARISONS}


@dataclass(frozen=True)
class Size:
    """The size of one dimension of an input."""

    input: str
    dimension: int

    def __str__(self) -> str:
        return f"{self.input}.size({self.dimension})"


@dataclass(frozen=True)
class Term:
    """An operator on sizes, integers and terms."""

    function: Callable
    args: tuple[Any, ...]

    def value(self, of: Callable[[Size], Any]) -> Any:
        """The term where ``of`` gives every size, as a number or as a proxy."""
        return self.function(*(_value(a, of) for a in self.args))

    def sizes(self) -> set[Size]:
        """The sizes that the term reads."""
        found = {a for a in self.args if isinstance(a, Size)}
        return found.union(*(a.sizes() for a in self.args if isinstance(a, Term)))

    def renamed(self, names: Mapping[str, str]) -> Term:
        """The term with other names of inputs."""
        return Term(self.function, tuple(_renamed(a, names) for a in self.args))

    def __str__(self) -> str:
        outermost = self.function in _COMPARISONS
        parts = [str(a) if outermost or not isinstance(a, Term) else f"({a})" for a in self.args]
        return f" {_SYMBOLS[self.function]} ".join(parts)


@dataclass(frozen=True)
class Assumption:
    """One fact about an input that a graph was made with.

    input      name of the input
    kind       "rank", "dtype", "size" or "condition"
    dimension  which size, of a "size"; else None
    value      the number of dimensions, the dtype, the size, or the ``Term`` that is true
    why        what fixed it
    doubtful   it may be about how an operator works and not about what it gives: a run at such a size tells
    """

    input: str
    kind: str
    dimension: int | None
    value: Any
    why: str
    doubtful: bool = False

    def renamed(self, names: Mapping[str, str]) -> Assumption:
        """The assumption with other names of inputs."""
        value = self.value.renamed(names) if isinstance(self.value, Term) else self.value
        return dataclasses.replace(self, input=names.get(self.input, self.input), value=value)

    def holds(self, inputs: Mapping[str, torch.Tensor]) -> bool:
        """Whether tensors by these names are what the graph was made for."""
        x = inputs[self.input]
        if self.kind == RANK:
            return x.dim() == self.value
        if self.kind == DTYPE:
            return x.dtype == self.value
        if self.kind == SIZE and self.dimension is not None:
            return x.dim() > self.dimension and x.size(self.dimension) == self.value
        if any(inputs[s.input].dim() <= s.dimension for s in self.value.sizes()):
            return False
        return bool(self.value.value(lambda s: inputs[s.input].size(s.dimension)))

    @property
    def is_equality(self) -> bool:
        """Whether it only says that two inputs have one size in common, as a batch is."""
        if self.kind != CONDITION or self.value.function is not operator.eq:
            return False
        return all(isinstance(a, Size) for a in self.value.args)

    def concerns(self, input: str, dimension: int) -> bool:
        """Whether it restricts that one size; that two inputs share a size restricts neither."""
        if self.kind == CONDITION:
            return not self.is_equality and Size(input, dimension) in self.value.sizes()
        return self.kind == SIZE and (self.input, self.dimension) == (input, dimension)

    def __str__(self) -> str:
        said = {
            RANK: f"{self.input} has {self.value} dimensions",
            DTYPE: f"{self.input} is of {self.value}",
            SIZE: f"{self.input}.size({self.dimension}) == {self.value}",
            CONDITION: str(self.value),
        }
        return f"{said[self.kind]} ({self.why})"


Assumptions = tuple[Assumption, ...]


def assumptions(gm: fx.GraphModule) -> Assumptions:
    """The assumptions of a traced graph, or of a graph emitted from one."""
    return graph_notes(gm).get("assumptions") or emitted(gm).get("assumptions") or ()


def broken(
    known: Iterable[Assumption], inputs: Iterable[torch.Tensor], names: Iterable[str]
) -> Assumption | None:
    """The first assumption that the inputs do not meet; ``names`` are the inputs' names in their order."""
    given = dict(zip(names, inputs))
    return next((a for a in known if a.input in given and not a.holds(given)), None)


def takes(gm: fx.GraphModule, *inputs: torch.Tensor) -> bool:
    """Whether a graph was made for inputs of such sizes and dtypes, in the order of its placeholders."""
    return broken(assumptions(gm), inputs, input_names(gm)) is None


def input_names(gm: fx.GraphModule) -> list[str]:
    """The names of the graph's inputs, in order."""
    return [n.name for n in gm.graph.nodes if n.op == "placeholder"]


def batch_of(known: Assumptions, names: list[str]) -> str:
    """Whether dimension 0 of the first input is "free", "conditional" or "specialised"."""
    found = [a for name in names[:1] for a in known if a.concerns(name, 0)]
    if not names or any(a.kind == SIZE for a in found):
        return "specialised"
    return "conditional" if found else "free"


def said(known: Assumptions) -> str:
    """The sizes that a graph was made for: "x0 (B, 3, 20, 20)", and the conditions on them."""
    ranks = {a.input: a.value for a in known if a.kind == RANK}
    fixed = {(a.input, a.dimension): a.value for a in known if a.kind == SIZE}
    sizes = {
        name: [str(fixed.get((name, d), "any" if d else "B")) for d in range(rank)]
        for name, rank in ranks.items()
    }
    shapes = [f"{name} ({', '.join(each)})" for name, each in sizes.items()]
    conditions = [str(a.value) for a in known if a.kind == CONDITION and not a.is_equality]
    return ", ".join(shapes) + (f" where {' and '.join(conditions)}" if conditions else "")


def as_data(known: Assumptions) -> list[dict[str, Any]]:
    """The assumptions as a file has them, for JSON."""
    found = [
        {**dataclasses.asdict(a), "value": a.value if isinstance(a.value, int) else str(a.value)}
        for a in known
    ]
    return [{key: value for key, value in each.items() if key != "doubtful"} for each in found]


def _value(part: Any, of: Callable[[Size], Any]) -> Any:
    if isinstance(part, Size):
        return of(part)
    return part.value(of) if isinstance(part, Term) else part


def _renamed(part: Any, names: Mapping[str, str]) -> Any:
    if isinstance(part, Size):
        return Size(names.get(part.input, part.input), part.dimension)
    return part.renamed(names) if isinstance(part, Term) else part
