"""What a production of the grammar is, and what it asks of the network drawn so far."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch


class Unsuitable(Exception):
    """Nothing that is live fits the production; another one is drawn."""


@dataclass(frozen=True)
class Production:
    """A kind of statement: ``draw(d)`` gives its source lines; ``weight`` is its relative frequency."""

    name: str
    draw: Callable[[Draw], str]
    weight: float = 1.0


PRODUCTIONS: list[Production] = []


def production(weight: float = 1.0) -> Callable[[Callable], Callable]:
    """Register a function ``Draw -> source lines`` under its name."""

    def register(function: Callable) -> Callable:
        PRODUCTIONS.append(Production(function.__name__, function, weight))
        return function

    return register


@dataclass
class Draw:
    """What a production may ask for: live values with their shapes, layers, names, and random choices.

    Attributes
    ----------
    live
        Names of tensors with their values in the current run, the newest last.
    fixed
        Names that a statement must not assign to (the network's inputs).
    pending
        Layers that the current statement needs.
    """

    rng: random.Random
    train: bool = False
    live: dict[str, torch.Tensor] = field(default_factory=dict)
    fixed: set[str] = field(default_factory=set)
    layers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pending: dict[str, tuple[str, ...]] = field(default_factory=dict)
    count: int = 0

    def chance(self, share: float) -> bool:
        """True with probability ``share``."""
        return self.rng.random() < share

    def one(self, *options: Any) -> Any:
        """One of the options."""
        return self.rng.choice(options)

    def between(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return self.rng.randint(low, high)

    def number(self) -> str:
        """A constant that keeps values moderate."""
        return self.one("0.5", "2", "1.5", "-0.7", "0.3", "math.sqrt(2)", "3.0", "-1")

    def tensor(
        self,
        rank: int | tuple[int, ...] | None = None,
        where: Callable[[torch.Tensor], bool] | None = None,
        double: bool = True,
    ) -> str:
        """The name of a live floating tensor, newer ones more often."""
        ranks = (rank,) if isinstance(rank, int) else rank
        names = [n for n, t in self.live.items() if self._fits(t, ranks, where, double)]
        if not names:
            raise Unsuitable
        return self.rng.choices(names, [1.7**i for i in range(len(names))])[0]

    @staticmethod
    def _fits(t: torch.Tensor, ranks: tuple[int, ...] | None, where: Callable | None, double: bool) -> bool:
        if not t.is_floating_point() or (double and t.dtype != torch.float64):
            return False
        return (t.dim() > 0 if ranks is None else t.dim() in ranks) and (where is None or where(t))

    def same(self, name: str) -> str:
        """A live tensor of the same shape, another one where there is one."""
        shape = self.live[name].shape
        try:
            return self.tensor(len(shape), lambda t: t.shape == shape and t is not self.live[name])
        except Unsuitable:
            return name

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a live tensor."""
        return tuple(self.live[name].shape)

    def rank(self, name: str) -> int:
        """The number of dimensions of a live tensor."""
        return self.live[name].dim()

    def target(self, name: str) -> str:
        """The name that a result gets: a new one, or that of its operand, as real code has it."""
        if name not in self.fixed and self.chance(0.35):
            return name
        return self.new()

    def new(self) -> str:
        """A name that is not used yet."""
        self.count += 1
        return f"h{self.count}"

    def layer(self, constructor: str, *more: str) -> str:
        """``self.NAME`` of a new or a used layer; ``more``: further lines of __init__, {} for the layer."""
        again = [f"self.{n}" for n, lines in self.layers.items() if lines[0].endswith(f" = {constructor}")]
        if again and self.chance(0.4):
            name = self.rng.choice(again)
            self.pending[name.removeprefix("self.")] = self.layers[name.removeprefix("self.")]
            return name
        kind = constructor.partition("(")[0].split(".")[-1].lower()
        name = self.attribute(f"{kind}_")
        self.pending[name] = (f"self.{name} = {constructor}", *(line.format(f"self.{name}") for line in more))
        return f"self.{name}"

    def attribute(self, kind: str) -> str:
        """A name that no other layer has."""
        number = len(self.layers)
        while f"{kind}{number}" in (*self.layers, *self.pending):
            number += 1
        return f"{kind}{number}"

    def buffer(self, value: str) -> str:
        """``self.NAME`` of a constant: a buffer or a parameter, which follow ``.double()``."""
        name = self.attribute("c")
        kind = self.one(f'self.register_buffer("{name}", {value})', f"self.{name} = nn.Parameter({value})")
        self.pending[name] = (kind,)
        return f"self.{name}"

    def size(self, name: str, dim: int) -> str:
        """A size as real code spells it; a number only where it is the network's own."""
        spelled = self.one(
            f"{name}.shape[{dim}]",
            f"{name}.size({dim})",
            f"{name}.shape[{dim - self.rank(name)}]",
        )
        return spelled if dim != 1 or self.chance(0.5) else str(self.shape(name)[1])

    def dim(self, rank: int, dim: int) -> int:
        """A dimension, counted from either end."""
        return self.one(dim, dim - rank)

    def unary(self, text: str, name: str) -> str:
        """``target = text`` for a text with {} where the operand stands."""
        return f"{self.target(name)} = {text.format(name)}"
