"""A twin is a linear operator that may stand in the interpreter branch.

Every twin is a frozen dataclass over nodes of the original graph (its frozen states) and plain values. Its ``apply`` is
ordinary PyTorch code, traced into the emitted graph, over probes of shape (K, *the original node's shape*):

    y1 = apply(k, x1)        affine: with the additive constants named in ``additive``; linear: without them
"""

from __future__ import annotations

import dataclasses
from typing import Any, Callable, ClassVar

import torch
import torch.fx as fx


def state(label: str, **kwargs) -> Any:
    """A field that holds a frozen state: the edge that carries it is drawn with ``label`` (mask, index, stats, gate, constant, size)."""
    return dataclasses.field(metadata={"label": label}, **kwargs)


class Probes:
    """What a twin may ask of the emitted graph about its probes.

    ``K``        the number of probes, a size of the emitted graph
    ``linear``   True when the additive constants are to be left out (the filter graph)
    """

    def __init__(self, K, linear: bool):
        self.K = K
        self.linear = linear

    def merge(self, x):
        """(K, B, ...) -> (K*B, ...): a view."""
        return x.flatten(0, 1)

    def split(self, y):
        """(K*B, ...) -> (K, B, ...): a view."""
        return y.unflatten(0, (self.K, -1))

    def spread(self, c, rank: int | None):
        """A constant of the original shape, seen by every probe: (K, *shape), a view where the rank is known."""
        if rank is None:
            return torch.repeat_interleave(c.unsqueeze(0), self.K, 0)
        return c.expand([self.K] + [-1] * rank)

    def lift(self, x, count: int):
        """Insert ``count`` dimensions of size one behind K, so that x of a lower rank broadcasts as the original did."""
        for _ in range(count):
            x = x.unsqueeze(1)
        return x


@dataclasses.dataclass(frozen=True)
class Twin:
    """Base of all twins; subclasses hold their frozen states as fields and define ``apply``."""

    additive: ClassVar[tuple[str, ...]] = ()
    kind: ClassVar[str] = ""

    def apply(self, k: Probes, *x):
        raise NotImplementedError

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if "kind" not in cls.__dict__:
            cls.kind = _snake(cls.__name__)

    def states(self) -> dict[fx.Node, str]:
        """{node of the original graph: label of the edge that carries it}."""
        found: dict[fx.Node, str] = {}
        for field in dataclasses.fields(self):
            label = field.metadata.get("label", "size")
            _visit(getattr(self, field.name), lambda node, label=label: found.setdefault(node, label))
        return found

    def mapped(self, function: Callable[[fx.Node], Any]) -> "Twin":
        """The same twin with every node replaced by ``function(node)``."""
        changes = {f.name: fx.node.map_arg(getattr(self, f.name), function) for f in dataclasses.fields(self)}
        return dataclasses.replace(self, **changes)

    def homogeneous(self) -> "Twin":
        """The same twin without its additive constants."""
        return dataclasses.replace(self, **{name: None for name in self.additive})


def nodes_of(value: Any) -> list[fx.Node]:
    """Every node inside a nest of tuples, lists, dicts and slices, in order."""
    found: list[fx.Node] = []
    _visit(value, found.append)
    return found


def _visit(value: Any, function: Callable[[fx.Node], Any]) -> None:
    fx.node.map_arg(value, function)


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() and i else c.lower() for i, c in enumerate(name))
